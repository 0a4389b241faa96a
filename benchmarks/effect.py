"""Effects read off holdouts: do the intervals hold the true effect? ``make bench-effect``.

Workload ``effect-shop-v1``: seeds 1 to 100, each a shop of its own (``effect_shop.py``); three campaigns, a look a day. Beside it
``effect_intervals.py``: the interval against two others on seeded streams. Appends to ``benchmarks/results/effect.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from multiprocessing import get_context
from typing import Any

from benchmarks import effect_intervals, effect_shop
from benchmarks.machine import ROOT, append, provenance
from models.evaluation.sample_size import wilson

WORKLOAD = "effect-shop-v1"
RESULTS = ROOT / "benchmarks" / "results" / "effect.jsonl"
GOAL = 0.95


def summary(shops: list[dict[str, Any]], campaign: str) -> dict[str, Any]:
    """Coverage of one campaign over all shops, each share with its interval for one look."""
    found = [shop[campaign] for shop in shops]
    shares = {}
    for name in ("held", "held_always", "fixed_held", "fixed_held_always"):
        hits = sum(one[name] for one in found)
        shares[name] = [hits, len(found), *(round(end, 4) for end in wilson(hits, len(found)))]
    return {
        **shares,
        "persons": statistics.median(one["persons"] for one in found),
        "mean_truth": round(statistics.fmean(one["truth"] for one in found), 4),
        "mean_difference": round(statistics.fmean(one["difference"] or 0.0 for one in found), 4),
        "mean_width": round(statistics.fmean(one["interval"][1] - one["interval"][0] for one in found), 3),
        "verdicts": {v: sum(one["verdict"] == v for one in found) for v in sorted({one["verdict"] for one in found})},
        "false_alarms": sum(one["verdict"] in ("works", "harms") and one["truth"] == 0 for one in found),
        "agree": round(statistics.fmean(one["agree"] for one in found), 4),
    }


def main() -> int:
    """Measure, print, append; exits with 1 where the intervals hold the truth in too few shops."""
    parser = argparse.ArgumentParser(description="Measure whether the intervals of effects hold the true effect.")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--dry", action="store_true", help="do not append the result")
    options = parser.parse_args()
    started = time.perf_counter()
    shops = []
    with get_context("spawn").Pool(options.jobs) as pool:
        for shop in pool.imap(effect_shop.run, range(1, options.seeds + 1)):
            shops.append(shop)
            print(f"[{time.perf_counter() - started:5.0f} s] seed {shop['seed']}", file=sys.stderr, flush=True)
        intervals = pool.map(effect_intervals.compare, effect_intervals.CASES)
    campaigns = {campaign: summary(shops, campaign) for campaign in effect_shop.GOALS}
    result = {
        **provenance(" ".join(["python -m benchmarks.effect", *sys.argv[1:]])),
        "workload": WORKLOAD,
        "seeds": options.seeds,
        "customers": effect_shop.CUSTOMERS,
        "days": effect_shop.DAYS,
        "events": sum(shop["events"] for shop in shops),
        "seconds": round(time.perf_counter() - started),
        "campaigns": campaigns,
        "intervals": intervals,
    }
    print(json.dumps(result, indent=2))
    if not options.dry:
        append(RESULTS, result)
    return 0 if all(one["held_always"][0] >= GOAL * options.seeds for one in campaigns.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
