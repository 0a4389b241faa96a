"""Churn: the rule that answers until the model has earned its place.

Churn is no activity (or, where so configured, no order) within the horizon, or a cancellation. The first weeks are a
population and a model of their own (``churn.early``), as is a horizon in the customer's own gaps (``churn.cadence``).
"""

from __future__ import annotations

from math import exp

from schemas.base import DAY_MS

from .features import silence_odds
from .profile.profile import Profile


def rule(profile: Profile, now: int, horizon_days: float) -> float:
    """P(silence over the horizon) at the customer's own rate of active days: a Gamma-Poisson without learning.

    >>> rule(Profile("u:1"), 0, 90.0) > 0.9
    True
    """
    tenure = max(0, now - profile.activity.first_at) / DAY_MS if profile.activity.events else 0.0
    odds = silence_odds(profile.activity.days, tenure, horizon_days)
    return 1 / (1 + exp(-odds))
