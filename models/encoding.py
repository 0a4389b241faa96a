"""From the packed feature vector to what a River estimator reads: a mapping from feature name to value."""

from __future__ import annotations

from collections.abc import Sequence

from .features import BUCKETS, CATEGORICAL, FEATURES

_NUMERIC = len(FEATURES)
_KEYS = tuple(tuple(f"{name}={bucket}" for bucket in range(BUCKETS)) for name in CATEGORICAL)
_INTERVALS = tuple(f"interval={i}" for i in range(4))


def as_mapping(vector: Sequence[float], interval: int = -1) -> dict[str, float]:
    """The mapping for an estimator: numbers by name, categories as one of 32 hashed indicators each.

    Parameters
    ----------
    vector
        As ``features.vector`` made it: the numeric features, then one bucket number a category (0: none).
    interval
        Hazard interval, -1 for none.

    >>> x = as_mapping([0.5] * len(FEATURES) + [3.0, 0.0], 1)
    >>> x["idle"], x["category=3"], x["interval=1"], len(x) - len(FEATURES)
    (0.5, 1.0, 1.0, 2)
    """
    x = dict(zip(FEATURES, vector, strict=False))
    for keys, bucket in zip(_KEYS, vector[_NUMERIC:], strict=True):
        if bucket:
            x[keys[int(bucket)]] = 1.0
    if interval >= 0:
        x[_INTERVALS[interval]] = 1.0
    return x
