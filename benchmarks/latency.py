"""From an event to its trigger on Apache Kafka with one real worker, by load. ``make bench-latency``.

Workload ``latency-shop-v1``: records of the simulated shop (seed 1, 20,000 customers) with the times at which they are due,
and one in ``--every`` is a probe: the order of a customer of its own, which a campaign on ``ordered`` answers at once. The
campaigns are the shipped ones and that one. The worker is ``rapport worker`` with its settings as shipped, on the wall clock.

First the backlog: so many records wait when the worker starts, and the rate at which it works them off is saturation.
Then each load in turn, as a share of it. The producer is open-loop: a record is due at a fixed time, whatever became
of those before. Latency is the time from when the probe was *due* to when a subscriber that reads committed has its trigger in
hand: a late producer counts in, and so does every record that waited. A probe whose trigger never comes counts as infinite.
At the end the backlog is measured anew, by which one sees how steady the machine was.

Where the time goes: by the broker's clock (``LogAppendTime``, milliseconds) the legs between raw topic, log and trigger; from
the worker's own metrics, before and after each load, the time by step, the records a batch, and its processor time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis
from kafka import TopicPartition  # type: ignore[import-untyped]  # it ships no types

from benchmarks.latency_load import Run, Seen, appended, background, customer, produce, subscribe
from benchmarks.machine import ROOT, append, provenance, say
from benchmarks.metrics_cost import processor_s
from streams import clients, log_reader, topics
from streams.embedded import Valkey
from streams.environment import kafka_from_environment
from streams.ports import free_port
from streams.redis_store import key as key_of
from streams.topic_plan import TopicPlan
from tests.live.kafka import KafkaServer

WORKLOAD = "latency-shop-v1"
RESULTS = ROOT / "benchmarks" / "results" / "latency.jsonl"
LOADS = (0.1, 0.5, 0.8)
AHEAD_S = 2.0
LAST_S = 30.0
PATIENCE_S = 300.0
NEAR = 2  # offsets that the marker of the last transaction may leave
LOOK_S = 0.05

PROBE = """
[[campaign]]
id = "probe"
signal = "ordered"
mode = "live"
topic = "nudges"
value = 60.0
holdout = 0.0
quiet_hours = false
actions = [{ id = "thanks", channel = "site", cost = 0.01, prior_effect = 0.05 }]
"""


def campaigns() -> str:
    """The shipped campaigns and the probes'; nobody is held out, and the site needs no consent."""
    text = (ROOT / "examples" / "campaigns.toml").read_text()
    for old, new in (("global_holdout = 0.02", ""), ("[policy]", '[policy]\nchannel_consent = { site = "allow" }')):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text + PROBE


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest rank: the least value that so large a share does not exceed.

    >>> percentile([3.0, 1.0, 2.0, 4.0], 0.5), percentile([1.0, 2.0], 0.999)
    (2.0, 2.0)
    """
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Percentiles; None where so many never came."""
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    found = {name: percentile(values, share) for name, share in shares.items()}
    return {name: round(value, 1) if math.isfinite(value) else None for name, value in found.items()}


class Metrics:
    """What a worker tells of itself at one moment: values by name and labels, and its processor time, seconds."""

    def __init__(self, port: int, pid: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        self.values = {
            name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
        }
        self.processor_s = processor_s(pid)
        self.at = time.monotonic()

    def total(self, name: str, *labels: str) -> float:
        """The sum over all series of that name which have these labels."""
        return sum(v for key, v in self.values.items() if key.startswith(name) and all(one in key for one in labels))

    def since(self, before: Metrics) -> dict[str, Any]:
        """What happened in between: microseconds a record by step, records a batch, share of a processor."""
        steps, sizes = {}, {}
        for stage in ("intake", "engine"):
            label = f'stage="{stage}"'
            done = self.total("rapport_records_total", label) - before.total("rapport_records_total", label)
            batches = self.total("rapport_batch_records_count", label) - before.total(
                "rapport_batch_records_count", label
            )
            sizes[stage] = round(done / max(1.0, batches), 1)
            for key, value in self.values.items():
                if key.startswith("rapport_step_seconds_sum") and label in key:
                    step = key.partition('step="')[2].partition('"')[0]
                    spent = value - before.values.get(key, 0.0)
                    steps[f"{stage}: {step}"] = round(1e6 * spent / max(1.0, done), 1)
        busy = (self.processor_s - before.processor_s) / (self.at - before.at)
        return {"us_a_record": steps, "records_a_batch": sizes, "processors_busy": round(busy, 2)}


class Bench:
    """Servers, topics and input of one measurement; a worker at a time."""

    def __init__(self, kafka: KafkaServer, valkey: Valkey, folder: Path, options: argparse.Namespace) -> None:
        self.kafka, self._valkey, self._folder = kafka.bootstrap, valkey, folder
        self.every, self.partitions = options.every, options.partitions
        self._redis: Any = redis.Redis.from_url(valkey.url)
        self._name = f"bench-{uuid4().hex[:8]}"
        self.prefix = self._name + "-"
        plan = TopicPlan(prefix=self.prefix, partitions=self.partitions, raw_partitions=self.partitions)
        topics.create(kafka_from_environment({}, self.kafka), plan)
        (folder / "campaigns.toml").write_text(campaigns())
        self.records = folder / "records.jsonl"
        self._port, self._pid, self._used, self._runs = 0, 0, 0, 0

    def run(self, count: int, rate: float) -> Run:
        """The next records of the background with their probes."""
        self._runs += 1
        run = Run(
            self.kafka,
            self.prefix,
            self.records,
            self._used,
            count,
            self.every,
            rate,
            f"{self._name}-{self._runs}",
            0.0,
        )
        self._used += count - len(run.probes())
        return run

    @contextlib.contextmanager
    def worker(self) -> Iterator[None]:
        """``rapport worker`` as shipped."""
        self._port = free_port("metrics")
        command = [sys.executable, "-m", "streams", "worker", "--kafka", self.kafka, "--redis", self._valkey.url]
        command += ["--app", self._name, "--prefix", self.prefix, "--campaigns", str(self._folder / "campaigns.toml")]
        command += ["--metrics-port", str(self._port)]
        log = self._folder / "worker.log"
        with log.open("wb") as out:
            worker = subprocess.Popen(command, cwd=ROOT, stderr=out, env={**os.environ, "PYTHONHASHSEED": "0"})
            self._pid = worker.pid
            try:
                until = time.monotonic() + PATIENCE_S
                while b'"opened"' not in log.read_bytes():
                    assert worker.poll() is None, log.read_text()
                    assert time.monotonic() < until, log.read_text()
                    time.sleep(0.01)
                yield
                assert worker.poll() is None, log.read_text()
            finally:
                worker.terminate()
                try:
                    worker.wait(60)
                except subprocess.TimeoutExpired:
                    worker.kill()

    @property
    def pid(self) -> int:
        """Of the worker."""
        return self._pid

    def look(self) -> Metrics:
        """What the worker tells now."""
        return Metrics(self._port, self._pid)

    def drained(self, records: float) -> float:
        """Wait until so many records have been taken in, and all that was in the log then is in the state; when that was."""
        until = time.monotonic() + PATIENCE_S
        while self.look().total("rapport_records_total", 'stage="intake"') < records:
            assert time.monotonic() < until, f"behind after {PATIENCE_S:.0f} s"
            time.sleep(LOOK_S)
        log = [TopicPartition(self.prefix + "events", number) for number in range(self.partitions)]
        with clients.reader(kafka_from_environment({}, self.kafka)) as reader:
            ends = [extent.most for extent in log_reader.extents(reader, log).values()]
        while any(self.position(number) < end - NEAR for number, end in enumerate(ends)):
            assert time.monotonic() < until, f"behind after {PATIENCE_S:.0f} s"
            time.sleep(LOOK_S)
        return time.monotonic()

    def position(self, partition: int) -> int:
        """How far a partition of the log is in the state."""
        found = self._redis.hget(key_of(self._name, partition, "meta"), "pos")
        return int(found.split(b",")[0]) if found else 0


@contextlib.contextmanager
def process(target: Any, *arguments: Any) -> Iterator[Pipe]:
    """A process of its own, connected."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=target, args=(*arguments, there), daemon=True)
    child.start()
    there.close()
    try:
        assert here.recv() == "connected"
        yield here
    finally:
        child.join(10)
        if child.is_alive():
            child.kill()


def saturation(bench: Bench, count: int) -> dict[str, Any]:
    """Records wait, then a worker starts: records a second from its opening until nothing is behind."""
    with process(produce, bench.run(count, 0.0)) as pipe:
        pipe.send(time.monotonic())
        _, failed = pipe.recv()
        assert not failed, f"{failed} records not sent"
    with bench.worker():
        began = time.monotonic()
        before = bench.look()
        seconds = bench.drained(count) - began
        found = bench.look().since(before)
    return {"records_per_s": round(count / seconds), "seconds": round(seconds, 1), "worker": found}


def level(bench: Bench, subscriber: Pipe, rate: float, seconds: float, lead_s: float) -> dict[str, Any]:
    """One load: latencies by probe, milliseconds, of those due after the lead-in."""
    run = bench.run(round(rate * (seconds + lead_s)), rate)
    base = bench.look().total("rapport_records_total", 'stage="intake"')
    subscriber.send("those before")
    subscriber.recv()
    with process(produce, run) as producer:
        # records are made before the first is due
        start = time.monotonic() + AHEAD_S + run.total / 50_000
        run = run._replace(start=start)
        producer.send(start)
        time.sleep(max(0.0, start + lead_s - time.monotonic()))
        before = bench.look()
        late, failed = producer.recv()
        after = bench.look()
    assert not failed, f"{failed} records not sent"
    seen: dict[str, Seen] = {}
    until = time.monotonic() + LAST_S
    while len(seen) < len(run.probes()) and time.monotonic() < until:
        subscriber.send("what came")
        for one in subscriber.recv():
            seen.setdefault(one.customer.removeprefix("u:"), one)
        time.sleep(0.1)
    bench.drained(base + run.total)
    counted = [number for number in run.probes() if number >= rate * lead_s]
    probes = {customer(run.name, number): run.due(number) for number in counted}
    latencies = [1000 * (seen[who].at - due) if who in seen else math.inf for who, due in probes.items()]
    return {
        "rate": round(rate, 1),
        "sent_per_s": round(run.total / (run.total / rate + max(0.0, late[-1])), 1),
        "latencies": latencies,
        "producer_late": [1000 * one for one in late],
        "worker": after.since(before),
        "probes": probes,
        "seen": seen,
    }


def legs(raw: dict[str, int], log: dict[str, int], rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By the broker's clock: milliseconds from due to raw topic, to log, to trigger, to the subscriber's hand."""
    offset = time.time() - time.monotonic()
    found: dict[str, list[float]] = {"due_to_raw": [], "raw_to_log": [], "log_to_trigger": [], "trigger_to_hand": []}
    for round_ in rounds:
        for who, due in round_["probes"].items():
            if who in round_["seen"]:
                _, at, written = round_["seen"][who]
                found["due_to_raw"].append(raw[who] - 1000 * (due + offset))
                found["raw_to_log"].append(log[who] - raw[who])
                found["log_to_trigger"].append(written - log[who])
                found["trigger_to_hand"].append(1000 * (at + offset) - written)
    return {leg: spread(values) for leg, values in found.items() if values}


def summary(share: float, rounds: Sequence[dict[str, Any]], raw: dict[str, int], log: dict[str, int]) -> dict[str, Any]:
    """All rounds of one load together, and each by itself."""
    latencies = [one for round_ in rounds for one in round_["latencies"]]
    return {
        "load": share,
        "rate_per_s": rounds[0]["rate"],
        "sent_per_s": [round_["sent_per_s"] for round_ in rounds],
        "samples": len(latencies),
        "missing": sum(not math.isfinite(one) for one in latencies),
        "latency_ms": spread(latencies),
        "by_round_ms": [spread(round_["latencies"]) for round_ in rounds],
        "producer_late_ms": spread([one for round_ in rounds for one in round_["producer_late"]]),
        "legs_ms": legs(raw, log, rounds),
        "worker": [round_["worker"] for round_ in rounds],
    }


def measured(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Saturation, every load in turn and again for each round, saturation."""
    first = saturation(bench, options.backlog)
    say(f"saturation: {first['records_per_s']} records/s")
    loads = [float(one) for one in options.loads.split(",")]
    rounds: dict[float, list[dict[str, Any]]] = {share: [] for share in loads}
    full = first["records_per_s"]
    needed = options.rounds * sum(round(full * share * (options.seconds + options.lead)) for share in loads)
    background(bench.records, 2 * options.backlog + needed)
    topic = bench.prefix + "nudges"
    with process(subscribe, bench.kafka, topic, bench.partitions) as subscriber:
        with bench.worker():
            for number in range(options.rounds):
                for share in loads:
                    found = level(bench, subscriber, full * share, options.seconds, options.lead)
                    rounds[share].append(found)
                    say(f"round {number + 1}, load {share:g}: {spread(found['latencies'])} ms, {found['worker']}")
        subscriber.send("end")
    raw, log = (appended(bench.kafka, bench.prefix + name) for name in ("transactions", "events"))
    again = saturation(bench, options.backlog)
    say(f"saturation again: {again['records_per_s']} records/s")
    return {
        "saturation": {"first": first, "again": again},
        "loads": [summary(share, found, raw, log) for share, found in rounds.items()],
    }


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each load, after the lead-in")
    parser.add_argument("--lead", type=float, default=5.0, help="seconds of each load that are not counted")
    parser.add_argument("--rounds", type=int, default=1, help="how often the loads are gone through")
    parser.add_argument("--loads", default=",".join(f"{share:g}" for share in LOADS), help="shares of saturation")
    parser.add_argument("--backlog", type=int, default=60_000, help="records that saturation is measured with")
    parser.add_argument("--every", type=int, default=20, help="one record in so many is a probe")
    parser.add_argument("--partitions", type=int, default=1, help="of the log, and of each raw topic")
    parser.add_argument("--dry", action="store_true", help="do not append the result")
    options = parser.parse_args()
    given = " ".join(
        f"--{name} {getattr(options, name)}" for name in ("seconds", "rounds", "loads", "backlog", "every")
    )
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch, KafkaServer() as kafka, Valkey(Path(scratch) / "valkey") as valkey:
        folder = Path(scratch)
        bench = Bench(kafka, valkey, folder, options)
        background(bench.records, options.backlog)
        found = measured(bench, options)
    result = {
        **provenance(f"python -m benchmarks.latency {given} --partitions {options.partitions}"),
        "workload": WORKLOAD,
        "clock": "wall",
        "seconds": options.seconds,
        "load_1m_before": round(load, 1),
        **found,
    }
    print(json.dumps(result, indent=2))
    if not options.dry:
        append(RESULTS, result)
    if missing := sum(one["missing"] for one in result["loads"]):
        sys.exit(f"{missing} probes without a trigger")


if __name__ == "__main__":
    main()
