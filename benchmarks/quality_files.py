"""The e-shop's clicks and the synthetic shop's pages: import, funnel, timers, against a recount from the raw files.

There is nothing to beat here: neither file knows an order (e-shop) or was made by people (synthetic). What is shown is
that the counts of the engine are those of the file, and what the models make of it.
"""

from __future__ import annotations

import csv
import gzip
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT
from models.learning.learner import Example
from models.policy.reading import read
from models.profile.journey import STAGES
from schemas.base import DAY_MS
from schemas.codec import encode_event
from schemas.decisions import Decision
from schemas.intake import Intake
from streams import importers
from streams.files import write_lines
from streams.run import Run
from streams.sources import Sources

from .quality_report import data
from .quality_rows import target_table

Recount = dict[str, int]
AWARENESS, INTEREST, CONSIDERATION, INTENT, PURCHASE, LOYALTY = range(6)
VISIT_GAP_S, JOURNEY_GAP_S = 1800, 30 * 86_400
LIFTS = {  # page of the synthetic shop -> stage it leads to; product views and orders are worked out below
    "catalog": INTEREST,
    "filter_results": INTEREST,
    "search": INTEREST,
    "wishlist_add": CONSIDERATION,
    "add_to_cart": INTENT,
    "shipping_details": INTENT,
    "payment_details": INTENT,
}


def eshop(say: Callable[[str], None]) -> dict[str, Any]:
    """E-shop clothing 2008."""
    path = data("eshop_clothing_2008", "eshop_clothing_2008.csv.gz")
    return _through("eshop", path, importers.eshop(path), recounted_eshop(path), say)


def ecom(say: Callable[[str], None]) -> dict[str, Any]:
    """The synthetic shop of the retentioneering package."""
    path = data("ecom_synthetic", "ecom.csv.gz")
    return _through("ecom_synthetic", path, importers.ecom(path), recounted_ecom(path), say)


def recounted_eshop(path: Path) -> Recount:
    """Sessions by number of clicks: each is a visitor with one visit, who considers from the third click on and then leaves."""
    clicks = Counter(row["session_id"] for row in _raw(path, ";,"))
    considering = sum(n >= 3 for n in clicks.values())
    return {
        "events": clicks.total(),
        "customers": len(clicks),
        "visits": len(clicks),
        "orders": 0,
        "awareness": len(clicks),
        "interest": len(clicks),
        "consideration": considering,
        "intent": 0,
        "purchase": 0,
        "loyalty": 0,
        "left: browse": len(clicks),
        "left: cart": 0,
        "left: checkout": 0,
    }


def recounted_ecom(path: Path) -> Recount:
    """The funnel by its definition in words, user by user: visits end after 30 minutes, journeys after 30 days."""
    found = Counter[str]()
    pages: dict[str, list[tuple[float, str]]] = {}
    for row in _raw(path, ","):
        moment = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
        pages.setdefault(row["user_id"], []).append((moment.timestamp(), row["event"]))
    for visited in pages.values():
        visited.sort(key=lambda page: page[0])
        stage, orders, views, last = -1, 0, 0, -1e18
        for at, page in visited:
            found["events"] += 1
            if at - last > VISIT_GAP_S:
                found["visits"] += 1
                views = 0
                if stage < 0 or at - last > JOURNEY_GAP_S:
                    stage = LOYALTY if orders >= 3 else PURCHASE if orders else AWARENESS
                    found["awareness"] += stage == AWARENESS
            last = at
            views += page in ("product_view", "wishlist_add")
            orders += page == "purchase"
            found["orders"] += page == "purchase"
            to = LIFTS.get(page, -1)
            if page == "product_view":
                to = CONSIDERATION if views >= 3 else INTEREST
            if page == "purchase":
                to = LOYALTY if orders >= 3 else PURCHASE
            for passed in range(stage + 1, to + 1):
                found[STAGES[passed]] += 1
            stage = max(stage, to)
    return {
        "events": found["events"],
        "customers": len(pages),
        "visits": found["visits"],
        "orders": found["orders"],
        **{name: found[name] for name in STAGES},
    }


def _raw(path: Path, separators: str) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        head = file.readline()
        separator = max(separators, key=head.count)
        file.seek(0)
        yield from csv.DictReader(file, delimiter=separator)


def _through(
    name: str, path: Path, imported: importers.Import, recount: Recount, say: Callable[[str], None]
) -> dict[str, Any]:
    examples: list[Example] = []
    with tempfile.TemporaryDirectory() as folder:
        canonical = str(Path(folder) / f"{name}.jsonl")
        started = time.perf_counter()
        write_lines(canonical, (encode_event(event) for event in imported.events))
        reading = time.perf_counter() - started
        say("imported: " + imported.summary.text()[0])
        sources = Sources((canonical,), Intake())
        settings = read((ROOT / "examples" / "campaigns.toml").read_text(encoding="utf-8"), "examples/campaigns.toml")
        triggers: list[Decision] = []
        engine = Run(settings, on_example=examples.append, on_decision=triggers.append)
        started = time.perf_counter()
        engine.drain(sources.read())
        engine.drain((), until=engine.partition.clock + DAY_MS)
        seconds = time.perf_counter() - started
    tally = engine.counts
    ours = {
        "events": sources.events,
        "customers": len(engine.profiles),
        "visits": tally["visits"],
        "orders": tally["orders"],
        **{stage: tally[f"stage|{index}"] for index, stage in enumerate(STAGES)},
        **{f"left: {kind}": tally[f"left|{kind}"] for kind in ("browse", "cart", "checkout")},
        "decisions under examples/campaigns.toml": len(triggers),
    }
    recount["decisions under examples/campaigns.toml"] = 0  # neither file holds an address or a consent
    wrong = {key: (n, recount[key]) for key, n in ours.items() if key in recount and n != recount[key]}
    say(f"{engine.steps:,} steps in {seconds:.1f} s; counts that differ from the recount: {wrong or 'none'}")
    counts = []
    before = 0
    for key, n in ours.items():
        kept = n / before if key in STAGES[1:] and before else None
        counts.append(
            {"count": key, "engine": n, "recount of the raw file": recount.get(key), "share of the stage before": kept}
        )
        before = n if key in STAGES else 0
    return {
        "unit": "counts of visitors, and one prediction per visitor and sampling period",
        "flags": imported.summary.flags,
        "verdicts": {"counts equal a recount from the raw file": {"differ": wrong, "holds": not wrong}},
        "tables": [
            {
                "title": f"{path.name}: {'; '.join(imported.summary.flags)}. Import {reading:.1f} s, engine {seconds:.1f} s ({sources.events / seconds:,.0f} events/s)",
                "rows": counts,
            },
            {
                "title": "Targets after 500 labels of each (unit: one prediction per visitor and sampling period; n = 0: fewer than 500 labels)",
                "rows": target_table(examples, sources.first_at or 0),
            },
        ],
    }
