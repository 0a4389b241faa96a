"""How good the models are: ``make bench-quality``, or ``python -m benchmarks.quality --only NAME``.

Every scenario prints its progress, appends one record to ``benchmarks/results/quality.jsonl`` and, with ``--docs``,
rewrites the tables of ``docs/quality.md`` from the latest record of each. Hyperparameters were fixed on the first two
thirds of each stream; ``docs/quality.md`` says how.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from . import quality_files, quality_report, quality_retail, quality_rules, quality_shoppers, quality_simulator
from .machine import provenance
from .quality_report import SkippedError

Scenario = Callable[[Callable[[str], None]], dict[str, Any]]
SCENARIOS: dict[str, Scenario] = {
    "online_retail": quality_retail.run,
    "eshop": quality_files.eshop,
    "ecom_synthetic": quality_files.ecom,
    "online_shoppers": quality_shoppers.run,
    "simulator": quality_simulator.run,
    "simulator_rules": quality_rules.run,
}


def measure(name: str) -> bool:
    """Run one scenario and keep its result; whether it met its goals, True where it was skipped."""
    started = time.perf_counter()

    def say(text: str) -> None:
        print(f"[{name} {time.perf_counter() - started:5.0f} s] {text}", flush=True)

    try:
        result = SCENARIOS[name](say)
    except SkippedError as reason:
        say(f"skipped: {reason}")
        return True
    seconds = time.perf_counter() - started
    command = " ".join(["python -m benchmarks.quality", *sys.argv[1:]])
    quality_report.append({"scenario": name, **provenance(command), "seconds": seconds, **result})
    for one in result["tables"]:
        print(f"\n{one['title']}\n{quality_report.table(one['rows'])}", flush=True)
    for goal, verdict in result["verdicts"].items():
        say(f"{'holds' if verdict['holds'] else 'FAILS'}: {goal}")
    return all(verdict["holds"] for verdict in result["verdicts"].values())


def main() -> int:
    """The command line; exits with 1 where a goal was missed."""
    parser = argparse.ArgumentParser(description="Measure the quality of the models.")
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), help="one scenario; may be given again")
    parser.add_argument("--docs", action="store_true", help="write the tables of docs/quality.md from the results")
    parser.add_argument("--tables", action="store_true", help="measure nothing; with --docs, write the tables only")
    arguments = parser.parse_args()
    wanted = [] if arguments.tables else arguments.only or list(SCENARIOS)
    with threadpool_limits(limits=1):  # two cores that others use too: threads that wait for each other cost most
        met = [measure(name) for name in wanted]
    if arguments.docs:
        quality_report.write_document()
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main())
