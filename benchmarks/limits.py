"""Limits under pressure, on Apache Kafka and Valkey with a real worker. ``make bench-limits``.

``hot-customer-v1``: 200,000 records, half of them of one customer, the others of 10,000; four partitions of the log, two
of each raw topic. ``customers-1m-v1``: a state of 1,000,000 customers, all of whose timers fall due at one tick, then
50,000 records of customers drawn from all of them. ``campaigns-500-v1``: the same 20,000 records under 5 and under 500
live campaigns. ``backlog-1m-v1``: 1,000,000 records wait when the worker starts, 90 % of them of one partition.

Sampled twice a second from outside: resident memory of the worker, memory of the store, records not yet taken in (raw)
and not yet in the state (log), and how far each partition is. Starvation is the longest time in which a partition had
something to do and did not move.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

from aiokafka import TopicPartition

from benchmarks.limits_load import START, campaigns, fill, lines
from benchmarks.limits_watch import Watch
from benchmarks.machine import ROOT, append, provenance, say
from models.policy.reading import read
from schemas.base import HOUR_MS
from schemas.intake import Intake
from streams.broker import Broker
from streams.embedded import Valkey
from streams.environment import from_environment
from streams.folders import temporary
from streams.player import Player
from streams.publishers import partition_of
from streams.redis_store import RedisStore
from streams.run import Run
from tests.live.cluster import Installation, Job
from tests.live.kafka import KafkaServer

RESULTS = ROOT / "benchmarks" / "results" / "limits.jsonl"
CAMPAIGNS = (ROOT / "examples" / "campaigns.toml").read_text()
PARTITIONS = 4
PATIENCE_S = 3600.0
CUSTOMERS = 10_000


class Place:
    """Where a scenario runs: servers of its own, so that the store's memory is its."""

    def __init__(self, kafka: KafkaServer, valkey: Valkey, folder: Path, scale: float) -> None:
        self._kafka, self._valkey, self._folder, self.scale = kafka, valkey, folder, scale

    def count(self, full: int) -> int:
        """So many, scaled."""
        return max(100, round(full * self.scale))

    def installation(self, rules: str = CAMPAIGNS, partitions: int = PARTITIONS) -> Installation:
        """New topics and keys."""
        job = Job.shipped(self._kafka.bootstrap, self._valkey.url, rules, session_s=30.0)
        folder = self._folder / job.app
        folder.mkdir()
        return Installation(job, partitions, folder, raw_partitions=2)


def play(of: Installation, made: Iterable[bytes]) -> float:
    """Play with a tick an hour; the seconds that took."""
    say("  plays")
    began = time.monotonic()
    with Player(of.connection, prefix=of.job.prefix, tick_ms=HOUR_MS) as player:
        player.play(made)
    took = time.monotonic() - began
    say(f"  played in {took:.1f} s")
    return took


def drained(of: Installation, records: int) -> dict[str, Any]:
    """A worker starts, works until nothing is left and ends; what was measured."""
    worker = of.start()
    of.started(worker)
    watch = Watch(of, worker)
    watch.start()
    watch.drained(PATIENCE_S)
    watch.end()
    of.stop(worker)
    found = watch.figures()
    say(f"  done in {found['seconds']} s")
    return {"records": records, "records_per_s": round(records / max(1e-9, found["seconds"])), **found}


def hot_customer(place: Place) -> dict[str, Any]:
    """Half of all traffic is one customer's."""
    count = place.count(200_000)

    def who(random: Random) -> str:
        return "hot" if random.random() < 0.5 else f"c{random.randrange(CUSTOMERS)}"

    with place.installation() as of:
        play(of, lines(count, who))
        found = drained(of, count)
        hot = partition_of(b"u:hot", PARTITIONS)
        size = len(of.redis.hget(of.key(hot, "profiles"), "u:hot"))
        return {**found, "hot_partition": hot, "hot_profile_bytes": size}


def backlog(place: Place) -> dict[str, Any]:
    """A million records wait, nine in ten of one partition."""
    count = place.count(1_000_000)
    full = [f"c{n}" for n in range(4 * CUSTOMERS) if partition_of(f"u:c{n}".encode(), PARTITIONS) == 0]
    others = [f"c{n}" for n in range(4 * CUSTOMERS) if partition_of(f"u:c{n}".encode(), PARTITIONS)]

    def who(random: Random) -> str:
        return random.choice(full if random.random() < 0.9 else others)

    with place.installation() as of:
        seconds = play(of, lines(count, who))
        return {**drained(of, count), "played_s": round(seconds, 1), "full_partition": 0}


def customers(place: Place) -> dict[str, Any]:
    """A million in the state, all due at one tick, and then records of any of them."""
    many, count = place.count(1_000_000), place.count(50_000)
    with place.installation() as of:
        stored = asyncio.run(_filled(of, many))
        before = of.redis.info("memory")["used_memory"]
        with Player(of.connection, prefix=of.job.prefix) as player:
            player.tick(START - HOUR_MS)
        fired = drained(of, stored["timers"])
        play(of, lines(count, lambda random: str(random.randrange(many))))
        after = drained(of, count)
        return {"stored": {**stored, "store_bytes": before}, "due_at_once": fired, "then": after}


async def _filled(of: Installation, count: int) -> dict[str, int]:
    connection = from_environment({}, kafka=of.job.kafka, redis=of.job.redis)
    store, broker = RedisStore(connection.redis.client(), of.job.app), Broker(connection.kafka, of.job.app)
    events = of.job.prefix + "events"
    identities = [
        f"{(await broker.log(TopicPartition(events, p))).identity}, event clock" for p in range(of.partitions)
    ]
    try:
        return await fill(store, count, of.partitions, identities, START - 2 * HOUR_MS)
    finally:
        await broker.close()
        await store.close()


def many_campaigns(place: Place) -> dict[str, Any]:
    """What 500 campaigns cost beside 5: in process by the step, and in a worker."""
    count = place.count(20_000)
    found: dict[str, Any] = {"step": step_ratios(place.count(10_000), 3)}
    for number in (5, 500):
        with place.installation(campaigns(number)) as of:
            play(of, lines(count, lambda random: f"c{random.randrange(2_000)}"))
            found[f"worker_{number}"] = drained(of, count)
    return found


SHAPES: dict[str, Callable[[int], str]] = {
    "over_eight_signals": campaigns,
    "all_on_one_signal": lambda count: campaigns(count, one_signal=True),
    "all_on_one_signal_waiting": lambda count: campaigns(count, one_signal=True, delay="2h"),
}


def step_ratios(count: int, rounds: int) -> dict[str, Any]:
    """Microseconds a record in process under 5 and 500 campaigns, interleaved, medians of ``rounds``, and their ratio."""
    intake = Intake()
    made = lines(count, lambda random: f"c{random.randrange(500)}")
    events = [event for n, raw in enumerate(made) for event in intake.read(raw, None, f"x:{n}").events]
    found: dict[str, Any] = {}
    for shape, rules in SHAPES.items():
        took: dict[int, list[float]] = {5: [], 500: []}
        for _ in range(rounds):
            for number, times in took.items():
                run = Run(read(rules(number)))
                began = time.process_time()
                run.drain(events)
                times.append(1e6 * (time.process_time() - began) / count)
        few, many = (statistics.median(took[number]) for number in (5, 500))
        say(f"  {shape}: {few:.1f} us a record under 5 campaigns, {many:.1f} under 500")
        found[shape] = {"us_5": round(few, 1), "us_500": round(many, 1), "ratio": round(many / few, 2)}
    return found


SCENARIOS: dict[str, Callable[[Place], dict[str, Any]]] = {
    "hot-customer-v1": hot_customer,
    "customers-1m-v1": customers,
    "campaigns-500-v1": many_campaigns,
    "backlog-1m-v1": backlog,
}


def main() -> None:
    """Run the scenarios, print and append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SCENARIOS, action="append", help="run this one; may be given again")
    parser.add_argument("--scale", type=float, default=1.0, help="share of records and customers, such as 0.01")
    parser.add_argument("--dry", action="store_true", help="do not append the results")
    options = parser.parse_args()
    for name in options.only or SCENARIOS:
        say(f"{name}, scale {options.scale:g}")
        load = os.getloadavg()[0]
        command = f"python -m benchmarks.limits --only {name} --scale {options.scale:g}"
        with (
            temporary("rapport-limits-") as scratch,
            KafkaServer() as kafka,
            Valkey(scratch / "valkey") as valkey,
        ):
            figures = SCENARIOS[name](Place(kafka, valkey, scratch, options.scale))
        result = {
            **provenance(command),
            "scenario": name,
            "scale": options.scale,
            "load_1m_before": round(load, 1),
            **figures,
        }
        print(json.dumps(result), flush=True)
        if not options.dry:
            append(RESULTS, result)


if __name__ == "__main__":
    main()
