"""Cost against size: customers, products, campaigns, partitions, a year of history, recovery. ``make bench-scale``.

``customers-v1``: 10 thousand, 100 thousand and 1 million customers in Valkey; a partition of the log is driven as a worker drives
it, Kafka apart: 1,000 records a batch, profiles loaded and decoded where they are not among the 40,000 in memory, stepped with
trained models that go on learning, encoded and committed. Whose visit is next is drawn by Zipf 1.1, then uniformly. Figures
are medians over batches, microseconds a step by stage; ``step`` is the engine with learning, ``all`` the wall's time of a
batch, ``processor`` this process's. ``products-v1``: the same with 10,000 customers and 1 to 100 thousand products.
``campaigns-v1``: 10, 100, 500 live campaigns, processor time a step in process.
``partitions-v1``: ``rapport worker`` as shipped, wall clock, on Apache Kafka with 1, 6, 24 partitions of the log and as many of
each raw topic. ``history-v1``: bytes after 365 days of the simulated shop. ``recovery-v1``: SIGKILL to the next record in state.

Sizes take turns within each round; ratios are of one run.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT, append, provenance, say
from benchmarks.scale_step import by_campaigns, by_customers, by_products
from benchmarks.scale_stream import by_partitions, history, recovery
from streams.commands.running import logs

RESULTS = ROOT / "benchmarks" / "results" / "scale.jsonl"

SCENARIOS: dict[str, Callable[[Path, int, float], dict[str, Any]]] = {
    "customers-v1": by_customers,
    "products-v1": by_products,
    "campaigns-v1": by_campaigns,
    "partitions-v1": by_partitions,
    "history-v1": history,
    "recovery-v1": recovery,
}


def main() -> None:
    """Run the scenarios, print and append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SCENARIOS, action="append", help="run this one; may be given again")
    parser.add_argument("--scale", type=float, default=1.0, help="share of customers and records, such as 0.01")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dry", action="store_true", help="do not append the results")
    options = parser.parse_args()
    logs()
    for name in options.only or SCENARIOS:
        load = os.getloadavg()[0]
        say(name)
        with tempfile.TemporaryDirectory() as scratch:
            figures = SCENARIOS[name](Path(scratch), max(1, options.rounds), options.scale)
        command = f"python -m benchmarks.scale --only {name} --scale {options.scale:g} --rounds {options.rounds}"
        result = {
            **provenance(command),
            "scenario": name,
            "scale": options.scale,
            "rounds": options.rounds,
            "load_1m_before": round(load, 1),
            **figures,
        }
        print(json.dumps(result), flush=True)
        if not options.dry:
            append(RESULTS, result)


if __name__ == "__main__":
    main()
