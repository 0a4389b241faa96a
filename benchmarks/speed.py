"""In-process speed: decode to triggers, learning included. Run it with ``make bench-speed``.

Workload ``sim-200k-v1``: the first 200,000 Segment records of the simulated shop with seed 1, 3,000 customers and
120 days, under the shipped example campaigns. Rounds without instruments give the rate; one round with a stopwatch
around each stage gives the split (a stage's own time, without the stages inside it).
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT, append, provenance
from models import scoring
from models.engine import Engine
from models.learning.learner import Learner
from models.partition import Partition
from models.policy.decide import Decider
from models.profile.profile import core_bytes, encode
from models.scoring import Scorer
from models.simulator.config import DAY_MS, ShopConfig
from models.simulator.shop import Shop
from schemas.base import Event
from schemas.clickstream import ProductViewed
from schemas.codec import encode_decision
from schemas.intake import Intake
from streams.commands.examples import example_settings
from streams.memory import settle
from streams.run import Run

WORKLOAD = "sim-200k-v1"
RECORDS = 200_000
RESULTS = ROOT / "benchmarks" / "results" / "speed.jsonl"


def records(count: int) -> list[bytes]:
    """The first ``count`` records of the workload's shop."""
    shop = Shop(ShopConfig(seed=1, customers=3000, days=120))
    made: list[bytes] = []
    while len(made) < count:
        made += shop.advance(shop.now_ms + DAY_MS)
    return made[:count]


def replayed(raws: list[bytes]) -> tuple[Run, int]:
    """The workload through intake, engine, learner and the encoding of decisions; the run and the bytes out."""
    out = 0

    def decided(decision: Any) -> None:
        nonlocal out
        out += len(encode_decision(decision))

    run, intake = Run(example_settings(), on_decision=decided), Intake()

    def events() -> Iterator[Event]:
        for number, raw in enumerate(raws):
            yield from intake.read(raw, None, f"bench:{number}").events

    run.drain(events())
    return run, out


class Stopwatch:
    """Own time of nested stages."""

    def __init__(self) -> None:
        self.own: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._open: list[float] = []

    def wrap(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""
        clock, inner = time.perf_counter, self._open

        def timed(*args: Any, **kwargs: Any) -> Any:
            inner.append(0.0)
            start = clock()
            result = function(*args, **kwargs)
            spent = clock() - start
            self.own[stage] += spent - inner.pop()
            self.calls[stage] += 1
            if inner:
                inner[-1] += spent
            return result

        return timed


STAGES: tuple[tuple[str, Any, str], ...] = (
    ("decode and validate", Intake, "read"),
    ("timers: note", Partition, "apply"),
    ("engine: facts, draft, dedupe", Engine, "step"),
    ("features", scoring, "vector"),
    ("scores and pending labels", Scorer, "score"),
    ("labels due", Scorer, "mature"),
    ("decide", Decider, "decide"),
    ("credit goals", Decider, "credit"),
    ("learn", Learner, "learn"),
)


def stages(raws: list[bytes]) -> tuple[dict[str, float], float]:
    """Microseconds a record of each stage's own time, and of the whole, with the stopwatch running."""
    watch = Stopwatch()
    kept = [(owner, name, getattr(owner, name)) for _, owner, name in STAGES]
    try:
        for stage, owner, name in STAGES:
            setattr(owner, name, watch.wrap(stage, getattr(owner, name)))
        start = time.perf_counter()
        replayed(raws)
        whole = time.perf_counter() - start
    finally:
        for owner, name, function in kept:
            setattr(owner, name, function)
    per = {stage: seconds / len(raws) * 1e6 for stage, seconds in watch.own.items()}
    per["timers: order, loop, encode"] = whole / len(raws) * 1e6 - sum(per.values())
    return per, whole / len(raws) * 1e6


def growth(steps: tuple[int, ...] = (100_000, 200_000, 400_000)) -> dict[str, float]:
    """Resident megabytes after so many events of the same 500 customers: flat is what it should be."""
    run, fed, found = Run(example_settings()), 0, {}
    for goal in steps:
        run.drain(
            ProductViewed(
                id=f"e{n}",
                customer=f"u:{n % 500}",
                occurred_at=n * 20_000,
                received_at=n * 20_000,
                product=f"p{n % 97}",
                category=f"c{n % 9}",
            )
            for n in range(fed, goal)
        )
        fed = goal
        gc.collect()
        found[f"{goal:,} events"] = _resident_mb()
    return found


def _resident_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--no-save", action="store_true", help="do not append to the results")
    options = parser.parse_args()
    settle()
    memory = growth()
    raws = records(options.records)
    cpu, wall = [], []
    run: Run | None = None
    for round_ in range(options.rounds):
        gc.collect()
        start, start_cpu = time.perf_counter(), time.process_time()
        run, _ = replayed(raws)
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
        print(
            f"round {round_ + 1}: {len(raws) / wall[-1]:,.0f} records/s wall, {len(raws) / cpu[-1]:,.0f} cpu",
            flush=True,
        )
    assert run is not None
    split, whole = stages(raws)
    core = [core_bytes(p) for p in run.profiles.values()]
    known = [core_bytes(p) for p in run.profiles.values() if p.customer.startswith("u:")]
    full = [len(encode(p)) for p in run.profiles.values()]
    result = {
        **provenance("make bench-speed"),
        "workload": WORKLOAD,
        "records": len(raws),
        "rounds": options.rounds,
        "records_per_second_wall_median": round(len(raws) / statistics.median(wall)),
        "records_per_second_cpu_median": round(len(raws) / statistics.median(cpu)),
        "steps": run.steps,
        "examples_learned": sum(m.version for m in run.learner.models.values()),
        "us_per_record_by_stage": {stage: round(us, 2) for stage, us in sorted(split.items(), key=lambda s: -s[1])},
        "us_per_record_with_stopwatch": round(whole, 1),
        "profile_core_bytes_median": statistics.median(core),
        "profile_core_bytes_median_known": statistics.median(known),
        "profile_core_bytes_p99": sorted(core)[int(0.99 * len(core))],
        "profile_bytes_with_pendings_median": statistics.median(full),
        "resident_mb": {k: round(v, 1) for k, v in memory.items()},
    }
    print(json.dumps(result, indent=2))
    if not options.no_save:
        append(RESULTS, result)


if __name__ == "__main__":
    main()
