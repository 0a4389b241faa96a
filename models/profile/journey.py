"""Where a customer stands in the funnel, when each stage was entered, and the way there."""

from __future__ import annotations

from msgspec import Struct

from schemas.base import DAY_MS

STAGES = ("awareness", "interest", "consideration", "intent", "purchase", "loyalty")
AWARENESS, INTEREST, CONSIDERATION, INTENT, PURCHASE, LOYALTY = range(6)
HISTORY_MAX = 12
JOURNEY_GAP_MS = 30 * DAY_MS


class Journey(Struct, frozen=True, array_like=True, gc=False):
    """The stage now and how it came about.

    Parameters
    ----------
    stage
        Index into ``STAGES``; -1 before the first event.
    entered
        When each stage was first entered in this journey, milliseconds UTC; 0 where it was not.
    history
        The last 12 changes as (stage, at).
    contact_at, request_at
        When contact details were left, and when details were asked for; 0 where never.
    """

    stage: int = -1
    entered: tuple[int, int, int, int, int, int] = (0, 0, 0, 0, 0, 0)
    history: tuple[tuple[int, int], ...] = ()
    contact_at: int = 0
    request_at: int = 0


def advance(journey: Journey, stage: int, at: int) -> Journey:
    """Move up to ``stage`` if it is further than the present one.

    >>> advance(advance(Journey(), INTENT, 5), INTEREST, 6).stage == INTENT
    True
    """
    if stage <= journey.stage:
        return journey
    return _enter(journey, stage, at)


def begin(journey: Journey, stage: int, at: int) -> Journey:
    """Start a new journey at ``stage``: one who comes back after 30 days starts over, a buyer as a buyer.

    >>> begin(Journey(INTENT), AWARENESS, 9).stage
    0
    """
    return _enter(Journey(-1, (0, 0, 0, 0, 0, 0), journey.history, journey.contact_at, journey.request_at), stage, at)


def _enter(journey: Journey, stage: int, at: int) -> Journey:
    entered = list(journey.entered)
    entered[stage] = entered[stage] or at
    a, b, c, d, e, f = entered
    history = (*journey.history, (stage, at))[-HISTORY_MAX:]
    return Journey(stage, (a, b, c, d, e, f), history, journey.contact_at, journey.request_at)


def left_contact(journey: Journey, at: int) -> Journey:
    """Contact details were left at ``at``; the first time counts."""
    if journey.contact_at:
        return journey
    return Journey(journey.stage, journey.entered, journey.history, at, journey.request_at)


def requested(journey: Journey, at: int) -> Journey:
    """Details were asked for at ``at``; the latest time counts."""
    return Journey(journey.stage, journey.entered, journey.history, journey.contact_at, max(journey.request_at, at))


def merge(a: Journey, b: Journey) -> Journey:
    """The further stage, the earliest entries, both histories in order.

    >>> merge(Journey(INTENT, (1, 2, 3, 4, 0, 0)), Journey(INTEREST, (2, 1, 0, 0, 0, 0))).entered
    (1, 1, 3, 4, 0, 0)
    """
    entered = tuple(min(x or y, y or x) for x, y in zip(a.entered, b.entered, strict=True))
    history = tuple(sorted((*a.history, *b.history), key=lambda step: (step[1], step[0])))[-HISTORY_MAX:]
    contacts = [at for at in (a.contact_at, b.contact_at) if at]
    return Journey(
        max(a.stage, b.stage),
        (entered[0], entered[1], entered[2], entered[3], entered[4], entered[5]),
        history,
        min(contacts, default=0),
        max(a.request_at, b.request_at),
    )
