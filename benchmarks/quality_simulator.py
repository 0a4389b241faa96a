"""Churn on the simulated shop, whose truth is known: how much of what could be known do we know?

Unit: 30 days without a visit of a known customer seen in the 30 days before, one prediction per customer and 7 days.
The oracle is ``truth.Oracle.given_history``: P(label | all that was observed), by the true parameters of the population.
No messages are sent. The oracle's AUC is over the same rows and the same labels, read off the stream by the engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from models.config import EngineConfig
from models.learning.learner import Example
from models.policy.reading import Settings
from models.simulator.config import ShopConfig
from models.simulator.shop import Shop
from models.simulator.truth import Oracle, Point
from schemas.base import DAY_MS
from schemas.intake import Intake
from schemas.money import ExchangeTable
from streams.run import Run

from .quality_figures import Bools, Floats, Resampled, auc, ece, losses
from .quality_rows import Rows, rows_of

SEEDS = (1, 2, 3, 4, 5)
CUSTOMERS, DAYS, HORIZON_DAYS = 3000, 240, 30
BOOTSTRAPS = 400
GOAL = 0.85
PHASES = ("churn.early", "churn.late")


def run(say: Callable[[str], None], seeds: tuple[int, ...] = SEEDS, days: int = DAYS) -> dict[str, Any]:
    """Every seed; one line of the table a seed and phase of life."""
    lines: list[dict[str, Any]] = []
    for seed in seeds:
        lines += _seed(seed, days, say)
    pooled = [line for line in lines if line["phase"] == "pooled"]
    mean = sum(line["ratio"][0] for line in pooled) / len(pooled)
    return {
        "unit": f"30 days without a visit of a known customer seen in the 30 days before, one prediction per customer and 7 days; {CUSTOMERS:,} customers, {days} days, no messages sent",
        "verdicts": {
            "ratio at least .85 on each seed": {
                "ratios": [line["ratio"][0] for line in pooled],
                "mean": mean,
                "holds": all(line["ratio"][0] >= GOAL for line in pooled),
            },
            "log loss below the null on each seed": {"holds": all(line["ours - null"][2] < 0 for line in pooled)},
        },
        "tables": [
            {
                "title": "Simulator; rule = silence at the own rate of active days, nothing learned; ratio = (our AUC - .5) / (oracle's AUC - .5), intervals by bootstrap over customers",
                "rows": lines,
            }
        ],
    }


def _seed(seed: int, days: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    started = time.perf_counter()
    shop = Shop(ShopConfig(seed=seed, customers=CUSTOMERS, days=days))
    examples: list[Example] = []

    def noted(example: Example) -> None:
        if example.target in PHASES:
            examples.append(example)

    engine = Run(Settings(EngineConfig(typical_order=60.0, money=ExchangeTable("EUR"))), on_example=noted)
    intake = Intake()
    events = 0
    for day in range(1, days + 1):
        for raw in shop.advance(shop.config.start_ms + day * DAY_MS):
            events += 1
            engine.drain(intake.read(raw, None, f"shop:{events}").events)
    shop.silence()
    lived = time.perf_counter() - started
    known = [e for e in examples if shop.customer(e.customer) is not None]
    rows = rows_of(known, shop.config.start_ms)
    scored = rows.warm()
    oracle = Oracle(shop, days + HORIZON_DAYS + 1)
    points = [
        Point(shop.customer(str(c)) or 0, int(at))
        for c, at in zip(rows.customer[scored], rows.at_ms[scored], strict=True)
    ]
    q = np.full(len(rows.y), 0.5)
    q[scored] = oracle.given_history(points, HORIZON_DAYS)
    agree = float((oracle.labels(points, HORIZON_DAYS) == rows.y[scored]).mean())
    say(
        f"seed {seed}: {events:,} events in {lived:.0f} s, oracle in {time.perf_counter() - started - lived:.0f} s, "
        f"{len(examples) - len(known)} rows of strangers left out, labels agree with the ledger in {agree:.4f}"
    )
    resampled = Resampled(rows.customer)
    lines = []
    for phase in ("pooled", *PHASES):
        mask = scored if phase == "pooled" else scored & (rows.target == phase)
        lines.append(_line(seed, phase, rows, q, mask, resampled))
    say(
        f"seed {seed}: ratio {lines[0]['ratio'][0]:.3f}, early {lines[1]['ratio'][0]:.3f}, late {lines[2]['ratio'][0]:.3f}"
    )
    return lines


def _line(seed: int, phase: str, rows: Rows, q: Floats, mask: Bools, resampled: Resampled) -> dict[str, Any]:
    y, p = rows.y[mask], rows.p[mask]
    ratio = resampled.auc_ratio(rows.y, rows.p, q, mask, BOOTSTRAPS)
    gain = resampled.mean_difference(losses(rows.y, rows.p), losses(rows.y, rows.null), mask)
    quiet = rows.columns(("quiet",))[mask, 0]
    return {
        "seed": seed,
        "phase": phase,
        "n": int(mask.sum()),
        "base rate": float(y.mean()),
        "null log loss": float(losses(y, rows.null[mask]).mean()),
        "rule log loss": float(losses(y, 1 / (1 + np.exp(-quiet))).mean()),
        "our log loss": float(losses(y, p).mean()),
        "oracle's log loss": float(losses(y, q[mask]).mean()),
        "ours - null": [gain.value, gain.low, gain.high],
        "rule AUC": auc(y, quiet),
        "our AUC": auc(y, p),
        "oracle's AUC": auc(y, q[mask]),
        "rule's ratio": (auc(y, quiet) - 0.5) / (auc(y, q[mask]) - 0.5),
        "ratio": [ratio.value, ratio.low, ratio.high],
        "our ECE": ece(y, p),
    }
