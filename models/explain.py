"""Reasons of a score in words and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.base import DAY_MS
from schemas.decisions import Reason

from .config import EngineConfig
from .encoding import as_mapping
from .features import vector, words
from .learning.model import OnlineModel
from .profile.profile import Profile
from .targets import BY_NAME

REASONS_MAX = 3
WEIGHT_MIN = 0.01


def reasons_for(
    config: EngineConfig, models: Mapping[str, OnlineModel], profile: Profile, now: int, targets: Sequence[str]
) -> tuple[Reason, ...]:
    """The strongest drivers of the scores among ``targets``: how each moved the score from the mean customer's.

    Parameters
    ----------
    now
        Milliseconds UTC.
    targets
        Facts of the campaign's conditions; those that are no target are passed over.
    """
    reasons: list[Reason] = []
    for name in targets:
        spec = BY_NAME.get(name)
        if spec is None:
            continue
        horizon_days = spec.horizon(config, profile, now) / DAY_MS if spec.own_horizon else config.churn.horizon_days
        if not horizon_days:
            continue
        x = as_mapping(vector(profile, now, horizon_days, config.typical_order))
        for feature, weight in models[spec.model].drivers(x, REASONS_MAX):
            if abs(weight) < WEIGHT_MIN:
                continue
            direction = "raises" if weight > 0 else "lowers"
            reasons.append(
                Reason(
                    feature=feature,
                    value=round(x[feature], 4),
                    weight=round(weight, 4),
                    text=f"{words(feature)} {direction} {name}",
                )
            )
    return tuple(reasons)
