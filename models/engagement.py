"""Engagement: a score from 0 to 100 that a person can follow, with its trend, beside the learned P(visit next week).

The score is a sum of three parts anyone can check: how lately (40 points, halved every 14 days of silence), how often
(30 points, full at 20 actions in the decayed month), how deep (30 points, full at 5 cart or checkout actions or 15
product views in the decayed month).
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.base import DAY_MS

from .profile import activity
from .profile.profile import Profile

WEEK_MS = 7 * DAY_MS
WEEKS_KEPT = 6

Trend = tuple[tuple[int, float], ...]


class Points(NamedTuple):
    """The three parts of the score."""

    lately: float
    often: float
    deep: float

    @property
    def total(self) -> float:
        """0 to 100."""
        return self.lately + self.often + self.deep


def points(profile: Profile, now: int) -> Points:
    """The score's parts at ``now`` (milliseconds UTC).

    >>> points(Profile("u:1"), 0).total
    0.0
    """
    if not profile.activity.events:
        return Points(0.0, 0.0, 0.0)
    touches, views, intents = activity.decayed(profile.activity, now)
    idle_days = max(0, now - profile.activity.at) / DAY_MS
    return Points(
        round(40 * 0.5 ** (idle_days / 14), 1),
        round(30 * min(1.0, touches[2] / 20), 1),
        round(30 * min(1.0, intents[2] / 5 + views[2] / 15), 1),
    )


def noted(trend: Trend, now: int, score: float) -> Trend:
    """The trend with this week's latest score; the last 6 weeks with a score are kept.

    >>> noted(((0, 50.0),), WEEK_MS, 40.0)
    ((0, 50.0), (1, 40.0))
    """
    week = now // WEEK_MS
    return (*(entry for entry in trend if entry[0] != week), (week, score))[-WEEKS_KEPT:]


def drop(trend: Trend) -> float:
    """Points lost from the best of the weeks before to the latest; 0 where it did not fall.

    >>> drop(((0, 50.0), (1, 40.0)))
    10.0
    """
    if len(trend) < 2:
        return 0.0
    return max(0.0, max(score for _, score in trend[:-1]) - trend[-1][1])


def rule(profile: Profile, now: int, horizon_days: float) -> float:
    """P(a visit within the horizon) at the customer's own rate of active days, with one prior day in 30.

    >>> rule(Profile("u:1"), 0, 7.0) < 0.3
    True
    """
    tenure = max(0, now - profile.activity.first_at) / DAY_MS if profile.activity.events else 0.0
    idle = max(0, now - profile.activity.at) / DAY_MS if profile.activity.events else 30.0
    days = profile.activity.days
    rate_exposure = tenure + idle / 2 + 30
    return 1.0 - (rate_exposure / (rate_exposure + horizon_days)) ** max(days, 1)
