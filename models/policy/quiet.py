"""Quiet hours in the customer's own time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from .campaigns import QuietHours


@lru_cache(maxsize=1024)
def zone(name: str, fallback: str) -> ZoneInfo:
    """The zone of that name, or the fallback where there is none.

    >>> zone("Mars/Olympus", "UTC").key
    'UTC'
    """
    try:
        return ZoneInfo(name) if name else ZoneInfo(fallback)
    except (ValueError, OSError, KeyError):
        return ZoneInfo(fallback)


@lru_cache(maxsize=256)
def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def quiet_until(hours: QuietHours, now: int, tz: ZoneInfo) -> int:
    """End of the quiet hours that ``now`` lies in, milliseconds UTC; 0 where it is not quiet.

    Parameters
    ----------
    hours
        From ``start`` up to, not including, ``end``; over midnight where ``start`` is later.
    now
        Milliseconds UTC.
    tz
        The customer's zone.

    >>> hours = QuietHours(start="21:00", end="08:00")
    >>> quiet_until(hours, 22 * 3_600_000, ZoneInfo("UTC")) == (24 + 8) * 3_600_000
    True
    >>> quiet_until(hours, 12 * 3_600_000, ZoneInfo("UTC"))
    0
    """
    try:
        return _until(hours, now, tz)
    except (OverflowError, ValueError):  # the calendar ends with the year 9999
        return 0


def _until(hours: QuietHours, now: int, tz: ZoneInfo) -> int:
    local = datetime.fromtimestamp(now / 1000, UTC).astimezone(tz)
    minute = local.hour * 60 + local.minute
    start, end = _minutes(hours.start), _minutes(hours.end)
    inside = start <= minute < end if start <= end else minute >= start or minute < end
    if not inside:
        return 0
    over = local.replace(hour=end // 60, minute=end % 60, second=0, microsecond=0)
    if over <= local:
        over += timedelta(days=1)
    until = int(over.astimezone(UTC).timestamp() * 1000)
    return max(until, now + 1)  # a clock set back tonight must not name a moment that has passed
