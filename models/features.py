"""The feature vector that all models share: computed from the profile alone, scaled by fixed transforms, finite.

Counts and times enter as ``log1p(x) / k``, rates and money as centred logarithms, shares as they are, and all are
clipped to [-4, 4]: no scaler has to be learned and kept in step with the models, and no number can blow one up.
"""

from __future__ import annotations

from functools import lru_cache
from math import log, log1p
from typing import NamedTuple

from schemas.base import DAY_MS

from .profile import activity as _activity
from .profile import affinity as _affinity
from .profile import basket as _basket
from .profile import orders as _orders
from .profile.journey import CONSIDERATION, INTENT
from .profile.orders import Orders
from .profile.pending import rounded
from .profile.profile import Profile
from .randomness import hash64

NEVER_DAYS = 730.0
CLIP = 4.0

FEATURES: tuple[str, ...] = (
    "quiet",
    "unsold",
    "late_visit",
    "late_order",
    "spent",
    "order_value",
    "once",
    "refund_share",
    "idle",
    "since_order",
    "tenure",
    "touches_1d",
    "touches_7d",
    "touches_30d",
    "views_1d",
    "views_7d",
    "views_30d",
    "intents_1d",
    "intents_7d",
    "intents_30d",
    "orders_30d",
    "orders_365d",
    "cart_value",
    "cart_lines",
    "visit_views",
    "considering",
    "intending",
    "known",
    "buyer",
    "focus",
    "contacts_30d",
)

CATEGORICAL = ("category", "channel")
BUCKETS = 32

WORDS: dict[str, str] = {
    "quiet": "chance of silence at the own rate of active days",
    "unsold": "chance of no order at the own rate of orders",
    "late_visit": "silence against the own gap between active days",
    "late_order": "time since the last order against the own gap between orders",
    "spent": "spent so far",
    "order_value": "mean order value",
    "once": "was active on one day only",
    "refund_share": "share of orders refunded",
    "idle": "days since the last activity",
    "since_order": "days since the last order",
    "tenure": "days since the first activity",
    "touches_1d": "activity of the last day",
    "touches_7d": "activity of the last week",
    "touches_30d": "activity of the last month",
    "views_1d": "product views of the last day",
    "views_7d": "product views of the last week",
    "views_30d": "product views of the last month",
    "intents_1d": "cart activity of the last day",
    "intents_7d": "cart activity of the last week",
    "intents_30d": "cart activity of the last month",
    "orders_30d": "orders of the last month",
    "orders_365d": "orders of the last year",
    "cart_value": "value of the cart",
    "cart_lines": "products in the cart",
    "visit_views": "product views in this visit",
    "considering": "compares products",
    "intending": "has started to buy",
    "known": "is a known user",
    "buyer": "has bought before",
    "focus": "share of the favourite category",
    "contacts_30d": "messages of the last 30 days",
}


@lru_cache(maxsize=4096)
def bucket(name: str) -> float:
    """Hash a category into 1 to 31, so that no flood of names can widen a model; 0 is no category.

    >>> bucket("")
    0.0
    >>> 1 <= bucket("shoes") <= 31
    True
    """
    return float(1 + hash64(name) % (BUCKETS - 1)) if name else 0.0


def words(feature: str) -> str:
    """A feature in plain words.

    >>> words("idle"), words("category=7")
    ('days since the last activity', 'favourite category (group 7)')
    """
    name, _, group = feature.partition("=")
    if group:
        return f"favourite {name} (group {group})" if name in CATEGORICAL else f"{name} {group}"
    return WORDS.get(feature, feature)


def cadence_days(profile: Profile) -> float:
    """The customer's own mean gap in days: between orders, else between active days; 0 where there is none yet."""
    return profile.orders.gap_days or profile.activity.gap_days


def in_honeymoon(profile: Profile, now: int, days: float, orders: int) -> bool:
    """Early life: before ``days`` have passed and before the ``orders``-th order, whichever ends it first.

    >>> in_honeymoon(Profile("u:1"), 0, 45, 3)
    True
    """
    age = now - profile.activity.first_at
    return age < days * DAY_MS and profile.orders.count < orders


def silence_odds(days: int, tenure_days: float, horizon_days: float) -> float:
    """Log-odds that nobody sees the customer within the horizon, at the customer's own rate.

    Gamma-Poisson with shape 1 and a prior exposure of one horizon: P = ((H + T) / (2H + T)) ^ days.

    Parameters
    ----------
    days
        Distinct days with activity (or orders), 0 or more.
    tenure_days
        Days since the first of them, T.
    horizon_days
        H.

    Returns
    -------
    float
        Log-odds within [-3, 3].

    >>> silence_odds(1, 0.0, 90.0)
    0.0
    >>> silence_odds(10, 90.0, 90.0) < -2
    True
    """
    p = ((horizon_days + tenure_days) / (2 * horizon_days + tenure_days)) ** days
    return 3.0 if p > 0.9526 else -3.0 if p < 0.0474 else log(p / (1 - p))


def lateness(silence_days: float, days: int, span_days: float, slack_days: float) -> float:
    """Log of the silence over the customer's own mean gap, both softened by ``slack_days``; within [-3, 3].

    >>> lateness(0.0, 1, 0.0, 15.0) < 0
    True
    """
    gap = (span_days + 6 * slack_days) / max(1, days)  # 0 in bytes from before days were counted
    return max(-3.0, min(3.0, log((silence_days + slack_days) / (gap + slack_days))))


def vector(profile: Profile, now: int, horizon_days: float = 30.0, typical_order: float = 50.0) -> list[float]:
    """The features of ``profile`` at ``now`` (milliseconds UTC), in the order of ``FEATURES``.

    After them come the hash buckets of the favourite category and channel (0 to 31, 0: none). Each number is
    finite, within [-4, 4], and rounded to 32 bits, so that what is scored is what is learned from later.

    Parameters
    ----------
    horizon_days
        The churn horizon.
    typical_order
        A usual order total in the reporting currency, over 0: centres the money features.

    >>> len(vector(Profile("u:1"), 0)) == len(FEATURES) + len(CATEGORICAL)
    True
    """
    activity, orders, basket, session = profile.activity, profile.orders, profile.basket, profile.session
    slack = horizon_days / 6
    events = activity.events
    idle = max(0, now - activity.at) / DAY_MS if events else NEVER_DAYS
    tenure = max(0, now - activity.first_at) / DAY_MS if events else 0.0
    touches, views, intents = _activity.decayed(activity, now)
    bought = _bought(orders, now, horizon_days, log(typical_order)) if orders.count else NOTHING_BOUGHT
    recent = now - 30 * DAY_MS
    contacts = sum(1 for c in profile.contact.log if c.at > recent and c.arm != "s") if profile.contact.log else 0
    stage = profile.journey.stage
    category, focus = _affinity.strongest(profile.categories)
    values = [
        silence_odds(activity.days, tenure, horizon_days),
        bought.unsold,
        lateness(idle, activity.days, tenure - idle, slack) if events else 0.0,
        bought.late_order,
        bought.spent,
        bought.order_value,
        0.5 if activity.days == 1 else -0.5,
        bought.refund_share,
        log1p(idle) / 3,
        bought.since_order,
        log1p(tenure) / 3,
        log1p(touches[0]) / 2,
        log1p(touches[1]) / 2,
        log1p(touches[2]) / 2,
        log1p(views[0]) / 2,
        log1p(views[1]) / 2,
        log1p(views[2]) / 2,
        log1p(intents[0]),
        log1p(intents[1]),
        log1p(intents[2]),
        bought.orders_30d,
        bought.orders_365d,
        log1p(max(0.0, _basket.value_micros(basket) / 1e6)) / 5 if basket.lines else 0.0,
        log1p(len(basket.lines)),
        log1p(session.views) / 2,
        1.0 if stage >= CONSIDERATION else 0.0,
        1.0 if stage == INTENT else 0.0,
        1.0 if profile.customer[0] == "u" else 0.0,
        1.0 if orders.count else 0.0,
        focus,
        log1p(contacts),
        bucket(category),
        bucket(_affinity.strongest(profile.channels)[0]),
    ]
    for index in range(len(FEATURES)):
        if not values[index] <= CLIP:  # also true of what is no number
            values[index] = CLIP
    return rounded(values)


class Bought(NamedTuple):
    """The features that an order history gives."""

    unsold: float
    late_order: float
    spent: float
    order_value: float
    refund_share: float
    since_order: float
    orders_30d: float
    orders_365d: float


NOTHING_BOUGHT = Bought(3.0, 0.0, 0.0, 0.0, 0.0, log1p(NEVER_DAYS) / 3, 0.0, 0.0)


def _bought(orders: Orders, now: int, horizon_days: float, centre: float) -> Bought:
    since = max(0, now - orders.last_at) / DAY_MS
    life = max(0, now - orders.first_at) / DAY_MS
    o30, _, o365 = _orders.decayed_at(orders, now)
    total = max(0.0, orders.total_micros / 1e6)
    return Bought(
        silence_odds(orders.days, life, horizon_days),
        lateness(since, orders.days, life - since, horizon_days / 6),
        max(-3.0, (log1p(total) - centre - 0.5) / 1.5),
        max(-3.0, log1p(total / orders.count) - centre),
        2 * orders.refunds / (orders.count + orders.refunds),
        log1p(since) / 3,
        log1p(o30) - 0.6,
        log1p(o365),
    )
