"""Effects read off holdouts in a simulated shop beside the true ones, at every daily look.

One seed is one shop that lives with the engine in a closed loop under three campaigns. The true effect of a campaign at a look is
the mean, over the persons whom the reading counts at that look, of each person's own effect: the goal in the window of its first
decision with that message, minus without it, in two worlds of the same luck that both receive all other messages. Orders and
visits of the truth are the shop's ledger; what the reading counts is what the engine saw in the events.
"""

from __future__ import annotations

from math import log, sqrt
from typing import Any, NamedTuple

import numpy as np

from models.evaluation import effect as effects
from models.evaluation.first_decisions import First, FirstDecisions
from models.policy.reading import Settings, read
from models.simulator.config import Sent, ShopConfig
from models.simulator.ledger import Record
from models.simulator.shop import Shop
from models.simulator.uplift import observe
from schemas.base import DAY_MS
from streams.closed_loop import Loop

CUSTOMERS, DAYS = 300, 60
ALPHA = 0.05
# browse: messages move people; order: at twice the strength; cart: a placebo, its true effect is 0
STRENGTHS = (("browse", 1.0), ("order", 2.0), ("cart", 0.0))
CAMPAIGNS = """
[policy]
consent = "allow"
global_holdout = 0.05

[[campaign]]
id = "browse"
signal = "browse_left"
mode = "live"
topic = "nudges"
when = ["known == 1"]
goal = { event = "visit", window = "7d" }
caps = [{ most = 1, within = "10d" }]
holdout = 0.5
actions = [{ id = "mail", channel = "email", prior_effect = 0.1 }]

[[campaign]]
id = "order"
signal = "ordered"
mode = "live"
topic = "offers"
when = ["known == 1"]
goal = { event = "order", window = "14d" }
caps = [{ most = 1, within = "20d" }]
holdout = 0.3
actions = [{ id = "text", channel = "sms", prior_effect = 0.05 }]

[[campaign]]
id = "cart"
signal = "cart_left"
mode = "live"
topic = "nudges"
when = ["known == 1"]
goal = { event = "order", window = "7d" }
caps = [{ most = 1, within = "10d" }]
holdout = 0.1
actions = [{ id = "mail", channel = "email", prior_effect = 0.05 }]
"""
GOALS = {"browse": "visit", "order": "order", "cart": "order"}


class Pair(NamedTuple):
    """Whether a person reaches the goal with the message, and without."""

    treated: bool
    withheld: bool


class Look(NamedTuple):
    """One look at one campaign."""

    day: int
    persons: int
    truth: float
    held: bool  # the interval holds the truth
    fixed_held: bool  # so does the interval for a single look at a fixed number


def shop(seed: int, customers: int, days: int) -> ShopConfig:
    """A shop whose persuadables are moved more than usual, so that there are effects to be seen, and with few strangers."""
    return ShopConfig(
        seed=seed, customers=customers, days=days, campaign_strength=STRENGTHS, persuaded_visits=3.0,
        persuaded_conversion=2.0, dog_leaves=0.1, regime_change_day=days // 2, visit_rate_median=0.06,
        existing_share=0.8, sign_up=0.7, signed_in_share=0.5, guests_per_customer_day=0.002, bot_share=0.001,
    )  # fmt: skip


def settings() -> Settings:
    """The campaigns of this benchmark."""
    return read(CAMPAIGNS)


def run(seed: int, customers: int = CUSTOMERS, days: int = DAYS) -> dict[str, Any]:
    """One shop: its looks by campaign, and how the last one ended."""
    config = shop(seed, customers, days)
    loop = Loop(config, settings())
    loop.keep = True
    arrives: dict[str, int] = {}
    seen = 0
    for at, _ in loop.live(config.start_ms + days * DAY_MS):
        arrives.update((decision.id, at) for decision in loop.decisions[seen:])
        seen = len(loop.decisions)
    firsts = FirstDecisions()
    for decision in loop.decisions:
        firsts.decided(decision)
    for conversion in loop.conversions:
        firsts.converted(conversion)
    found: dict[str, Any] = {"seed": seed, "events": loop.events}
    for campaign in GOALS:
        found[campaign] = _campaign(campaign, config, loop, firsts, arrives)
    return found


def _campaign(
    campaign: str, config: ShopConfig, loop: Loop, firsts: FirstDecisions, arrives: dict[str, int]
) -> dict[str, Any]:
    end = config.start_ms + (loop.world.now_ms - config.start_ms) // DAY_MS * DAY_MS
    counted = firsts.rows(campaign, end)
    pairs = _pairs(campaign, counted.persons, config, loop, arrives, end)
    agree = [
        hit == (pairs[first.decision].treated if first.treated else pairs[first.decision].withheld)
        for first, hit in zip(counted.persons, counted.converted, strict=True)
    ]
    looks = []
    for day in range(1, (end - config.start_ms) // DAY_MS + 1):
        rows = firsts.rows(campaign, config.start_ms + day * DAY_MS)
        if rows.persons:
            gains = [pairs[first.decision].treated - pairs[first.decision].withheld for first in rows.persons]
            truth = sum(gains) / len(gains)
            against = effects.evidence(rows).log_against(np.array([truth]))[0]
            looks.append(
                Look(
                    day,
                    len(gains),
                    truth,
                    bool(against < log(1 / ALPHA)),
                    _fixed_holds(rows.persons, rows.converted, truth),
                )
            )
    last = effects.read(counted, ALPHA)
    return {
        "persons": last.treated.persons + last.holdout.persons,
        "truth": looks[-1].truth if looks else 0.0,
        "difference": last.difference,
        "interval": list(last.interval),
        "verdict": last.verdict,
        "held": not looks or looks[-1].held,
        "held_always": all(look.held for look in looks),
        "fixed_held": not looks or looks[-1].fixed_held,
        "fixed_held_always": all(look.fixed_held for look in looks),
        "looks": len(looks),
        "agree": sum(agree) / max(1, len(agree)),
    }


def _fixed_holds(persons: tuple[First, ...], converted: tuple[bool, ...], truth: float) -> bool:
    """Whether the interval for one look (difference of means, normal) holds the truth; without both arms it is everything."""
    arms = [
        [hit for first, hit in zip(persons, converted, strict=True) if first.treated is treated]
        for treated in (True, False)
    ]
    if not all(arms):
        return True
    rates = [sum(arm) / len(arm) for arm in arms]
    half = 1.959964 * sqrt(sum(rate * (1 - rate) / len(arm) for rate, arm in zip(rates, arms, strict=True)))
    return abs(rates[0] - rates[1] - truth) <= half + 1e-12


def _pairs(
    campaign: str, persons: tuple[First, ...], config: ShopConfig, loop: Loop, arrives: dict[str, int], end: int
) -> dict[str, Pair]:
    """Both outcomes of everybody's first decision; both worlds receive all messages but those."""
    own = {first.decision for first in persons}
    others = [sent for sent in loop.world.sent if sent.id not in own]
    channel = {decision.id: decision.channel for decision in loop.decisions}
    messages = [
        Sent(first.decision, first.customer, campaign, channel[first.decision], arrives[first.decision])
        for first in persons
    ]
    worlds = []
    for sent in ([*others, *messages], others):
        world = Shop(config, written=False)
        world.advance(end, sorted(sent, key=lambda contact: contact.issued_at))
        worlds.append(world)
    return {
        first.decision: Pair(*(_reached(campaign, _record(world, first.customer), first) for world in worlds))
        for first in persons
    }


def _record(world: Shop, customer: str) -> Record:
    index = world.customer(customer)
    return world.records[index] if index is not None else Record()


def _reached(campaign: str, record: Record, first: First) -> bool:
    outcome = observe(record, first.at, first.until)
    return bool(outcome.bought) if GOALS[campaign] == "order" else outcome.visits > 0
