"""Faults on a running installation, one kind after the other or at random. ``make faults``, ``make soak``, ``make faults-ci``.

Each run ends with a verification of everything that the topics and the store hold, and with one line in
``benchmarks/results/faults.jsonl``. A failure prints the seed and the first offending event, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import math
import os
import shutil
import signal
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Literal
from uuid import uuid4

from benchmarks.machine import ROOT, append, provenance, say
from streams.embedded import Broker, Valkey
from streams.folders import temporary
from tests.live.faults.checks import Findings, quantile, slope_mb_per_hour
from tests.live.faults.field import RECOVERY_S, Field
from tests.live.faults.kinds import FAULTS, NotInjectedError
from tests.live.kafka import KafkaServer

RESULTS = ROOT / "benchmarks" / "results" / "faults.jsonl"
CI = (
    "kill-committed",
    "kill-sent",
    "kill-published",
    "zombie-sent",
    "broker-killed",
    "store-back-one",
    "store-flushed",
    "poison",
)
SATURATING = 8_000
PAUSE_S = (1.0, 4.0)
LONG_LOG = 60_000
"""Events after which a soak sends no FLUSHALL: what it repeats is as long as the log."""
SOAK_SPEED = 600.0
Stack = Literal["kafka", "embedded"]


@contextlib.contextmanager
def servers(stack: Stack, folder: Path) -> Iterator[tuple[KafkaServer | Broker, Valkey]]:
    """A broker and a store of our own."""
    broker = KafkaServer() if stack == "kafka" else Broker(folder / "broker")
    with broker, Valkey(folder / "valkey") as valkey:
        yield broker, valkey


def saturation(broker: KafkaServer | Broker, valkey: Valkey, folder: Path, workers: int) -> float:
    """Records a second that the workers take when all of them lie ready."""
    with Field(broker, valkey, folder / "saturation", 1, 1_000.0, f"s{uuid4().hex[:8]}", workers) as field:
        started = time.monotonic()
        field.load.preload(SATURATING)
        field.recovered(started)
        taken = time.monotonic() - started
        field.end()
    return SATURATING / taken


def result(
    field: Field, findings: Findings, stack: Stack, seed: int, recoveries: dict[str, list[float]]
) -> dict[str, Any]:
    """The figures of a run."""
    every = [seconds for one in recoveries.values() for seconds in one]
    oldest = max(field.memory.values(), key=lambda samples: samples[-1][0] - samples[0][0], default=[])
    half = [sample for sample in oldest if sample[0] > (oldest[0][0] + oldest[-1][0]) / 2] if oldest else []
    slope = slope_mb_per_hour(half)
    return {
        "stack": stack,
        "seed": seed,
        "injected": {kind: len(one) for kind, one in recoveries.items()},
        "mixed_in": dict(field.load.mixed),
        "rate": round(field.load.rate),
        "events": findings.counts["events"],
        "lost": sum(count for kind, count in findings.wrong.items() if kind.endswith("lost")),
        "doubled": sum(count for kind, count in findings.wrong.items() if kind.endswith("doubled")),
        "dead": findings.counts["dead letters"],
        "triggers": findings.counts["triggers"],
        "triggers_repeated": findings.counts["triggers repeated"],
        "recovery_s": {"p50": _rounded(quantile(every, 0.5)), "max": _rounded(max(every, default=math.nan))},
        "recoveries_s": {kind: [round(seconds, 1) for seconds in one] for kind, one in recoveries.items()},
        "memory_mb": {
            "most": round(max((mb for samples in field.memory.values() for _, mb in samples), default=0.0)),
            "slope_mb_per_hour": _rounded(slope),
            "over_s": round(half[-1][0] - half[0][0]) if half else 0,
        },
        "counts": dict(sorted(findings.counts.items())),
        "notes": dict(field.notes) | {"fenced": field.said('"fenced: another worker has it"')},
        "wrong": dict(findings.wrong),
        "first": findings.examples[:3],
        "load": [round(one, 1) for one in os.getloadavg()],
    }


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 1)


def one_kind(
    stack: Stack,
    broker: KafkaServer | Broker,
    valkey: Valkey,
    folder: Path,
    kind: str,
    times: int,
    seed: int,
    rate: float,
    without: str = "",
) -> dict[str, Any]:
    """A run with one kind of fault."""
    fault, recoveries = FAULTS[kind], list[float]()
    name = f"f{uuid4().hex[:8]}"
    with Field(broker, valkey, folder / name, seed, rate, name, without=without) as field:
        field.warm()
        findings, late = Findings(), list[float]()
        try:
            for _ in range(times):
                since = fault.inject(field)
                recoveries.append(field.recovered(since))
                say(f"  {kind}: {recoveries[-1]:.1f} s")
                if fault.bounded and recoveries[-1] > RECOVERY_S:
                    late.append(recoveries[-1])
                time.sleep(field.random.uniform(*PAUSE_S) / 2)
            say(f"  settled in {field.settle():.1f} s")
            field.end()
            findings = field.verify()
        except (AssertionError, NotInjectedError) as error:
            findings.add("failed", str(error))
        for seconds in late:
            findings.add("recovery too slow", f"{seconds:.1f} s, allowed {RECOVERY_S:.0f} s")
        return {"fault": kind} | result(field, findings, stack, seed, {kind: recoveries})


def soak(
    stack: Stack, broker: KafkaServer | Broker, valkey: Valkey, folder: Path, minutes: float, seed: int, rate: float
) -> dict[str, Any]:
    """Faults at random for so many minutes; the first worker is never killed, so that its memory tells a slope."""
    random, late = Random(seed), list[str]()
    recoveries: dict[str, list[float]] = defaultdict(list)
    kinds = [kind for kind, fault in FAULTS.items() if stack == "kafka" or fault.embedded]
    name = f"f{uuid4().hex[:8]}"
    with Field(broker, valkey, folder / name, seed, rate, name, speed=SOAK_SPEED) as field:
        field.warm()
        until = time.monotonic() + 60 * minutes
        findings = Findings()
        deck: list[str] = []
        try:
            while time.monotonic() < until:
                if not deck:
                    deck = random.sample(kinds, len(kinds))  # every kind once, in a new order, then again
                kind = deck.pop()
                fault = FAULTS[kind]
                field.spare = field.members[0]
                if not fault.bounded and field.load.sent > LONG_LOG:
                    continue
                try:
                    since = fault.inject(field)
                except Exception as error:  # noqa: BLE001  # what the driver cannot do is noted, and no reason to end
                    field.notes[f"not injected: {kind}, {str(error)[:200]}"] += 1
                    say(f"not injected: {kind}, {error!r:.200}")
                    field.heal()
                    continue
                took = field.recovered(since)
                recoveries[kind].append(took)
                if fault.bounded and took > RECOVERY_S:
                    late.append(f"{kind}: {took:.1f} s")
                say(f"{(until - time.monotonic()) / 60:5.1f} min left  {kind}: {took:.1f} s")
                time.sleep(random.uniform(*PAUSE_S))
            field.settle()
            field.end()
            say("verifying")
            findings = field.verify()
        except AssertionError as error:
            findings.add("failed", str(error))
        for what in late:
            findings.add("recovery too slow", f"{what}, allowed {RECOVERY_S:.0f} s")
        return {"fault": "soak", "minutes": minutes} | result(field, findings, stack, seed, recoveries)


def main() -> int:
    """Run what the arguments ask for; the exit code says whether all held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stack", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="a soak of so many minutes in place of each fault once"
    )
    parser.add_argument("--only", default="", help="kinds, with commas between; ci: the eight that CI runs")
    parser.add_argument("--times", type=int, default=0, help="injections of each kind; by default its own number")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="records a second; by default half of measured saturation"
    )
    parser.add_argument("--without", default="", help="a safeguard to take out: see mutations.py")
    parser.add_argument("--keep", default="", help="a folder for the workers' logs of runs that failed")
    parser.add_argument("--dry", action="store_true", help="do not append the results")
    options = parser.parse_args()
    faulthandler.register(signal.SIGUSR1)  # where it is, on request
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # in order; what it started dies with it anyhow
    stack: Stack = options.stack
    kinds = CI if options.only == "ci" else tuple(filter(None, options.only.split(","))) or tuple(FAULTS)
    kinds = tuple(kind for kind in kinds if stack == "kafka" or FAULTS[kind].embedded)
    failed = 0
    with (
        temporary("rapport-faults-") as folder,
        servers(stack, folder) as (broker, valkey),
    ):
        most = 0.0
        rate = options.rate
        if not rate:
            most = saturation(broker, valkey, folder, 2)
            rate = most / 2
            say(f"saturation {most:.0f} records/s, load {rate:.0f} records/s")
        runs = [("soak", 0)] if options.minutes else [(kind, options.times or FAULTS[kind].times) for kind in kinds]
        for number, (kind, times) in enumerate(runs):
            seed = options.seed + number
            command = f"python -m tests.live.faults.run --stack {stack} --seed {seed}"
            command += f" --minutes {options.minutes:g}" if options.minutes else f" --only {kind} --times {times}"
            started = time.monotonic()
            try:
                if options.minutes:
                    found = soak(stack, broker, valkey, folder, options.minutes, seed, rate)
                else:
                    found = one_kind(stack, broker, valkey, folder, kind, times, seed, rate, options.without)
            except Exception as error:  # noqa: BLE001  # one run that cannot be finished must not hide the others
                traceback.print_exc()
                found = {"fault": kind, "stack": stack, "seed": seed, "wrong": {"failed": 1}, "first": [repr(error)]}
            found = {**provenance(command), "saturation": round(most) or None, **found}
            found["seconds"] = round(time.monotonic() - started)
            if found["wrong"]:
                failed += 1
                say(f"FAILED {kind}, seed {seed}: {found['wrong']}")
                for example in found["first"]:
                    say(f"  {example}")
                if options.keep:
                    shutil.copytree(folder, Path(options.keep) / f"{kind}-{seed}", dirs_exist_ok=True)
            else:
                say(
                    f"ok {kind}: {sum(found['injected'].values())} injected, {found['events']:,} events, {found['triggers']} triggers, "
                    f"recovery {found['recovery_s']}, {found['seconds']} s"
                )
            if not options.dry:
                append(RESULTS, found)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
