"""What a message does to a customer: delivered, opened, clicked, complained about; moved, left cold, or driven away.

Four response types, as in uplift modelling (Radcliffe and Surry, 2011, "Real-world uplift modelling with significance-based
uplift trees"): persuadables come back and stay, sure things would have come anyway, lost causes ignore it, sleeping dogs leave.
"""

from __future__ import annotations

from typing import NamedTuple

from models.simulator.config import MINUTE_MS, ShopConfig
from models.simulator.population import PERSUADABLE, SLEEPING_DOG, SURE_THING
from models.simulator.randomness import uniform

_OPENS = (0.5, 0.42, 0.08, 0.3)  # by response type
_CLICKS = (0.5, 0.25, 0.05, 0.06)  # given opened
OPENS_WITHIN_MS = 600 * MINUTE_MS  # by the cube of a uniform: half of them within 75 minutes
UNSUBSCRIBES_WITHIN_MS = 20 * MINUTE_MS
LEAVES_WITHIN_MS = 30 * MINUTE_MS
_PHONE_TASTE = {"email": (0.75, 1.15), "sms": (1.3, 0.5), "push": (1.4, 0.4)}  # on a phone, on a desktop


class Call(NamedTuple):
    """One outcome event of a message."""

    at_ms: int
    name: str


class Response(NamedTuple):
    """All that follows from one message."""

    calls: tuple[Call, ...]
    opened_ms: int  # -1: never
    visit_ms: int  # -1: no visit
    persuaded_ms: int  # -1: not persuaded
    leaves_ms: int  # -1: not driven away
    unsubscribes_ms: int  # -1: stays on the list


_NAMES = {
    "email": ("Email Delivered", "Email Opened", "Email Link Clicked"),
    "sms": ("SMS Delivered", "SMS Read", "SMS Link Clicked"),
    "push": ("Push Notification Received", "", "Push Notification Tapped"),
}
_BANNER = ("Promotion Viewed", "", "Promotion Clicked")


def open_chance(response: int, channel: str, on_phone: bool) -> float:
    """P(a message is opened) by a customer who is still there."""
    phone, desktop = _PHONE_TASTE.get(channel, (1.0, 1.0))
    return min(0.95, _OPENS[response] * (phone if on_phone else desktop))


def click_chance(response: int, strength: float) -> float:
    """P(an opened message is clicked)."""
    return _CLICKS[response] * min(1.0, strength)


def annoyance(response: int, recent: int) -> float:
    """P(a message makes the customer unsubscribe), after `recent` others in seven days."""
    return min(0.9, (0.12 if response == SLEEPING_DOG else 0.004) * (1 + 0.5 * recent))


def respond(
    config: ShopConfig,
    key: int,
    at_ms: int,
    channel: str,
    strength: float,
    response: int,
    on_phone: bool,
    there: bool,
    scanner: bool,
    recent: int,
) -> Response:
    """The outcome of one message; `recent` is how many the customer got in the seven days before.

    Every draw has its own purpose, so a stronger campaign changes only what strength decides.
    """
    delivered, opened, clicked = _NAMES.get(channel, _BANNER)
    if channel == "email" and uniform(key, 1) < 0.015:
        return Response((Call(at_ms + 5_000, "Email Bounced"),), -1, -1, -1, -1, -1)
    arrives = at_ms + 5_000 + int(uniform(key, 2) * 2 * MINUTE_MS)
    calls = [Call(arrives, delivered)]
    if scanner and channel == "email":
        calls += [Call(arrives + 700, opened), Call(arrives + 1_400, clicked)]
    leaves = unsubscribes = -1
    if there and response == SLEEPING_DOG and uniform(key, 3) < config.dog_leaves * strength:
        leaves = arrives + 1 + int(uniform(key, 4) * LEAVES_WITHIN_MS)
    if there and strength and uniform(key, 5) < annoyance(response, recent):
        unsubscribes = arrives + 1 + int(uniform(key, 6) * UNSUBSCRIBES_WITHIN_MS)
        spam = channel == "email" and uniform(key, 7) < 0.3
        calls.append(Call(unsubscribes, "Email Marked as Spam" if spam else "Unsubscribed"))
    if not there or uniform(key, 8) >= open_chance(response, channel, on_phone):
        return Response(tuple(calls), -1, -1, -1, leaves, unsubscribes)
    opens = arrives + 1_000 + int(uniform(key, 9) ** 3 * OPENS_WITHIN_MS)
    if opened:
        calls.append(Call(opens, opened))
    persuaded = opens if response == PERSUADABLE and strength else -1
    visit = -1
    if uniform(key, 11) < click_chance(response, strength):
        visit = opens + 4_000 + int(uniform(key, 12) * MINUTE_MS)
        calls.append(Call(visit, clicked))
    return Response(tuple(calls), opens, visit, persuaded, leaves, unsubscribes)


def led_conversion(response: int, persuaded_conversion: float) -> float:
    """The factor on conversion at a visit that a message led to: only persuadables buy more; the others would have anyway."""
    return persuaded_conversion if response == PERSUADABLE else 0.0 if response == SURE_THING else 0.2
