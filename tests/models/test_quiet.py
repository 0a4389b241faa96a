"""Quiet hours against a clock on the wall, minute by minute: over midnight, across time zones and changes of clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.policy.campaigns import QuietHours
from models.policy.quiet import quiet_until, zone
from schemas.base import HOUR_MS, MINUTE_MS

ZONES = ["UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Kiritimati"]
clocks = st.tuples(st.integers(0, 23), st.sampled_from([0, 15, 30, 59])).map(lambda t: f"{t[0]:02}:{t[1]:02}")


def millis(text: str, tz: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz)).timestamp() * 1000)


def on_the_wall(now: int, tz: str) -> str:
    return datetime.fromtimestamp(now / 1000, UTC).astimezone(ZoneInfo(tz)).strftime("%H:%M")


def quiet(start: str, end: str, now: int, tz: str) -> bool:
    wall = on_the_wall(now, tz)
    return start <= wall < end if start <= end else wall >= start or wall < end


@hypothesis_settings(deadline=None, max_examples=150)
@given(clocks, clocks, st.integers(1_600_000_000, 1_800_000_000), st.sampled_from(ZONES))
def test_quiet_hours_are_those_on_the_wall(start: str, end: str, second: int, tz: str) -> None:
    now = second * 1000
    until = quiet_until(QuietHours(start=start, end=end), now, ZoneInfo(tz))
    assert (until > 0) is quiet(start, end, now, tz)
    if until:
        assert now < until <= now + 25 * HOUR_MS
        assert not quiet(start, end, until, tz)
        step = max(MINUTE_MS, (until - now) // 200)
        gap = next((at for at in range(now, until, step) if not quiet(start, end, at, tz)), until)
        assert until - gap <= HOUR_MS, "only where the clock jumps over the end may it be quiet a little longer"


@pytest.mark.parametrize(
    ("now", "tz", "until"),
    [
        ("2024-03-31T01:30", "Europe/Paris", "2024-03-31T07:15"),  # the clock goes forward an hour at two
        ("2024-10-27T01:30", "Europe/Paris", "2024-10-27T07:15"),  # and back an hour at three
        ("2024-12-31T23:59", "Asia/Kolkata", "2025-01-01T07:15"),
        ("2024-02-28T22:00", "America/New_York", "2024-02-29T07:15"),
        ("2024-06-01T07:14", "UTC", "2024-06-01T07:15"),
        ("2024-06-01T21:30", "UTC", "2024-06-02T07:15"),
    ],
)
def test_they_end_at_the_customers_own_hour(now: str, tz: str, until: str) -> None:
    hours = QuietHours(start="21:30", end="07:15")
    assert quiet_until(hours, millis(now, tz), ZoneInfo(tz)) == millis(until, tz)


@pytest.mark.parametrize("now", ["2024-06-01T07:15", "2024-06-01T21:29", "2024-06-01T12:00"])
def test_borders_belong_to_the_day(now: str) -> None:
    assert quiet_until(QuietHours(start="21:30", end="07:15"), millis(now), ZoneInfo("UTC")) == 0


def test_the_hour_that_comes_twice_is_quiet_twice() -> None:
    hours = QuietHours(start="02:00", end="02:45")
    tz = ZoneInfo("Europe/Paris")
    first = int(datetime(2024, 10, 27, 2, 30, tzinfo=tz).timestamp() * 1000)
    second = int((datetime(2024, 10, 27, 2, 30, tzinfo=tz, fold=1)).timestamp() * 1000)
    assert second - first == HOUR_MS
    assert quiet_until(hours, first, tz) == first + 15 * MINUTE_MS
    assert quiet_until(hours, second, tz) == second + 15 * MINUTE_MS


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../../etc/passwd", "\x00", "Europe", "x" * 200])
def test_an_unknown_zone_is_the_fallback(name: str) -> None:
    assert zone(name, "Europe/Paris").key == "Europe/Paris"


def test_the_end_of_the_calendar_is_not_quiet() -> None:
    last = int((datetime(9999, 12, 31, 23, 59, tzinfo=UTC) - timedelta(0)).timestamp() * 1000)
    hours = QuietHours(start="21:30", end="07:15")
    assert quiet_until(hours, last, ZoneInfo("Pacific/Kiritimati")) == 0
    assert quiet_until(hours, last + 10 * 365 * 24 * HOUR_MS, ZoneInfo("UTC")) == 0
