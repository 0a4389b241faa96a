"""What truly happened to each customer: kept beside the events, for truth and for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Message(NamedTuple):
    """A message and what came of it; -1 where nothing did. Times are epoch milliseconds."""

    trigger_id: str
    campaign: str
    at_ms: int
    channel: str
    strength: float
    on_phone: bool
    recent: int  # messages in the seven days before
    bounced: bool
    opened_ms: int
    clicked_ms: int
    unsubscribed_ms: int


@dataclass(slots=True)
class Record:
    """One customer's life in the log. Times are epoch milliseconds; `visits` holds what can be attributed to the user id.

    `visits` are spontaneous visits seen under the user id or on a device first linked to it; `led` are visits that a message
    led to; `hidden` counts visits nobody can attribute.
    """

    registered_ms: int = -1  # the user id is first seen
    visits: list[int] = field(default_factory=list)
    led: list[int] = field(default_factory=list)
    hidden: int = 0
    orders: list[tuple[int, float]] = field(default_factory=list)  # time, total in EUR
    led_orders: int = 0
    cancelled: list[int] = field(default_factory=list)  # times of Order Cancelled
    cancelled_orders: list[int] = field(default_factory=list)  # the times of those orders
    refunds: list[tuple[int, int]] = field(default_factory=list)  # time of the refund, time of its order
    scores: list[tuple[int, int, bool]] = field(
        default_factory=list
    )  # time, score 0-10, whether that order was refunded
    messages: list[Message] = field(default_factory=list)
    subscribed: bool = False
    left_ms: int = -1  # -1: still there
    unsubscribed_ms: int = -1
    left_in_words_ms: int = -1  # Subscription Cancelled

    def active_between(self, after_ms: int, until_ms: int) -> bool:
        """Whether any activity was seen in (after_ms, until_ms]."""
        return any(after_ms < at <= until_ms for at in self.visits) or any(after_ms < at <= until_ms for at in self.led)

    def spent_between(self, after_ms: int, until_ms: int) -> float:
        """The sum of orders in (after_ms, until_ms], EUR, before refunds."""
        return sum(total for at, total in self.orders if after_ms < at <= until_ms)
