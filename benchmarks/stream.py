"""The whole pipeline on Apache Kafka: intake, engine and inline learner in one worker, exactly once. ``make bench-stream``.

Workload ``stream-60k-v2``: the first 60,000 Segment records of the simulated shop (seed 1, 3,000 customers, 120 days) under
the shipped campaigns and settings (``v1`` committed at most 500 records at once), played into four raw topics of one
partition before the worker starts; so the worker is never short of input. The rate counts from the moment the worker has
opened its partitions until all is in the state and on the topics. The second part opens a partition with 100 and with
100,000 customers in state: what a rebalance costs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiokafka import TopicPartition

from benchmarks.machine import ROOT, append, provenance
from benchmarks.speed import records
from models.policy.reading import Settings
from models.profile.profile import Profile, encode
from streams.broker import Broker
from streams.checkpoint import EnginePartition
from streams.embedded import Valkey
from streams.environment import from_environment
from streams.redis_store import RedisStore
from streams.settings import StreamSettings
from streams.store import Commit, Position
from tests.live.cluster import Installation, Job
from tests.live.kafka import KafkaServer

WORKLOAD = "stream-60k-v2"
RECORDS = 60_000
RESULTS = ROOT / "benchmarks" / "results" / "stream.jsonl"
CAMPAIGNS = ROOT / "examples" / "campaigns.toml"


def throughput(kafka: str, redis: str, folder: Path, lines: list[bytes]) -> dict[str, Any]:
    """One round: records a second, and microseconds by stage."""
    job = Job.shipped(kafka, redis, CAMPAIGNS.read_text())
    folder = folder / job.app
    folder.mkdir()
    with Installation(job, 1, folder) as installation:
        installation.play(lines)
        worker = installation.start()
        installation.started(worker)
        log = folder / "worker-0.log"
        while b'"opened"' not in log.read_bytes():
            time.sleep(0.01)
        started = time.perf_counter()
        moved, last = started, -1
        while time.perf_counter() - moved < 3.0:  # the position stands still: done
            position = installation.position(0)
            if position != last:
                moved, last = time.perf_counter(), position
            time.sleep(0.02)
        seconds = moved - started
        installation.wait()
        installation.stop(worker)
        stages: dict[str, float] = {}
        for found in re.finditer(r'^\{.*"event": "stages".*\}$', log.read_text(), re.MULTILINE):
            line = json.loads(found[0])
            for stage, us in line["microseconds"].items():
                stages[stage] = stages.get(stage, 0.0) + us * line["records"] / len(lines)
        return {
            "records_per_s": round(len(lines) / seconds),
            "log": last,
            "triggers": len(installation.values("nudges")) + len(installation.values("offers")),
            "stages_us": {stage: round(us, 1) for stage, us in sorted(stages.items())},
        }


async def opening(kafka: str, redis: str, customers: int, rounds: int) -> float:
    """Milliseconds to open a partition with so many customers and timers in state: the median."""
    name = f"bench-{uuid4().hex[:8]}"
    job = Job(kafka, redis, name, name + "-", "")
    with tempfile.TemporaryDirectory() as folder, Installation(job, 1, Path(folder)):
        connection = from_environment({}, kafka=kafka, redis=redis)
        store = RedisStore(connection.redis.client(), name)
        broker = Broker(connection.kafka, name)
        settings = StreamSettings(app=name, prefix=name + "-", engine=Settings())
        tp = TopicPartition(name + "-events", 0)
        taken = await store.take(0)
        identity = f"{(await broker.log(tp)).identity}, {settings.clock} clock"
        for first in range(0, customers, 5_000):
            who = [f"u:{number}" for number in range(first, min(first + 5_000, customers))]
            commit = Commit(
                taken.token,
                first // 5_000,
                Position(0),
                b"",
                identity,
                profiles={customer: encode(Profile(customer)) for customer in who},
                timers={(customer, "score"): 1_700_000_000_000 + number for number, customer in enumerate(who)},
            )
            await store.commit(0, commit)
        took = []
        for _ in range(rounds):
            work = EnginePartition(tp, settings, store, broker)
            started = time.perf_counter()
            await work.open()
            took.append(1000 * (time.perf_counter() - started))
            await work.close()
        await broker.close()
        await store.close()
        return statistics.median(took)


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--dry", action="store_true", help="do not append the result")
    options = parser.parse_args()
    lines = records(options.records)
    with tempfile.TemporaryDirectory() as scratch, KafkaServer() as kafka, Valkey(Path(scratch) / "valkey") as valkey:
        rounds = [throughput(kafka.bootstrap, valkey.url, Path(scratch), lines) for _ in range(max(1, options.rounds))]
        few = asyncio.run(opening(kafka.bootstrap, valkey.url, 100, 9))
        many = asyncio.run(opening(kafka.bootstrap, valkey.url, 100_000, 9))
    rates = [found["records_per_s"] for found in rounds]
    middle = sorted(rounds, key=lambda found: found["records_per_s"])[len(rounds) // 2]
    result = {
        **provenance("python -m benchmarks.stream"),
        "workload": WORKLOAD,
        "records": len(lines),
        "records_per_s": {"median": statistics.median(rates), "least": min(rates), "most": max(rates)},
        "triggers": middle["triggers"],
        "stages_us": middle["stages_us"],
        "open_ms": {"customers_100": round(few, 1), "customers_100000": round(many, 1), "ratio": round(many / few, 2)},
    }
    print(json.dumps(result, indent=2))
    if not options.dry:
        append(RESULTS, result)


if __name__ == "__main__":
    main()
