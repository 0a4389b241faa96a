"""Conditions of a campaign: a fact, a comparison, a number. What a fact is and how it is computed stands here."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping

from msgspec import Struct

from schemas.base import DAY_MS

from .. import engagement, funnel
from ..errors import ConfigError
from ..features import cadence_days
from ..profile import basket
from ..profile.profile import Profile
from ..targets import BUYS, BY_NAME

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}
_SHAPE = re.compile(r"^\s*([a-z0-9_.]+)\s*(>=|<=|==|!=|>|<)\s*(-?[0-9]+(?:\.[0-9]+)?)\s*$")

Fact = Callable[[Profile, int], float]

FACTS: Mapping[str, tuple[Fact, str]] = {
    "cart_value": (lambda p, now: basket.value_micros(p.basket) / 1e6, "value of the cart, reporting currency"),
    "cart_lines": (lambda p, now: float(len(p.basket.lines)), "products in the cart"),
    "orders": (lambda p, now: float(p.orders.count), "orders so far"),
    "spent": (lambda p, now: p.orders.total_micros / 1e6, "spent so far, reporting currency"),
    "order_value": (lambda p, now: p.orders.total_micros / 1e6 / max(1, p.orders.count), "mean order value"),
    "refunds": (lambda p, now: float(p.orders.refunds), "refunds and cancellations so far"),
    "order_days": (
        lambda p, now: max(0, now - p.orders.last_at) / DAY_MS if p.orders.count else 3650.0,
        "days since the last order, 3650: none yet",
    ),
    "idle_days": (lambda p, now: max(0, now - p.activity.at) / DAY_MS, "days since the last activity"),
    "age_days": (lambda p, now: max(0, now - p.activity.first_at) / DAY_MS, "days since the first activity"),
    "visits": (lambda p, now: float(p.session.number), "visits so far"),
    "visit_views": (lambda p, now: float(p.session.views), "product views in the latest visit"),
    "views_of_one": (
        lambda p, now: float(max((one.times for one in p.views), default=0)),
        "looks at one product, the most among the last 8 looked at",
    ),
    "viewed_price": (
        lambda p, now: max((one.price_micros for one in p.views), default=0) / 1e6,
        "highest price among the last 8 products looked at, reporting currency",
    ),
    "stage": (lambda p, now: float(p.journey.stage), "funnel stage, 0 awareness to 5 loyalty"),
    "cadence_days": (lambda p, now: cadence_days(p), "own mean gap between orders or active days, 0: unknown"),
    "engagement_score": (lambda p, now: engagement.points(p, now).total, "engagement score, 0 to 100"),
    "engagement_drop": (lambda p, now: engagement.drop(p.trend), "points lost from the best recent week"),
    "days_to_buy": (
        lambda p, now: _days_to_buy(p),
        "median days to the next order, given one within 30; 0: not scored",
    ),
    "known": (lambda p, now: float(p.customer[0] == "u"), "1 for a known user"),
    "has_email": (lambda p, now: float(p.contact.email), "1 where an e-mail address is on file"),
    "has_phone": (lambda p, now: float(p.contact.phone), "1 where a phone number is on file"),
}


def _days_to_buy(profile: Profile) -> float:
    chances = {score.name: score.p for score in profile.scores}
    if any(name not in chances for name in BUYS):
        return 0.0
    return funnel.median_time_ms([chances[name] for name in BUYS]) / DAY_MS


class Condition(Struct, frozen=True):
    """``fact comparison number``, such as ``churn.late >= 0.6``."""

    fact: str
    comparison: str
    number: float

    def __str__(self) -> str:
        return f"{self.fact} {self.comparison} {self.number:.12g}"

    def holds(self, value: float) -> bool:
        """Whether ``value`` satisfies the condition."""
        return _COMPARE[self.comparison](value, self.number)


def parse(text: str, where: str) -> Condition:
    """Read a condition.

    Raises
    ------
    ConfigError
        Where it has another shape or names an unknown fact.

    >>> parse("cart_value >= 20", "campaigns.toml:7")
    Condition(fact='cart_value', comparison='>=', number=20.0)
    """
    match = _SHAPE.match(text)
    if match is None:
        raise ConfigError(where, repr(text), 'write "fact >= number", such as "cart_value >= 20"')
    fact, comparison, number = match.groups()
    if fact not in FACTS and fact not in BY_NAME:
        known = ", ".join([*sorted(FACTS), *sorted(BY_NAME)])
        raise ConfigError(where, f"unknown fact {fact!r}", f"use one of: {known}")
    return Condition(fact, comparison, float(number))


def value(fact: str, profile: Profile, now: int, given: Mapping[str, float]) -> float | None:
    """A fact's value: what the signal gave, a score, or read off the profile; None where a score is not there.

    >>> value("orders", Profile("u:1"), 0, {})
    0.0
    """
    if fact in given:
        return given[fact]
    if fact in FACTS:
        return FACTS[fact][0](profile, now)
    for score in profile.scores:
        if score.name == fact:
            return score.p
    return None
