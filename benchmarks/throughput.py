"""The speed of Rapport beside what a user would pick instead, on the same work. ``make bench``.

``decode``: an agent or loop that only decodes 400-byte JSON events of one partition. ``pipeline``: intake, engine and
learning on the first 60,000 records of the simulated shop (seed 1) under the example campaigns; the peers read them from one
topic in order of time, Rapport from its four raw topics with ticks. ``zipf``: the same of Rapport and of the engine alone,
on 60,000 records of 10,000 customers (Zipf 1.1), batches of 500. ``workers``: two workers against one, two partitions of the log. Each peer's
docstring in ``benchmarks/peers/`` says what it does and what it leaves out; ``peers/meter.py`` has the rule of time.

A round runs every peer once, in rotated order. Ratios are of two peers in the same round, and their median comes first.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT, append, provenance, say
from benchmarks.peers.event import events
from benchmarks.speed import records
from benchmarks.throughput_figures import GOALS, Round, rate, rotated, summary
from benchmarks.throughput_load import fill
from benchmarks.throughput_run import (
    Figures,
    Place,
    SkippedError,
    engine_peer,
    keyed_peer,
    python_peer,
    rapport,
)
from benchmarks.throughput_zipf import zipf
from streams import embedded
from streams.embedded import Valkey
from tests.live.kafka import KafkaServer

RESULTS = ROOT / "benchmarks" / "results" / "throughput.jsonl"
PARTS = ("decode", "pipeline", "zipf", "workers")
RECORDS = 60_000
LIBRARIES = ("aiokafka", "confluent-kafka", "faust-streaming", "kafka-python", "quixstreams")

BUFFER = 1_000_000

DECODE = {
    "rapport": ("decode_rapport", 900_000, 0),
    "faust": ("decode_faust", 40_000, 0),
    "faust buffered": ("decode_faust", 40_000, BUFFER),
    "faust take": ("decode_faust_take", 40_000, 0),
    "quix": ("decode_quix", 300_000, 0),
    "kafka-python": ("decode_kafka_python", 75_000, 0),
    "aiokafka": ("decode_aiokafka", 900_000, 0),
    "confluent-kafka": ("decode_confluent", 1_800_000, 0),
}
"""Each peer's module, the events that take it two seconds or more, and its option (of a stock Faust: its buffer)."""

PIPELINE = {
    "faust": ("pipeline_faust", 0),
    "faust buffered": ("pipeline_faust", BUFFER),
    "quix": ("pipeline_quix", 0),
    "quix aligned": ("pipeline_quix", 1),
    "limit": ("pipeline_limit", 0),
    "home-made": ("pipeline_home", 0),
}

Peers = dict[str, Callable[[], Figures]]


@contextlib.contextmanager
def placed(stack: str, patience_s: float) -> Iterator[Place]:
    """A broker and a store."""
    with tempfile.TemporaryDirectory(prefix="rapport-bench-") as scratch:
        folder = Path(scratch)
        if stack == "embedded":
            with embedded.start(folder / "stack") as held:
                yield Place(held.kafka, held.redis, held.broker.pid, held.valkey.pid, False, folder, patience_s)
        else:
            with KafkaServer() as kafka, Valkey(folder / "valkey") as valkey:
                yield Place(kafka.bootstrap, valkey.url, kafka.pid, valkey.pid, True, folder, patience_s)


def peers(part: str, place: Place, count: int, scale: float) -> Peers:
    """What runs in a round of a part, by name."""
    if part == "decode":
        counts = {name: max(1_000, round(scale * most)) for name, (_, most, _) in DECODE.items()}
        for held in sorted(set(counts.values())):
            fill(place.broker, f"decode-{held}", events(held))
        return {
            name: partial(python_peer, place, module, f"decode-{counts[name]}", counts[name], option)
            for name, (module, _, option) in DECODE.items()
        }
    if part == "zipf":
        raws = zipf(count)
        return {"rapport": partial(rapport, place, raws, batch=500), "engine": partial(engine_peer, place, raws)}
    raws = records(count)
    if part == "workers":
        return {
            "one worker": partial(rapport, place, raws, 1, 2, 4),
            "two workers": partial(rapport, place, raws, 2, 2, 4),
        }
    return {
        "rapport": partial(rapport, place, raws),
        **{name: partial(keyed_peer, place, module, raws, option) for name, (module, option) in PIPELINE.items()},
        "engine": partial(engine_peer, place, raws),
    }


def measured(part: str, held: Peers, rounds: int) -> tuple[list[Round], dict[str, str]]:
    """The rounds of a part, and why which peer was skipped; one that fails is not tried again."""
    found: list[Round] = []
    skipped: dict[str, str] = {}
    for number in range(rounds):
        one: dict[str, Figures] = {}
        for name in rotated(list(held), number):
            if name in skipped:
                continue
            try:
                one[name] = held[name]()
            except SkippedError as error:
                skipped[name] = str(error)
                say(f"{part}: {name} skipped: {error}")
        say(f"{part}, round {number + 1}: " + ", ".join(f"{name} {rate(done):,.0f}/s" for name, done in one.items()))
        found.append(one)
    return found, skipped


def table(part: str, held: dict[str, dict[str, Any]]) -> str:
    """A part as text."""
    lines = [
        f"\n{part:16} {'records/s':>11} {'(least - most)':>21} {'steps/s':>9} {'CPU-s/1,000':>12} {'processes':>9} {'triggers':>9} {'MB':>6}"
    ]
    for name, one in held.items():
        speed = one["records_per_s"]
        span = f"({speed['least']:,} - {speed['most']:,})"
        lines.append(
            f"{name:16} {speed['median']:>11,} {span:>21} {one['steps_per_s']:>9,} {one['cpu_s_per_1000']:>12.4f}"
            f" {one['processes']:>9.0f} {one.get('triggers', 0):>9.0f} {one['peak_mb']:>6.0f}"
        )
    return "\n".join(lines)


def goals(held: list[dict[str, Any]]) -> str:
    """The goals as text; those that other commands measure are not in it."""
    lines = [f"\n{'goal':66} {'median':>9} {'(least - most)':>18} {'goal':>7} {'further':>8}"]
    for one in held:
        met = {True: "met", False: "missed", None: ""}[one["met"]] if "median" in one else "not measured"
        span = f"({one['least']:.2f} - {one['most']:.2f})" if "median" in one else ""
        middle = f"{one['median']:.2f}" if "median" in one else "-"
        bounds = [f"{one[name]:g}" if one[name] is not None else "-" for name in ("goal", "further")]
        lines.append(
            f"{one['what'] + ', ' + one['unit']:66} {middle:>9} {span:>18} {bounds[0]:>7} {bounds[1]:>8} {met}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--records", type=int, default=RECORDS, help="of every part but decode")
    parser.add_argument("--scale", type=float, default=1.0, help="of the events of decode")
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; may be given again")
    parser.add_argument("--peer", action="append", help="a peer by its name in the table; may be given again")
    parser.add_argument("--stack", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds that a run may take; then it is skipped")
    parser.add_argument("--dry", action="store_true", help="do not append the result")
    options = parser.parse_args()
    result: dict[str, Any] = {
        **provenance("python -m benchmarks.throughput " + " ".join(sys.argv[1:])),
        "libraries": {name: version(name) for name in LIBRARIES},
        "stack": options.stack,
        "records": options.records,
        "scale": options.scale,
        "rounds": options.rounds,
        "parts": {},
        "skipped": {},
        "goals": [],
    }
    with placed(options.stack, options.patience) as place:
        for part in options.only or PARTS:
            held = peers(part, place, options.records, options.scale)
            if options.peer:
                held = {name: run for name, run in held.items() if name in options.peer}
            rounds, skipped = measured(part, held, max(1, options.rounds))
            result["parts"][part], result["skipped"][part] = summary(rounds), skipped
            result["goals"] += [goal.judged(rounds) for goal in GOALS if goal.part == part]
    say(goals(result["goals"]))
    for part, found in result["parts"].items():
        say(table(part, found))
    print(json.dumps(result, indent=2))
    if not options.dry:
        append(RESULTS, result)


if __name__ == "__main__":
    main()
