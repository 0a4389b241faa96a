"""Figures of predictions whose labels are known, exact and with their noise: what the quality benchmark reports."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

P_MIN = 1e-6
GROUPS = 10
BOOTSTRAPS = 1000
INTERVAL = (0.025, 0.975)


class Interval(Struct, frozen=True):
    """A value and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def losses(y: Bools, p: Floats) -> Floats:
    """Log loss of each prediction in nats.

    >>> losses(np.array([True]), np.array([1.0])).round(4).item()
    0.0
    """
    p = np.clip(p, P_MIN, 1 - P_MIN)
    return np.asarray(-np.log(np.where(y, p, 1 - p)))


def auc(y: Bools, p: Floats) -> float:
    """Area under the ROC curve; NaN where only one class occurs.

    >>> auc(np.array([False, True]), np.array([0.1, 0.2]))
    1.0
    """
    return float(roc_auc_score(y, p)) if 0 < y.sum() < len(y) else float("nan")


def ece(y: Bools, p: Floats) -> float:
    """Expected calibration error over 10 groups of equal mass.

    >>> ece(np.array([True, False] * 50), np.full(100, 0.5))
    0.0
    """
    if not len(y):
        return float("nan")
    order = np.argsort(p, kind="stable")
    gap = y.astype(float) - p
    return float(sum(abs(gap[part].sum()) for part in np.array_split(order, GROUPS)) / len(y))


def ece_floor(p: Floats, repeats: int = 50) -> float:
    """What a perfectly calibrated model with these predictions would show by chance alone: the mean of drawn labels'."""
    rng = np.random.default_rng(0)
    return float(np.mean([ece(rng.random(len(p)) < p, p) for _ in range(repeats)]))


def lift(y: Bools, p: Floats) -> float:
    """Rate of positives in the tenth with the highest predictions over the base rate."""
    top = np.argsort(-p, kind="stable")[: max(1, len(p) // 10)]
    return float(y[top].mean() / y.mean()) if y.any() else float("nan")


def figures(y: Bools, p: Floats) -> dict[str, Any]:
    """n, base rate, log loss, AUC, ECE with its floor, lift."""
    return {
        "n": len(y),
        "base_rate": float(y.mean()) if len(y) else float("nan"),
        "log_loss": float(losses(y, p).mean()) if len(y) else float("nan"),
        "auc": auc(y, p),
        "ece": ece(y, p),
        "ece_floor": ece_floor(p),
        "lift": lift(y, p),
    }


class Resampled:
    """Bootstrap weights of customers, drawn once, so that all comparisons are paired.

    Parameters
    ----------
    customers
        The customer of each row.
    repeats
        Number of resamples.
    """

    def __init__(self, customers: NDArray[Any], repeats: int = BOOTSTRAPS) -> None:
        _, inverse = np.unique(customers, return_inverse=True)
        self._of = inverse
        self._n = int(inverse.max()) + 1 if len(inverse) else 0
        rng = np.random.default_rng(1)
        self._weights = rng.multinomial(self._n, np.full(self._n, 1 / self._n), repeats).astype(np.int32)

    def mean_difference(self, a: Floats, b: Floats, rows: Bools | None = None) -> Interval:
        """Mean of a - b over the rows, with its interval over customers."""
        use = np.ones(len(a), dtype=bool) if rows is None else rows
        sums = np.bincount(self._of, np.where(use, a - b, 0.0), self._n)
        counts = np.bincount(self._of, use.astype(float), self._n)
        low, high = np.quantile((self._weights @ sums) / (self._weights @ counts), INTERVAL)
        return Interval(float(sums.sum() / counts.sum()), float(low), float(high))

    def auc_ratio(self, y: Bools, p: Floats, q: Floats, rows: Bools, repeats: int = 200) -> Interval:
        """(AUC of p - .5) / (AUC of q - .5) over the rows, with its interval over customers."""
        first, second = _Curve(y[rows], p[rows]), _Curve(y[rows], q[rows])
        of = self._of[rows]
        ones = np.ones(len(of))
        drawn = [
            (first.auc(weights) - 0.5) / (second.auc(weights) - 0.5)
            for weights in (self._weights[i][of].astype(float) for i in range(repeats))
        ]
        low, high = np.quantile(drawn, INTERVAL)
        return Interval((first.auc(ones) - 0.5) / (second.auc(ones) - 0.5), float(low), float(high))

    def auc_difference(self, y: Bools, p: Floats, q: Floats, rows: Bools, repeats: int = 200) -> Interval:
        """AUC of p - AUC of q over the rows, with its interval over customers."""
        first, second = _Curve(y[rows], p[rows]), _Curve(y[rows], q[rows])
        of = self._of[rows]
        drawn = [
            first.auc(weights) - second.auc(weights)
            for weights in (self._weights[i][of].astype(float) for i in range(repeats))
        ]
        low, high = np.quantile(drawn, INTERVAL)
        ones = np.ones(len(of))
        return Interval(first.auc(ones) - second.auc(ones), float(low), float(high))


class _Curve:
    """Rows sorted once, so that the AUC under new weights costs two cumulative sums."""

    def __init__(self, y: Bools, p: Floats) -> None:
        self._order = np.argsort(p, kind="stable")
        self._y = y[self._order]
        _, self._start = np.unique(p[self._order], return_index=True)

    def auc(self, weights: Floats) -> float:
        """AUC with ties counted half."""
        w = weights[self._order]
        positive = np.add.reduceat(np.where(self._y, w, 0.0), self._start)
        negative = np.add.reduceat(np.where(self._y, 0.0, w), self._start)
        below = np.cumsum(negative) - negative / 2
        return float((positive * below).sum() / (positive.sum() * negative.sum()))
