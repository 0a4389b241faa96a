"""What partitions cost on Kafka, what a year of history weighs, and how long it takes to replace a killed worker."""

from __future__ import annotations

import argparse
import asyncio
import signal
import statistics
import time
from pathlib import Path
from typing import Any

from aiokafka import TopicPartition

from benchmarks.latency import Bench, process
from benchmarks.latency_load import background, produce
from benchmarks.limits_load import START, fill, lines
from benchmarks.limits_watch import MB, resident
from benchmarks.machine import say
from benchmarks.metrics_cost import processor_s
from benchmarks.stream import opening
from models.profile.pending import PENDING_MAX
from models.profile.profile import Profile, core_bytes, encode
from models.simulator.config import DAY_MS, ShopConfig
from models.simulator.shop import Shop
from schemas.intake import Intake
from streams.broker import Broker
from streams.commands.examples import example_settings, example_text
from streams.embedded import Valkey
from streams.environment import from_environment
from streams.player import Player
from streams.redis_store import RedisStore
from streams.run import Run
from streams.store import Commit, Position
from tests.live.cluster import Installation, Job
from tests.live.kafka import KafkaServer

PARTITIONS = (1, 6, 24)
BACKLOG = 40_000
IDLE_S = 10.0
SETTLE_S = 3.0
HISTORY_CUSTOMERS, HISTORY_DAYS = 3_000, 365
STORED = (100, 10_000, 1_000_000)
CHUNK = 5_000
PATIENCE_S = 180.0
SESSION_S = 10.0


def by_partitions(folder: Path, rounds: int, scale: float) -> dict[str, Any]:
    """One worker as shipped on the wall clock: records a second off a backlog, memory, and what it takes while idle."""
    count = max(2_000, round(BACKLOG * scale))
    taken: dict[int, list[dict[str, float]]] = {number: [] for number in PARTITIONS}
    with KafkaServer() as kafka, Valkey(folder / "valkey") as valkey:
        for round_ in range(rounds):
            for number, found in taken.items():
                place = folder / f"{round_}-{number}"
                place.mkdir()
                bench = Bench(kafka, valkey, place, argparse.Namespace(every=20, partitions=number))
                background(bench.records, count)
                with process(produce, bench.run(count, 0.0)) as pipe:
                    pipe.send(time.monotonic())
                    assert not pipe.recv()[1]
                with bench.worker():
                    began = time.monotonic()
                    seconds = bench.drained(count) - began
                    memory = resident(bench.pid) / MB
                    time.sleep(SETTLE_S)
                    at, worker, broker = time.monotonic(), processor_s(bench.pid), processor_s(kafka.pid)
                    time.sleep(IDLE_S)
                    passed = time.monotonic() - at
                    found.append(
                        {
                            "records_per_s": count / seconds,
                            "rss_mb": memory,
                            "idle_worker_s_a_second": (processor_s(bench.pid) - worker) / passed,
                            "idle_broker_s_a_second": (processor_s(kafka.pid) - broker) / passed,
                        }
                    )
                say(f"round {round_ + 1}, {number} partitions: {found[-1]}")
    middle = {
        number: {name: statistics.median(one[name] for one in found) for name in found[0]}
        for number, found in taken.items()
    }
    least, most = middle[PARTITIONS[0]], middle[PARTITIONS[-1]]
    more = PARTITIONS[-1] - PARTITIONS[0]
    return {
        "records": count,
        "raw_partitions": "as many, of each of four topics",
        "by_partitions": {str(n): {name: round(v, 3) for name, v in found.items()} for n, found in middle.items()},
        "of_one_more": {
            name: round((most[name] - least[name]) / more, 4)
            for name in ("rss_mb", "idle_worker_s_a_second", "idle_broker_s_a_second")
        },
    }


def history(folder: Path, rounds: int, scale: float) -> dict[str, Any]:
    """A year of the simulated shop: bytes of profiles, of pending predictions, and in Valkey with timers."""
    customers = max(50, round(HISTORY_CUSTOMERS * scale))
    shop, intake, run, count = Shop(ShopConfig(seed=1, customers=customers, days=HISTORY_DAYS)), Intake(), None, 0
    run = Run(example_settings())
    for day in range(HISTORY_DAYS):
        raws = shop.advance(shop.now_ms + DAY_MS)
        run.drain(event for n, raw in enumerate(raws) for event in intake.read(raw, None, f"x:{count + n}").events)
        count += len(raws)
        if day % 73 == 72:
            say(f"day {day + 1}: {count} records, {run.customers} customers")
    everybody = list(run.profiles.values())
    known = [profile for profile in everybody if profile.customer[0] == "u"]
    with Valkey(folder / "valkey") as valkey:
        store = asyncio.run(_stored(valkey.url, everybody, run))
    return {
        "records": count,
        "days": HISTORY_DAYS,
        "all": _sizes(everybody),
        "known": _sizes(known),
        "store": store,
    }


def _sizes(profiles: list[Profile]) -> dict[str, Any]:
    core = sorted(map(core_bytes, profiles))
    pending = [
        (len(encode(one)) - size, len(one.pendings))
        for one, size in zip(profiles, map(core_bytes, profiles), strict=True)
    ]
    each = sorted(size / number for size, number in pending if number)
    numbers = sorted(number for _, number in pending)
    return {
        "customers": len(profiles),
        "core_bytes": _spread(core),
        "pending_bytes_each": _spread(each),
        "pending_a_customer": _spread(numbers),
        "pending_most_allowed": PENDING_MAX,
        "timers_a_customer": round(statistics.fmean(len(one.timers) for one in profiles), 2),
    }


def _spread(values: list[Any]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 1),
        "p99": round(values[min(len(values) - 1, round(0.99 * len(values)))], 1),
        "max": round(values[-1], 1),
    }


async def _stored(redis: str, profiles: list[Profile], run: Run) -> dict[str, float]:
    client = from_environment({}, redis=redis).redis.client()
    store = RedisStore(client, "history")
    before = int((await client.info("memory"))["used_memory"])
    token = (await store.take(0)).token
    timers: dict[str, dict[tuple[str, str], int]] = {}
    for due, customer, kind in run.partition.timers():
        timers.setdefault(customer, {})[customer, kind] = due
    for seq, first in enumerate(range(0, len(profiles), CHUNK)):
        made = profiles[first : first + CHUNK]
        due_ = {key: at for one in made for key, at in timers.get(one.customer, {}).items()}
        held = {one.customer: encode(one) for one in made}
        await store.commit(0, Commit(token, seq, Position(0), b"", "history", profiles=held, timers=due_))
    used = int((await client.info("memory"))["used_memory"]) - before
    await store.close()
    encoded = sum(len(encode(one)) for one in profiles)
    return {
        "used_memory_a_customer": round(used / len(profiles), 1),
        "profile_bytes_a_customer": round(encoded / len(profiles), 1),
        "timers_a_customer": round(sum(map(len, timers.values())) / len(profiles), 2),
        "overhead": round(used / encoded, 2),
    }


class Recovery:
    """An installation with so many customers in state, and a worker that is killed again and again."""

    def __init__(self, kafka: KafkaServer, valkey: Valkey, folder: Path, customers: int) -> None:
        self.customers = customers
        job = Job.shipped(kafka.bootstrap, valkey.url, example_text(), session_s=SESSION_S)
        (folder / job.app).mkdir()
        self.of = Installation(job, 1, folder / job.app)
        self._sent = 0

    async def fill(self) -> None:
        """Store the customers."""
        name = self.of.job.app
        connection = from_environment({}, kafka=self.of.job.kafka, redis=self.of.job.redis)
        store = RedisStore(connection.redis.client(), name)
        broker = Broker(connection.kafka, name)
        extent = await broker.log(TopicPartition(self.of.job.prefix + "events", 0))
        await fill(store, self.customers, 1, [f"{extent.identity}, event clock"], START + 300 * DAY_MS)
        await broker.close()
        await store.close()

    def send(self) -> None:
        """A record of one of them, ``messageId`` its own."""
        self._sent += 1
        (raw,) = lines(1, lambda random: str(random.randrange(self.customers)), self._sent, START + self._sent * 1_000)
        with Player(self.of.connection, prefix=self.of.job.prefix, clock="event") as player:
            player.send(raw.replace(b'"m0"', b'"m%d"' % self._sent))

    def begin(self) -> None:
        """A worker starts and works."""
        self.of.started(self.of.start())
        self._processed(self.of.position(0))

    def _processed(self, before: int) -> None:
        self.send()
        until = time.monotonic() + PATIENCE_S
        while self.of.position(0) <= before:
            assert time.monotonic() < until, self.of.logs()
            time.sleep(0.01)

    def kill(self) -> float:
        """Kill the worker and start another; seconds until it has processed what came meanwhile."""
        before = self.of.position(0)
        worker = self.of.workers[-1]
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        began = time.monotonic()
        self.of.start()
        self._processed(before)
        return time.monotonic() - began


def recovery(folder: Path, rounds: int, scale: float) -> dict[str, Any]:
    """Seconds from SIGKILL until a replacement that is started at once has processed a record; and what opening takes of it."""
    sizes = [max(100, round(size * scale)) for size in STORED]
    taken: dict[int, list[float]] = {size: [] for size in sizes}
    with KafkaServer() as kafka, Valkey(folder / "valkey") as valkey:
        places = []
        try:
            for size in taken:
                places.append(Recovery(kafka, valkey, folder, size))
                asyncio.run(places[-1].fill())
                places[-1].begin()
                say(f"{size} customers stored, a worker at work")
            for round_ in range(rounds):
                for place in places:
                    taken[place.customers].append(place.kill())
                    say(f"round {round_ + 1}, {place.customers} customers: {taken[place.customers][-1]:.2f} s")
        finally:
            for place in places:
                place.of.__exit__()
        opened = {
            size: asyncio.run(opening(kafka.bootstrap, valkey.url, size, max(3, rounds))) for size in sorted(taken)
        }
    middle = {size: statistics.median(times) for size, times in taken.items()}
    return {
        "session_timeout_s": SESSION_S,
        "seconds": {
            str(size): {"median": round(middle[size], 2), "least": round(min(times), 2), "most": round(max(times), 2)}
            for size, times in taken.items()
        },
        "open_ms": {str(size): round(ms, 1) for size, ms in opened.items()},
        "largest_over_smallest": round(middle[max(middle)] / middle[min(middle)], 3),
    }
