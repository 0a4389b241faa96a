"""When people shop: weekday, season, hour of their own day, and the regime change. Known functions of time."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime
from functools import cache
from itertools import accumulate
from math import cos, pi
from zoneinfo import ZoneInfo

from models.simulator.config import DAY_MS, HOUR_MS, ShopConfig

ZONES = (
    ("Europe/Berlin", 0.34),
    ("Europe/London", 0.22),
    ("America/New_York", 0.16),
    ("America/Los_Angeles", 0.10),
    ("Asia/Kolkata", 0.08),
    ("Australia/Sydney", 0.06),
    ("America/Sao_Paulo", 0.04),
)
_WEEKDAYS = (1.02, 1.0, 1.0, 1.04, 0.96, 0.9, 1.08)  # Monday first
_HOURS = (12, 7, 4, 3, 3, 6, 15, 26, 38, 46, 52, 54, 56, 52, 49, 50, 53, 58, 66, 76, 82, 74, 50, 26)
_CUMULATED = tuple(value / sum(_HOURS) for value in accumulate(_HOURS, initial=0))


class Calendar:
    """A shop's days, counted from its start (day 0).

    >>> calendar = Calendar(ShopConfig(regime_change_day=1))
    >>> calendar.visits(0) > calendar.visits(1)
    True
    """

    def __init__(self, config: ShopConfig) -> None:
        self._config = config
        self._weekday = datetime.fromtimestamp(config.start_ms / 1000, UTC).weekday()
        self._yearday = datetime.fromtimestamp(config.start_ms / 1000, UTC).timetuple().tm_yday
        self._visits: dict[int, float] = {}

    def after_change(self, day: int) -> bool:
        """Whether the regime has changed by this day."""
        change = self._config.regime_change_day
        return change is not None and day >= change

    def visits(self, day: int) -> float:
        """The factor on all visit rates on a day."""
        known = self._visits.get(day)
        if known is None:
            known = 1 + self._config.season_year * cos(2 * pi * (self._yearday + day - 330) / 365.25)
            if self._config.season_week:
                known *= _WEEKDAYS[(self._weekday + day) % 7]
            if self.after_change(day):
                known *= self._config.regime_visits
            self._visits[day] = known
        return known

    def conversion(self, day: int) -> float:
        """The factor on conversion on a day."""
        return self._config.regime_conversion if self.after_change(day) else 1.0

    def dropout(self, day: int) -> float:
        """The factor on the dropout hazard on a day."""
        return self._config.regime_dropout if self.after_change(day) else 1.0

    def time(self, day: int, zone: int, draw: float) -> int:
        """When on UTC day `day` a visit begins (epoch ms), by the hours of the visitor's own clock."""
        hour = bisect_right(_CUMULATED, draw) - 1
        local = (hour + (draw - _CUMULATED[hour]) / (_CUMULATED[hour + 1] - _CUMULATED[hour])) * HOUR_MS
        start = self._config.start_ms + day * DAY_MS
        return start + int(local - offset_ms(zone, start // DAY_MS)) % DAY_MS

    def share_of_day(self, zone: int, at_ms: int) -> float:
        """The expected share of that UTC day's visits that begin up to `at_ms`, in [0, 1]."""
        shift = offset_ms(zone, at_ms // DAY_MS)
        begin, end = _below(shift % DAY_MS), _below((at_ms % DAY_MS + shift) % DAY_MS)
        return end - begin if (at_ms % DAY_MS) + shift % DAY_MS < DAY_MS else 1 - begin + end


def _below(clock_ms: int) -> float:
    hour, rest = divmod(clock_ms, HOUR_MS)
    return _CUMULATED[hour] + (_CUMULATED[hour + 1] - _CUMULATED[hour]) * rest / HOUR_MS


@cache
def offset_ms(zone: int, utc_day: int) -> int:
    """How far a zone's clock is ahead of UTC at noon of a UTC day (days since 1970), in milliseconds."""
    moment = datetime.fromtimestamp(utc_day * 86_400 + 43_200, ZoneInfo(ZONES[zone][0]))
    shift = moment.utcoffset()
    return 0 if shift is None else int(shift.total_seconds() * 1000)
