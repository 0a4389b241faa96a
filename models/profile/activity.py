"""How much and how lately a customer was active, and in what rhythm."""

from __future__ import annotations

from msgspec import Struct

from schemas.base import DAY_MS

from . import rhythm
from .decay import ZERO, Scales, factors, merged, plus, times

HALF_LIVES_MS = (DAY_MS, 7 * DAY_MS, 30 * DAY_MS)


class Activity(Struct, frozen=True, array_like=True, gc=False):
    """Decayed counts of events by kind, and the rhythm of active days.

    Parameters
    ----------
    at
        Time the decayed counts refer to, milliseconds UTC; also the last activity.
    touches, views, intents
        All events, product interest, and cart and checkout events, decayed with half-lives of 1, 7 and 30 days.
    first_at
        First activity, milliseconds UTC.
    days
        Distinct UTC days with activity.
    gap_days
        Exponentially weighted mean gap between active days; 0 until there are two.
    events
        Events counted.
    """

    at: int = 0
    touches: Scales = ZERO
    views: Scales = ZERO
    intents: Scales = ZERO
    first_at: int = 0
    days: int = 0
    gap_days: float = 0.0
    events: int = 0


def observe(activity: Activity, at: int, view: bool, intent: bool) -> Activity:
    """Count one event at ``at`` (milliseconds UTC; earlier than the last one is fine).

    >>> a = observe(observe(Activity(), 0, False, False), DAY_MS, True, False)
    >>> a.touches[0], a.views[0], a.days, a.gap_days
    (1.5, 1.0, 2, 1.0)
    """
    last = activity.at
    if not activity.events:
        one = (1.0, 1.0, 1.0)
        return Activity(at, one, one if view else ZERO, one if intent else ZERO, at, 1, 0.0, 1)
    days, gap_days = activity.days, activity.gap_days
    touches, views, intents = activity.touches, activity.views, activity.intents
    if at >= last:
        elapsed = at - last
        if elapsed:
            keep = factors(elapsed, HALF_LIVES_MS)
            touches = times(touches, keep)
            if views[2]:
                views = times(views, keep)
            if intents[2]:
                intents = times(intents, keep)
        add = (1.0, 1.0, 1.0)
        gap = at // DAY_MS - last // DAY_MS
        if gap:
            gap_days = rhythm.observed(gap_days, float(gap))
            days += 1
        latest = at
    else:
        add = factors(last - at, HALF_LIVES_MS)
        latest = last
    return Activity(
        latest,
        plus(touches, add),
        plus(views, add) if view else views,
        plus(intents, add) if intent else intents,
        min(activity.first_at, at),
        days,
        gap_days,
        activity.events + 1,
    )


def decayed(activity: Activity, now: int) -> tuple[Scales, Scales, Scales]:
    """Touches, views and intents decayed to ``now`` (milliseconds UTC)."""
    keep = factors(max(0, now - activity.at), HALF_LIVES_MS)
    return times(activity.touches, keep), times(activity.views, keep), times(activity.intents, keep)


def merge(a: Activity, b: Activity) -> Activity:
    """The activity of one person seen as two; days are added, an upper bound where both were active on one day.

    >>> merge(observe(Activity(), 5, True, False), Activity()).events
    1
    """
    if not a.events or not b.events:
        return a if a.events else b
    total = a.days + b.days
    return Activity(
        max(a.at, b.at),
        merged(a.touches, a.at, b.touches, b.at, HALF_LIVES_MS),
        merged(a.views, a.at, b.views, b.at, HALF_LIVES_MS),
        merged(a.intents, a.at, b.intents, b.at, HALF_LIVES_MS),
        min(a.first_at, b.first_at),
        total,
        rhythm.merged(a.gap_days, a.days, b.gap_days, b.days, float(abs(a.at // DAY_MS - b.at // DAY_MS))),
        a.events + b.events,
    )
