"""What messages tell about a customer, by response type: which days they liven up, and how likely their outcomes were."""

from __future__ import annotations

from collections.abc import Sequence

from models.simulator.config import DAY_MS, ShopConfig
from models.simulator.ledger import Message
from models.simulator.response import (
    OPENS_WITHIN_MS,
    UNSUBSCRIBES_WITHIN_MS,
    annoyance,
    click_chance,
    open_chance,
)

_ARRIVES_MS = 65_000  # on average


def known_by(messages: Sequence[Message], at_ms: int) -> list[Message]:
    """The messages sent by `at_ms`, with what was known of them by then."""
    return [
        message._replace(
            opened_ms=message.opened_ms if message.opened_ms <= at_ms else -1,
            clicked_ms=message.clicked_ms if message.clicked_ms <= at_ms else -1,
            unsubscribed_ms=message.unsubscribed_ms if message.unsubscribed_ms <= at_ms else -1,
        )
        for message in messages
        if message.at_ms <= at_ms
    ]


def proves_there(message: Message) -> bool:
    """Whether its outcome shows that the customer was still there when it came."""
    return message.opened_ms >= 0 or message.unsubscribed_ms >= 0


def likelihood(message: Message, response: int, at_ms: int) -> float:
    """P(what was known of it by `at_ms` | still there when it came, response type)."""
    if message.bounced:
        return 1.0
    since = at_ms - message.at_ms - _ARRIVES_MS
    annoyed = annoyance(response, message.recent) if message.strength else 0.0
    if message.unsubscribed_ms >= 0:
        chance = annoyed
    else:
        chance = 1 - annoyed * min(1.0, max(0.0, since / UNSUBSCRIBES_WITHIN_MS))
    opens = open_chance(response, message.channel, message.on_phone)
    if message.opened_ms < 0:
        return chance * (1 - opens * float(min(1.0, max(0.0, since / OPENS_WITHIN_MS)) ** (1 / 3)))
    clicks = click_chance(response, message.strength)
    return chance * opens * (clicks if message.clicked_ms >= 0 else 1 - clicks)


def lively_days(config: ShopConfig, messages: Sequence[Message]) -> dict[int, float]:
    """For a persuadable: the days whose visits and hazard a message changes, with its strength (the last opened rules)."""
    opened = sorted((m.opened_ms, m.strength) for m in messages if m.opened_ms >= 0 and m.strength)
    days: dict[int, float] = {}
    for opened_ms, strength in opened:
        first = (opened_ms - config.start_ms) // DAY_MS + 1
        for day in [day for day in days if day >= first]:
            del days[day]
        for day in range(first, first + config.effect_days):
            days[day] = strength
    return days
