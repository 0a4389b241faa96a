"""Records that the engine's own machinery writes into the log: time, timers, model versions; and requests for a decision."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .base import Event, Id, Millis, Name


class SlotRequested(Event, frozen=True, tag="slot_requested"):
    """A page asks what to show: a banner or recommendations, among ``candidates``."""

    slot: Name
    kind: Literal["banner", "recommendation"] = "banner"
    candidates: Annotated[tuple[Id, ...], Meta(max_length=500)] = ()


class Tick(Event, frozen=True, tag="tick"):
    """Time passed: all that happened before ``occurred_at`` and came by ``via`` is in the log. Its customer is nobody."""

    clock: Literal["event", "wall"] = "event"


class TimerDue(Event, frozen=True, tag="timer_due"):
    """A timer of the customer fell due; its id is made of customer, kind and due."""

    kind: Name
    due: Millis


class ModelPublished(Event, frozen=True, tag="model_published"):
    """A model version that engines adopt from this point of the log on.

    Parameters
    ----------
    version
        Offset, in the model's partition of ``learning``, behind the last example it knows: it only grows.
    """

    model: Name
    version: int


class Custom(Event, frozen=True, tag="custom"):
    """An event with a name outside the vocabulary: kept and counted as activity."""

    name: Name
    properties: dict[str, str | float | bool | None] = {}


NOBODY = "*:"


def tick(at: int, clock: Literal["event", "wall"] = "event", via: str = "") -> Tick:
    """A tick at ``at`` (milliseconds UTC), of one partition of a raw topic or, with an empty ``via``, of them all.

    >>> tick(5).occurred_at
    5
    """
    return Tick(id=f"tick:{at}", customer=NOBODY + "*", occurred_at=at, received_at=at, clock=clock, via=via)


def timer_due(customer: str, kind: str, due: int) -> TimerDue:
    """The event of a timer that fell due.

    >>> timer_due("u:1", "cart", 7).id
    'u:1|cart|7'
    """
    return TimerDue(
        id=f"{customer}|{kind}|{due}", customer=customer, occurred_at=due, received_at=due, kind=kind, due=due
    )


def tick_at(raw: bytes) -> int | None:
    """The time of a tick that a player wrote, milliseconds UTC; None for anything else.

    >>> tick_at(b'{"type":"tick","occurred_at":5}'), tick_at(b'{"type":"page"}')
    (5, None)
    """
    if b'"tick"' not in raw:
        return None
    try:
        found = _TICK.decode(raw)
    except msgspec.DecodeError:
        return None
    at = found.get("occurred_at")
    return at if found.get("type") == "tick" and type(at) is int and 0 <= at < 253_402_300_800_000 else None


_TICK = msgspec.json.Decoder(type=dict[str, object])
