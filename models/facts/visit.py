"""What every activity of a customer changes: the visit, the decayed counts, the channel, and when the journey begins."""

from __future__ import annotations

from ..config import EngineConfig, minutes_ms
from ..draft import Draft
from ..profile import activity, affinity, journey, session
from ..profile.journey import AWARENESS, INTENT, JOURNEY_GAP_MS, LOYALTY, PURCHASE


def at(draft: Draft) -> int:
    """When the event occurred, never after partition time (milliseconds UTC)."""
    return min(draft.event.occurred_at, draft.now)


def touch(draft: Draft, config: EngineConfig, *, view: bool = False, intent: bool = False) -> None:
    """Count the event as activity."""
    when = at(draft)
    last = draft.activity.at
    if when >= last:
        draft.delay_ms = max(0, draft.event.received_at - draft.event.occurred_at)
    visit = session.observe(draft.session, when, view)
    if visit.number != draft.session.number:
        draft.moments.add("visit")
        draft.count("visits")
        if draft.journey.stage < 0 or (when - last > JOURNEY_GAP_MS):
            _set_out(draft, config, when)
        draft.channels = affinity.lean(draft.channels, draft.event.channel, 1.0, when)
    draft.session = visit
    draft.activity = activity.observe(draft.activity, when, view, intent)


def _set_out(draft: Draft, config: EngineConfig, when: int) -> None:
    orders = draft.orders.count
    stage = LOYALTY if orders >= config.funnel.loyal_orders else PURCHASE if orders else AWARENESS
    draft.journey = journey.begin(draft.journey, stage, when)
    draft.count("stage|0" if stage == AWARENESS else "returning_buyer")


def reach(draft: Draft, stage: int) -> None:
    """Move up to ``stage`` where the customer is not further yet; entering one is a moment to score."""
    if stage <= draft.journey.stage:
        return
    for passed in range(max(0, draft.journey.stage) + 1, stage + 1):
        draft.count(f"stage|{passed}")
    draft.journey = journey.advance(draft.journey, stage, at(draft))
    draft.moments.add("stage")


def leave(draft: Draft, kind: str, minutes: float) -> None:
    """Start (again) the silence after which ``kind`` counts as left."""
    draft.set_timer(kind, draft.now + minutes_ms(minutes))


def intend(draft: Draft) -> None:
    """The customer has started to buy."""
    reach(draft, INTENT)
