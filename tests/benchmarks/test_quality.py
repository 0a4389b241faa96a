"""The quality benchmark's own arithmetic: figures, bootstrap, references without a look ahead, skips and tables."""

from __future__ import annotations

import doctest
import gzip
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from benchmarks import (
    checker,
    checker_log,
    quality_figures,
    quality_files,
    quality_references,
    quality_report,
    quality_retail,
    quality_rows,
)
from benchmarks.quality_figures import Bools, Floats, Resampled, auc, ece, figures
from benchmarks.quality_references import base_rate, binned, known_before, one_feature, refitted
from models.features import FEATURES
from models.learning.learner import Example
from models.profile.pending import pack
from schemas.base import DAY_MS


@pytest.mark.parametrize("module", [checker, checker_log, quality_figures, quality_references, quality_report])
def test_the_examples_in_the_docstrings_hold(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def drawn(n: int = 4000) -> tuple[Bools, Floats]:
    rng = np.random.default_rng(3)
    p = rng.beta(1.2, 2.0, n)
    return rng.random(n) < p, p


def test_figures_are_those_of_sklearn_and_noise_stays_at_its_floor() -> None:
    y, p = drawn()
    found = figures(y, p)
    assert found["log_loss"] == pytest.approx(log_loss(y, p))
    assert found["auc"] == pytest.approx(roc_auc_score(y, p))
    assert found["ece"] < 2 * found["ece_floor"]
    assert ece(y, np.clip(p + 0.1, 0, 1)) == pytest.approx(0.1, abs=0.03)


def test_the_bootstrap_sees_a_difference_and_none_where_there_is_none() -> None:
    y, p = drawn()
    customers = np.arange(len(y)) // 4
    resampled = Resampled(customers)
    rows = np.ones(len(y), dtype=bool)
    same = resampled.mean_difference(p, p, rows)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    worse = resampled.mean_difference(quality_figures.losses(y, np.full(len(y), 0.4)), quality_figures.losses(y, p))
    assert 0 < worse.low < worse.value < worse.high
    ratio = resampled.auc_ratio(y, p, p, rows, 20)
    assert ratio.value == ratio.low == ratio.high == 1.0
    gap = resampled.auc_difference(y, np.round(p, 1), p, rows, 20)
    assert gap.value == pytest.approx(auc(y, np.round(p, 1)) - auc(y, p))


def test_no_reference_sees_a_label_before_it_is_due() -> None:
    """What comes after a row's horizon may be turned over without changing the row's prediction."""
    y, p = drawn(1200)
    t = np.sort(np.random.default_rng(0).random(1200) * 100)
    known = known_before(t, 20.0)
    other = y.copy()
    row = 900
    other[known[row] :] = ~other[known[row] :]
    references: list[Callable[[Bools], Floats]] = [
        lambda labels: base_rate(labels, known),
        lambda labels: binned(labels, known, p, [0.2, 0.5]),
        lambda labels: one_feature(labels, known, p),
        lambda labels: refitted(p[:, None], labels, t, 20.0, quality_references.logistic),
    ]
    for made in references:
        assert made(y)[row] == made(other)[row]
        assert made(y)[-1] != made(other)[-1]


def example(customer: str, at_day: float, label: bool, horizon: float = 90.0) -> Example:
    at = int((20_000 + at_day) * DAY_MS)
    return Example(
        target="churn.late",
        model="churn",
        customer=customer,
        predicted_at=at,
        due=at + int(horizon * DAY_MS),
        features=pack([0.0] * (len(FEATURES) + 2)),
        interval=-1,
        p=0.5,
        null=0.5,
        label=label,
    )


def test_rows_are_in_the_order_of_prediction_and_scored_once_500_labels_were_known() -> None:
    found = quality_rows.rows_of([example("u:1", day, True) for day in range(700, -1, -1)], 20_000 * DAY_MS)
    assert found.t.tolist() == [float(day) for day in range(701)]
    assert int(found.t[found.warm()][0]) == 590
    assert quality_rows.last_third(found.warm()).sum() == 37


def test_a_wrong_label_population_or_period_is_noticed() -> None:
    midnight = 20_000 * DAY_MS
    history = {"u:1": quality_retail.History([midnight, midnight + 60 * DAY_MS], [1.0, 1.0], [])}
    end = midnight + 400 * DAY_MS
    right = quality_rows.rows_of([example("u:1", 1, False), example("u:1", 70, True)], midnight)
    assert sum(quality_retail.verify(right, history, end).values()) == 2
    wrong = quality_rows.rows_of(
        [example("u:1", 1, True), example("u:1", 3, False), example("u:1", 200, True)], midnight
    )
    assert quality_retail.verify(wrong, history, midnight + 210 * DAY_MS) == {
        "rows": 3,
        "label differs": 1,
        "outside the population": 1,
        "too soon": 1,
        "horizon not over": 1,
    }


def test_the_synthetic_funnel_is_recounted_by_hand(tmp_path: Path) -> None:
    lines = ["user_id,session_id,event,timestamp,acquisition_channel"]
    lines += [
        f"a,s,{page},2024-01-01 10:0{i}:00,x" for i, page in enumerate(("home", *["product_view"] * 3, "add_to_cart"))
    ]
    lines += [
        "a,s2,purchase,2024-01-01 12:00:00,x",
        "a,s3,home,2024-03-01 12:00:00,x",
        "b,s4,home,2024-01-01 12:00:00,x",
    ]
    path = tmp_path / "ecom.csv.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    assert quality_files.recounted_ecom(path) == {
        "events": 8,
        "customers": 2,
        "visits": 4,
        "orders": 1,
        "awareness": 2,
        "interest": 1,
        "consideration": 1,
        "intent": 1,
        "purchase": 1,
        "loyalty": 0,
    }


def test_absent_data_are_a_reason_to_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPPORT_DATA", str(tmp_path))
    with pytest.raises(quality_report.SkippedError, match="RAPPORT_DATA"):
        quality_retail.run(print)


def test_results_hold_no_number_that_json_lacks() -> None:
    assert quality_report.clean({"a": float("nan"), "b": [np.float64(1.23456789)]}) == {"a": None, "b": [1.23457]}
