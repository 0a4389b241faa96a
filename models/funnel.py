"""The funnel's figures: P(buys) at four horizons from one discrete-time hazard, and the median time to a purchase.

The hazard of interval k is P(the next order falls into k | none before k); it is learned from one example an interval
that was reached, when that interval is over (Singer and Willett 1993, "It's about time", J. Educ. Stat. 18(2)).
"""

from __future__ import annotations

from collections.abc import Sequence

from .targets import INTERVALS_MS

RULE_30D = (0.01, 0.03, 0.08, 0.3, 0.3, 0.5)
RULE_SHARE = (0.15, 0.35, 0.6, 1.0)


def cumulative(hazards: Sequence[float]) -> list[float]:
    """P(buys by the end of each interval) from the hazards of the intervals.

    >>> cumulative([0.5, 0.5])
    [0.5, 0.75]
    """
    survival = 1.0
    bought = []
    for hazard in hazards:
        survival *= 1.0 - hazard
        bought.append(1.0 - survival)
    return bought


def median_time_ms(bought: Sequence[float]) -> int:
    """Median time to the purchase, given one within the last horizon, in milliseconds; linear within an interval.

    Parameters
    ----------
    bought
        P(buys) by the end of each of the four intervals, not falling.

    >>> median_time_ms([0.0, 0.0, 0.0, 0.5]) == (INTERVALS_MS[2] + INTERVALS_MS[3]) // 2
    True
    """
    half = bought[-1] / 2
    start, before = 0, 0.0
    for end, p in zip(INTERVALS_MS, bought, strict=True):
        if p >= half and p > before:
            return round(start + (end - start) * (half - before) / (p - before))
        start, before = end, p
    return INTERVALS_MS[-1]


def rule(stage: int, interval: int) -> float:
    """P(buys by the end of an interval) by stage alone, until the model has earned its place.

    >>> from models.profile.journey import STAGES
    >>> rule(STAGES.index("intent"), 3)
    0.3
    """
    return RULE_30D[max(0, stage)] * RULE_SHARE[interval]
