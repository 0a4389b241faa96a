"""Online Retail end to end: file, importer, canonical bytes, intake, engine; then its churn beside nulls and batch models.

Unit of the churn figures: 90-day inactivity of customers whose last order is at most 90 days old, one prediction per
customer and 7 days, scored where the horizon ended and once 500 labels were known. Labels and histories of the
references are read off the raw file, not off the engine.
"""

from __future__ import annotations

import csv
import lzma
import tempfile
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from benchmarks.machine import ROOT
from models.config import CHURN_FEATURES
from models.learning.learner import Example
from models.policy.reading import read
from schemas.base import DAY_MS
from schemas.codec import encode_event
from schemas.intake import Intake
from streams.figures import figures as replay_figures
from streams.files import write_lines
from streams.importers import online_retail
from streams.run import Run
from streams.sources import Sources

from . import quality_references as references
from .quality_figures import Bools, Floats, Resampled, auc, ece, ece_floor, figures, losses
from .quality_report import data
from .quality_rows import Rows, last_third, rows_of, target_table

HORIZON_DAYS = 90.0
PERIOD_DAYS = 7.0
SLICE_DAYS = 50
LEAST_SLICE = 300
UNIT = (
    "90-day inactivity of customers whose last order is at most 90 days old, one prediction per customer and 7 days, "
    "scored where the horizon ended, once 500 labels were known"
)
Say = Callable[[str], None]


class History(Struct, frozen=True):
    """A customer's invoices as the raw file tells them: times in ms UTC in order, and amounts in GBP."""

    orders: list[int]
    amounts: list[float]
    refunds: list[int]


def raw_histories(path: Path) -> dict[str, History]:
    """Order and refund times by customer, straight from the CSV; what is an order here is written out once more."""
    invoices: dict[str, tuple[str, int]] = {}
    totals: dict[str, float] = defaultdict(float)
    with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            number, customer, quantity = line["InvoiceNo"], line["CustomerID"], int(line["Quantity"])
            if customer and ((number.isdigit() and quantity > 0) or (number[0] == "C" and quantity < 0)):
                if number not in invoices:
                    moment = datetime.fromisoformat(line["InvoiceDate"]).replace(tzinfo=UTC)
                    invoices[number] = (customer.removesuffix(".0"), int(moment.timestamp()) * 1000)
                totals[number] += quantity * float(line["UnitPrice"])
    histories: dict[str, History] = defaultdict(lambda: History([], [], []))
    for number, (customer, at) in sorted(invoices.items(), key=lambda item: (item[1][1], item[0])):
        history = histories["u:" + customer]
        if number[0] == "C":
            history.refunds.append(at)
        else:
            history.orders.append(at)
            history.amounts.append(totals[number])
    return dict(histories)


def run(say: Say) -> dict[str, Any]:
    """Run it all; raises ``SkippedError`` where the file is absent."""
    path = data("online_retail", "online_retail.csv.xz")
    settings = read(
        (ROOT / "examples" / "online-retail.toml").read_text(encoding="utf-8"), "examples/online-retail.toml"
    )
    examples: list[Example] = []
    with tempfile.TemporaryDirectory() as folder:
        canonical = str(Path(folder) / "orders.jsonl")
        imported = online_retail(path)
        write_lines(canonical, (encode_event(event) for event in imported.events))
        say("imported: " + imported.summary.text()[0])
        sources = Sources((canonical,), Intake())
        engine = Run(settings, on_example=examples.append)
        started = time.perf_counter()
        engine.drain(sources.read())
        seconds = time.perf_counter() - started
    start = sources.first_at or 0
    say(f"{engine.steps:,} steps in {seconds:.1f} s, {len(examples):,} examples")
    rows = rows_of([e for e in examples if e.target in ("churn.early", "churn.late")], start)
    histories = raw_histories(path)
    checks = verify(rows, histories, sources.last_at)
    say(f"checked against the raw file: {checks}")
    churn = churn_tables(rows, histories, say)
    shipped = replay_figures(engine, sources)
    return {
        "unit": UNIT,
        "checks": checks,
        "replay": {key: shipped[key] for key in ("input", "steps", "counts", "funnel", "decided", "suppressed")},
        "engine_seconds": seconds,
        "tables": [
            *churn["tables"],
            {
                "title": "Every target of the run, after its own 500 labels (unit: one prediction per customer and sampling period; `churn.early` and `churn.late` split the unit above by phase of life)",
                "rows": target_table(examples, start),
            },
        ],
        "verdicts": churn["verdicts"],
    }


def verify(rows: Rows, histories: dict[str, History], end_ms: int) -> dict[str, int]:
    """Labels, population, period and horizon, recounted from the raw file: how many rows differ."""
    horizon, period = int(HORIZON_DAYS * DAY_MS), int(PERIOD_DAYS * DAY_MS)
    found = dict.fromkeys(("rows", "label differs", "outside the population", "too soon", "horizon not over"), 0)
    last: dict[str, int] = {}
    for customer, at, y in zip(rows.customer, rows.at_ms, rows.y, strict=True):
        orders = histories[str(customer)].orders
        seen = bisect_right(orders, at)
        silent = seen == len(orders) or orders[seen] > at + horizon
        found["rows"] += 1
        found["label differs"] += bool(silent != y)
        found["outside the population"] += bool(not seen or at - orders[seen - 1] > horizon)
        found["too soon"] += bool(at - last.get(str(customer), -period) < period)
        found["horizon not over"] += bool(at + horizon > end_ms)
        last[str(customer)] = int(at)
    return found


def history_features(rows: Rows, histories: dict[str, History]) -> dict[str, Floats]:
    """What the raw file says of each row's customer up to the prediction: counts, days, money, rhythm."""
    names = (
        "orders",
        "recency",
        "tenure",
        "spent",
        "mean order",
        "gap",
        "refunds",
        "orders 7d",
        "orders 30d",
        "orders 90d",
    )
    table = np.zeros((len(rows.t), len(names)))
    for i, (customer, at) in enumerate(zip(rows.customer, rows.at_ms, strict=True)):
        history = histories[str(customer)]
        n = bisect_right(history.orders, at)
        age = (at - np.array(history.orders[:n])) / DAY_MS
        spent = sum(history.amounts[:n])
        table[i, :7] = n, age[-1], age[0], spent, spent / n, age[0] / n, bisect_right(history.refunds, at)
        table[i, 7:] = [np.exp2(-age / half).sum() for half in (7, 30, 90)]
    return {name: table[:, i] for i, name in enumerate(names)}


def churn_tables(rows: Rows, histories: dict[str, History], say: Say) -> dict[str, Any]:
    """Ours beside every null and reference, pooled, by phase of life, by slice of 50 days; and what follows from it."""
    y, t = rows.y, rows.t
    known = references.known_before(t, HORIZON_DAYS)
    scored = rows.warm()
    late = last_third(scored)
    history = history_features(rows, histories)
    count, recency = history["orders"], history["recency"]
    plain = np.log1p(np.column_stack([np.maximum(0, value) for value in history.values()]))
    ours = rows.columns(CHURN_FEATURES)
    made: dict[str, Floats] = {
        "base rate (null)": references.base_rate(y, known),
        "frequency, binned (null)": references.binned(y, known, count, [2, 3, 4, 5, 7, 11]),
        "frequency, online (null)": references.one_feature(y, known, np.log1p(count)),
        "recency, binned (null)": references.binned(y, known, recency, [1e-9, 7, 14, 21, 30, 45, 60, 75]),
        "recency, online (null)": references.one_feature(y, known, np.log1p(recency) / 2),
    }
    say("refitting the batch references weekly")
    batch: dict[str, Floats] = {
        "logistic, order history (batch)": references.refitted(plain, y, t, HORIZON_DAYS, references.logistic),
        "logistic, our features (batch)": references.refitted(ours, y, t, HORIZON_DAYS, references.logistic),
        "boosting, our features (batch)": references.refitted(ours, y, t, HORIZON_DAYS, references.boosting),
    }
    rule = {"own rate of active days, nothing learned (rule)": 1 / (1 + np.exp(-rows.columns(("quiet",))[:, 0]))}
    everything = made | rule | batch | {"ours": rows.p}
    lines = []
    for name, p in everything.items():
        all_, third = figures(y[scored], p[scored]), figures(y[late], p[late])
        lines.append({"model": name} | all_ | {f"last third: {key}": third[key] for key in ("log_loss", "auc", "ece")})
    say("bootstrap over customers")
    resampled = Resampled(rows.customer)
    nulls = {name: losses(y[scored], p[scored]).mean() for name, p in made.items()}
    best_null = min(nulls, key=lambda name: nulls[name])
    best_batch = max(batch, key=lambda name: auc(y[scored], batch[name][scored]))
    mine = losses(y, rows.p)
    differences = []
    for name, p in (made | rule | batch).items():
        other = losses(y, p)
        differences.append(
            {
                "ours minus": name,
                "log loss": _triple(resampled.mean_difference(mine, other, scored)),
                "last third: log loss": _triple(resampled.mean_difference(mine, other, late)),
                "AUC": _triple(resampled.auc_difference(y, rows.p, p, scored)),
                "last third: AUC": _triple(resampled.auc_difference(y, rows.p, p, late)),
            }
        )
    phases = [
        {
            "phase": phase,
            **figures(y[mask], rows.p[mask]),
            "best null log loss": float(losses(y[mask], made[best_null][mask]).mean()),
        }
        for phase in ("churn.early", "churn.late")
        if (mask := scored & (rows.target == phase)).any()
    ]
    slices = _slices(rows, scored)
    gain = resampled.mean_difference(mine, losses(y, made[best_null]), scored)
    gap = auc(y[scored], rows.p[scored]) - auc(y[scored], batch[best_batch][scored])
    worst = max(float(one["ece"]) for one in slices)
    overall = ece(y[scored], rows.p[scored])
    verdicts = {
        "log loss below the best null": {"null": best_null, "difference": _triple(gain), "holds": gain.high < 0},
        "AUC within .01 of the batch reference": {"reference": best_batch, "difference": gap, "holds": gap >= -0.01},
        "ECE at most .03": {"ece": overall, "floor": ece_floor(rows.p[scored]), "holds": overall <= 0.03},
        "no 50-day slice above .08": {"worst": worst, "holds": worst <= 0.08},
    }
    for name, verdict in verdicts.items():
        say(f"{name}: {verdict}")
    title = f"Churn, unit: {UNIT}; {len(set(rows.customer[scored])):,} customers"
    return {
        "tables": [
            {"title": title, "rows": lines},
            {
                "title": "The same rows, differences with 95 % bootstrap intervals over customers (log loss: below 0 is better; AUC: above 0)",
                "rows": differences,
            },
            {"title": "Ours by phase of life, same unit", "rows": phases},
            {"title": "Ours by slice of 50 days of the stream (slices of at least 300 scored rows)", "rows": slices},
        ],
        "verdicts": verdicts,
    }


def _triple(interval: Any) -> list[float]:
    return [interval.value, interval.low, interval.high]


def _slices(rows: Rows, scored: Bools) -> list[dict[str, Any]]:
    found = []
    for start in range(0, int(rows.t[-1]) + 1, SLICE_DAYS):
        mask = scored & (rows.t >= start) & (rows.t < start + SLICE_DAYS)
        if mask.sum() >= LEAST_SLICE:
            all_ = figures(rows.y[mask], rows.p[mask])
            shown = {key: all_[key] for key in ("n", "base_rate", "auc", "ece", "ece_floor")}
            found.append({"days": f"{start}-{start + SLICE_DAYS}", **shown})
    return found
