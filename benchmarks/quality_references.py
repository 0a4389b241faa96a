"""Nulls and batch references, trained on the very rows that our predictions are scored on, each with equal delay.

At a row's time t only rows whose label was due by t are known: negatives and positives alike. Online nulls learn each
label when it falls due; batch models are refitted from scratch once a week of the stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from river.linear_model import LogisticRegression as OnlineLogistic
from river.optim import SGD
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from .quality_figures import Bools, Floats, Ints

REFIT_DAYS = 7.0
LEAST_LABELS = 200


def known_before(t: Floats, horizon_days: float) -> Ints:
    """How many rows (in time order) had a label when each row was predicted.

    >>> known_before(np.array([0.0, 5.0, 10.0]), 5.0).tolist()
    [0, 1, 2]
    """
    return np.searchsorted(t + horizon_days, t, side="right").astype(np.int64)


def base_rate(y: Bools, known: Ints) -> Floats:
    """The rate among the labels known, from one of each."""
    seen = np.concatenate([[0], np.cumsum(y)])
    return np.asarray((seen[known] + 1) / (known + 2))


def binned(y: Bools, known: Ints, value: Floats, edges: list[float]) -> Floats:
    """The known rate within the value's bin, pulled to the base rate as by ten labels."""
    base = base_rate(y, known)
    of = np.digitize(value, edges)
    p = np.zeros(len(y))
    for bin_ in range(len(edges) + 1):
        here = of == bin_
        hits = np.concatenate([[0], np.cumsum(y & here)])
        count = np.concatenate([[0], np.cumsum(here)])
        p[here] = ((hits[known] + 10 * base) / (count[known] + 10))[here]
    return p


def one_feature(y: Bools, known: Ints, value: Floats, lr: float = 0.01) -> Floats:
    """A River logistic regression of one feature, taught each label when it falls due."""
    model = OnlineLogistic(optimizer=SGD(lr), intercept_lr=lr)
    p = np.zeros(len(y))
    learned = 0
    x = [{"x": float(v)} for v in value]
    for i in range(len(y)):
        while learned < known[i]:
            model.learn_one(x[learned], bool(y[learned]))
            learned += 1
        p[i] = model.predict_proba_one(x[i])[True]
    return p


def refitted(x: Floats, y: Bools, t: Floats, horizon_days: float, make: Callable[[], Any]) -> Floats:
    """A batch model refitted weekly on all rows whose label was known on that day."""
    p = base_rate(y, known_before(t, horizon_days))
    for start in np.arange(np.floor(t[0]), t[-1] + REFIT_DAYS, REFIT_DAYS):
        here = (t >= start) & (t < start + REFIT_DAYS)
        known = int(np.searchsorted(t + horizon_days, start, side="right"))
        if here.any() and known >= LEAST_LABELS and 0 < y[:known].sum() < known:
            p[here] = make().fit(x[:known], y[:known]).predict_proba(x[here])[:, 1]
    return p


def logistic() -> Any:
    """The batch logistic regression."""
    return LogisticRegression(C=1.0, max_iter=500)


def boosting() -> Any:
    """The batch boosting, with settings that guard against overfitting; not tuned further."""
    return HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.08, max_leaf_nodes=15, min_samples_leaf=50, l2_regularization=5.0, random_state=0
    )
