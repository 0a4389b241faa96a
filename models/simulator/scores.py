"""Survey scores: how loyalty and a refund show in an answer from 0 to 10."""

from __future__ import annotations

from statistics import NormalDist

_MEANS = (8.9, 7.4, 5.4)  # by class of loyalty
_SPREAD = 1.9
_REFUND = 2.2


def _table(loyalty: int, refunded: bool) -> tuple[float, ...]:
    normal = NormalDist(_MEANS[loyalty] - (_REFUND if refunded else 0.0), _SPREAD)
    inner = [normal.cdf(score + 0.5) for score in range(10)]
    return (*inner, 1.0)


_CUMULATED = {(loyalty, refunded): _table(loyalty, refunded) for loyalty in range(3) for refunded in (False, True)}


def cumulated(loyalty: int, refunded: bool) -> tuple[float, ...]:
    """P(score <= s) for s = 0..10.

    >>> len(cumulated(0, False)), cumulated(2, True)[-1]
    (11, 1.0)
    """
    return _CUMULATED[loyalty, refunded]


def likelihood(score: int, refunded: bool) -> tuple[float, float, float]:
    """P(score) under each class of loyalty.

    >>> likelihood(10, False)[0] > likelihood(10, False)[2]
    True
    """

    def chance(loyalty: int) -> float:
        table = cumulated(loyalty, refunded)
        return table[score] - (table[score - 1] if score else 0.0)

    return chance(0), chance(1), chance(2)
