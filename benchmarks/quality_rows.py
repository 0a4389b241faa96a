"""Examples of a run as arrays, and the table of what each target's predictions were worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.features import CATEGORICAL, FEATURES
from models.learning.learner import Example
from models.profile.pending import unpack
from models.targets import BY_NAME
from schemas.base import DAY_MS

from .quality_figures import Bools, Floats, figures, losses

WARM_LABELS = 500
SHOWN = ("n", "base_rate", "log_loss", "auc", "ece", "ece_floor", "lift")


class Rows(Struct, frozen=True):
    """Scored predictions in the order in which they were made; each array has one entry a row.

    Parameters
    ----------
    t
        Days from the stream's first midnight to the prediction.
    due
        Days from there to the label.
    p, null
        What the engine and its base rate said.
    x
        The numeric features used, in the order of ``FEATURES``; shape (rows, features).
    """

    target: NDArray[np.str_]
    customer: NDArray[np.str_]
    at_ms: NDArray[np.int64]
    t: Floats
    due: Floats
    p: Floats
    null: Floats
    y: Bools
    x: Floats

    def of(self, mask: Bools) -> Rows:
        """The rows of a mask."""
        return Rows(*(getattr(self, name)[mask] for name in Rows.__struct_fields__))

    def warm(self) -> Bools:
        """Rows predicted once 500 labels of these rows were known: what is scored."""
        due = np.sort(self.due)
        start = due[WARM_LABELS] if len(due) > WARM_LABELS else np.inf
        return np.asarray(self.t >= start)

    def columns(self, names: Sequence[str]) -> Floats:
        """The features of those names; shape (rows, names)."""
        return self.x[:, [FEATURES.index(name) for name in names]]


def rows_of(examples: Sequence[Example], start_ms: int) -> Rows:
    """Examples as rows."""
    kept = sorted(examples, key=lambda e: (e.predicted_at, e.customer, e.target))
    at = np.array([e.predicted_at for e in kept], dtype=np.int64)
    midnight = start_ms // DAY_MS * DAY_MS
    x = np.array([unpack(e.features) for e in kept]).reshape(len(kept), len(FEATURES) + len(CATEGORICAL))
    return Rows(
        np.array([e.target for e in kept]),
        np.array([e.customer for e in kept]),
        at,
        (at - midnight) / DAY_MS,
        np.array([(e.due - midnight) / DAY_MS for e in kept]),
        np.array([e.p for e in kept]),
        np.array([e.null for e in kept]),
        np.array([e.label for e in kept], dtype=bool),
        x[:, : len(FEATURES)],
    )


def last_third(scored: Bools) -> Bools:
    """The last third of the scored rows: hyperparameters were fixed before it."""
    index = np.flatnonzero(scored)
    late = np.zeros(len(scored), dtype=bool)
    late[index[len(index) * 2 // 3 :]] = True
    return late


def target_table(examples: Sequence[Example], start_ms: int) -> list[dict[str, Any]]:
    """One line a target: its figures after 500 labels beside the engine's own base rate of that moment."""
    lines = []
    for target in BY_NAME:
        found = [e for e in examples if e.target == target]
        if not found:
            continue
        rows = rows_of(found, start_ms)
        warm = rows.warm()
        if not warm.any():
            lines.append({"target": target, "n": 0} | dict.fromkeys([*SHOWN[1:3], "null log loss", *SHOWN[3:]]))
            continue
        scored = rows.of(warm)
        found_figures = figures(scored.y, scored.p)
        line: dict[str, Any] = {"target": target} | {name: found_figures[name] for name in SHOWN[:3]}
        line["null log loss"] = float(losses(scored.y, scored.null).mean())
        lines.append(line | {name: found_figures[name] for name in SHOWN[3:]})
    return lines
