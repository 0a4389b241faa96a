"""Writes the tables of ``docs/reliability.md`` from the recorded results: ``python -m tests.live.faults.report``.

A kind of fault is shown by its last run on each stack; soaks and the checks of the safeguards by theirs. Nothing is left out:
a run that failed stands there as failed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.machine import ROOT
from tests.live.faults.checks import quantile
from tests.live.faults.kinds import FAULTS
from tests.live.faults.run import RESULTS

PAGE = ROOT / "docs" / "reliability.md"
STACKS = {"kafka": "Apache Kafka", "embedded": "Embedded broker, without transactions"}
BEGIN, END = "<!-- {} -->", "<!-- end of {} -->"

Line = Mapping[str, Any]


def by_fault(results: Iterable[Line], stack: str) -> str:
    """One row a kind of fault: its last run by itself, and how often and how fast in soaks."""
    last: dict[str, Line] = {}
    soaked: dict[str, list[float]] = {}
    for found in results:
        if found.get("stack") != stack or ("recoveries_s" not in found and found["fault"] != "soak"):
            continue
        if found["fault"] == "soak":
            for kind, seconds in found.get("recoveries_s", {}).items():
                soaked.setdefault(kind, []).extend(seconds)
        elif found["fault"] in FAULTS:
            last[found["fault"]] = found
    rows = []
    for kind, fault in FAULTS.items():
        line, more = last.get(kind), soaked.get(kind, [])
        if line is None and not more:
            continue
        seconds = more + (line["recoveries_s"].get(kind, []) if line else [])
        figures = (
            f"{line['events']:,} | {line['lost']} | {line['doubled']} | {line['triggers_repeated']:,}"
            if line
            else "in a soak only | | | "
        )
        memory = f"{line['memory_mb']['most']}" if line else ""
        failed = " **failed**" if line and line["wrong"] else ""
        times = f"{len(line['recoveries_s'].get(kind, [])) if line else 0} + {len(more)}"
        recovery = f"{quantile(seconds, 0.5):.1f} / {max(seconds):.1f}" if seconds else ""
        seed = f"{line['seed']}" if line else ""
        rows.append(f"| `{kind}`: {fault.what}{failed} | {times} | {figures} | {recovery} | {memory} | {seed} |")
    head = (
        "| fault | times: alone + in soaks | events | lost | doubled | triggers repeated | recovery p50 / max, s | memory, MB | seed |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    return "\n".join([head, *rows]) if rows else "No runs recorded."


def soaks(results: Iterable[Line]) -> str:
    """One row a soak."""
    rows = []
    for line in results:
        if line["fault"] != "soak" or "injected" not in line:
            continue
        memory = line["memory_mb"]
        recovery = line["recovery_s"]
        rows.append(
            f"| {STACKS[line['stack']]} | {line['minutes']:g} | {line['seed']} | {line['rate']} | {sum(line['injected'].values())} | "
            f"{line['events']:,} | {line['lost']} | {line['doubled']} | {line['triggers']:,} | {recovery['p50']} / {recovery['max']} | "
            f"{memory['most']} | {memory['slope_mb_per_hour']} over {memory['over_s']} s | {line['load'][0]} |"
            + (f" **failed**: {json.dumps(line['wrong'])}" if line["wrong"] else "")
        )
    head = (
        "| stack | minutes | seed | records/s | faults | events | lost | doubled | triggers | recovery p50 / max, s | memory, MB "
        "| slope, MB/h | machine's load |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    )
    return "\n".join([head, *rows]) if rows else "No soak recorded."


def total(results: Iterable[Line]) -> str:
    """How many faults were injected in all recorded runs, and what was found wrong."""
    count: dict[str, int] = {}
    failed = 0
    for line in results:
        if "injected" in line:
            count[line["stack"]] = count.get(line["stack"], 0) + sum(line["injected"].values())
        if line.get("stack") in STACKS and line.get("wrong"):
            failed += 1
    told = ", ".join(
        f"{count[stack]} on the {name.lower() if stack == 'embedded' else name}"
        for stack, name in STACKS.items()
        if stack in count
    )
    return f"Injected in all recorded runs: {sum(count.values())} ({told}). Runs that found something wrong: {failed}."


def mutations(results: Iterable[Line]) -> str:
    """One row a safeguard that was taken out."""
    last = {line["without"]: line for line in results if line["fault"] == "mutation"}
    rows = [f"| {name} | {line['how']} | {line['found']} |" for name, line in last.items()]
    return (
        "\n".join(["| taken out | what was run | what failed first |", "|---|---|---|", *rows]) if rows else "Not run."
    )


def main() -> int:
    """Put the tables into the page."""
    results = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    page = PAGE.read_text()
    parts = {
        "total": total(results),
        "kafka": by_fault(results, "kafka"),
        "embedded": by_fault(results, "embedded"),
        "soaks": soaks(results),
        "mutations": mutations(results),
    }
    for name, text in parts.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            print(f"{PAGE.name} has no place for {name}: put {begin} and {end} into it", file=sys.stderr)
            return 1
        page = f"{before}{begin}\n{text}\n{end}{after}"
    PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
