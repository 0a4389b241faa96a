"""All counts and model figures of a run, as ``metrics.json`` has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from models.profile.journey import STAGES
from models.targets import BY_NAME

from .run import Run
from .sources import Sources

FORMAT = 1


def figures(run: Run, sources: Sources, stopped: bool = False) -> dict[str, Any]:
    """All counts and model figures of a run; nothing in it depends on the machine or the hour."""
    counts = run.counts
    models = {
        target: {
            "model": model.name,
            "in_use": model.ready(target),
            "learned": model.version,
            "drifts": model.drifts,
            "rollbacks": model.rollbacks,
            "full": model.full,
            **msgspec.to_builtins(metrics.figures()),
            "calibration": metrics.calibration(),
        }
        for model in run.learner.models.values()
        for target, metrics in model.metrics.items()
        if metrics.n
    }
    return {
        "format": FORMAT,
        "complete": not stopped and not sources.broken,
        "input": {
            "records": sources.records,
            "events": sources.events,
            "first_at": sources.first_at,
            "last_at": sources.last_at if sources.events else None,
            "customers": run.customers,
            "broken_files": [str(error) for error in sources.broken],
            "dead_letters": dict(sorted(sources.dead.items())),
            "repairs": dict(sorted(sources.notes.items())),
            "out_of_order": sources.behind,
            "furthest_out_of_order_ms": sources.furthest_behind_ms,
        },
        "steps": run.steps,
        "counts": dict(sorted((name, n) for name, n in counts.items() if "|" not in name)),
        "funnel": {stage: counts[f"stage|{index}"] for index, stage in enumerate(STAGES)},
        "left": {kind: counts[f"left|{kind}"] for kind in ("browse", "cart", "checkout")},
        "decided": _nested(counts, "decided"),
        "suppressed": _nested(counts, "suppressed"),
        "converted": _nested(counts, "converted"),
        "outcomes": {name.split("|")[1]: n for name, n in sorted(counts.items()) if name.startswith("outcome|")},
        "unhandled": {name.split("|")[1]: n for name, n in sorted(counts.items()) if name.startswith("unhandled|")},
        "models": {target: models[target] for target in BY_NAME if target in models},
    }


def _nested(counts: dict[str, int], what: str) -> dict[str, dict[str, int]]:
    """Counts named ``what|campaign|key`` as campaign -> key -> count."""
    nested: dict[str, dict[str, int]] = {}
    for name, n in sorted(_of(counts, what)):
        _, campaign, key = name.split("|", 2)
        nested.setdefault(campaign, {})[key] = n
    return nested


def _of(counts: dict[str, int], what: str) -> Iterator[tuple[str, int]]:
    return ((name, n) for name, n in counts.items() if name.startswith(f"{what}|"))
