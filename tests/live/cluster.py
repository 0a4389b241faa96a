"""An installation on a real broker and store for one test: topics, workers, input, and what came of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import msgspec
import redis
from kafka import TopicPartition  # type: ignore[import-untyped]  # it ships no types
from kafka.errors import KafkaError  # type: ignore[import-untyped]  # it ships no types

from models.draft import Step
from models.engine import Engine
from models.learning.learner import Learner
from models.partition import Partition
from models.policy.reading import Settings, read
from models.profile import profile as profiles
from models.profile.profile import Profile
from schemas.base import MINUTE_MS, Event
from schemas.codec import decode_event, encode_conversion, encode_decision
from schemas.control import ModelPublished, Tick
from schemas.identity import HandedOver, Unlinked
from schemas.routing import RAW_TOPICS
from streams import clients, log_reader, topics
from streams.children import spawn
from streams.emitting import decode_example
from streams.environment import kafka_from_environment
from streams.log_reader import Record
from streams.player import Player
from streams.redis_store import key
from streams.settings import Limits, StreamSettings
from streams.store import Keep
from streams.topic_plan import TopicPlan

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0


class Job(msgspec.Struct):
    """What a worker process runs."""

    kafka: str
    redis: str
    app: str
    prefix: str
    campaigns: str
    raw: tuple[str, ...] = RAW_TOPICS
    role: Literal["all", "intake", "engine", "learner"] = "all"
    transactions: bool = True
    records: int = 500
    examples: int = 400
    session_s: float = 3.0
    keep: int = 20
    die_at: str = ""
    die_after: int = 1
    halt: bool = False
    stall_s: float = 120.0
    learn_every: int = 200
    learn_s: float = 2.0
    without: str = ""

    @classmethod
    def shipped(cls, kafka: str, redis: str, campaigns: str, **changed: Any) -> Job:
        """A job with a name of its own and the settings that are shipped, but what is ``changed``."""
        usual, name = StreamSettings(), f"bench-{uuid4().hex[:8]}"
        settings = {
            "records": usual.limits.records,
            "examples": usual.limits.examples,
            "session_s": usual.session_s,
            "keep": usual.keep.versions,
            "learn_every": usual.learn_every,
            "learn_s": usual.learn_s,
        }
        return cls(kafka, redis, name, name + "-", campaigns, **(settings | changed))

    def settings(self) -> StreamSettings:
        """What a worker is to run with."""
        return StreamSettings(
            app=self.app,
            prefix=self.prefix,
            engine=read(self.campaigns, "campaigns"),
            raw=self.raw,
            clock="event",
            transactions=self.transactions,
            key=b"key",
            limits=Limits(records=self.records, examples=self.examples),
            session_s=self.session_s,
            keep=Keep(self.keep),
            learn_every=self.learn_every,
            learn_s=self.learn_s,
        )


class Installation:
    """One installation: its own topics, group and keys, so that tests can share a broker."""

    def __init__(self, job: Job, partitions: int, folder: Path, raw_partitions: int = 1) -> None:
        self.job = job
        self.partitions = partitions
        self.folder = folder
        self.connection = kafka_from_environment({}, job.kafka)
        self.redis: Any = redis.Redis.from_url(job.redis)
        self.workers: list[subprocess.Popen[bytes]] = []
        plan = TopicPlan(prefix=job.prefix, partitions=partitions, raw_partitions=raw_partitions, clock="event")
        topics.create(self.connection, plan)

    def __enter__(self) -> Installation:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
        self.redis.close()

    def start(self, die_at: str = "", die_after: int = 1, **changed: Any) -> subprocess.Popen[bytes]:
        """Start a worker; it kills itself the ``die_after``-th time it comes to ``die_at``, or with ``halt`` suspends itself."""
        job = msgspec.structs.replace(self.job, die_at=die_at, die_after=die_after, **changed)
        log = self.folder / f"worker-{len(self.workers)}.log"
        told = log.with_suffix(".json")  # a file, for hundreds of campaigns are too long for an environment
        told.write_bytes(msgspec.json.encode(job))
        env = {**os.environ, "TEST_WORKER": str(told), "PYTHONHASHSEED": "0"}
        worker = spawn([sys.executable, "-m", "tests.live.worker_process"], ROOT, log, env)
        self.workers.append(worker)
        return worker

    def started(self, worker: subprocess.Popen[bytes]) -> None:
        """Wait until a worker has joined."""
        log = self.folder / f"worker-{self.workers.index(worker)}.log"
        until = time.monotonic() + 60
        while b'"started"' not in log.read_bytes():
            assert worker.poll() is None, self.logs()
            assert time.monotonic() < until, self.logs()
            time.sleep(0.05)

    def stop(self, worker: subprocess.Popen[bytes]) -> None:
        """End a worker in order."""
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(40) == 0, self.logs()

    def logs(self) -> str:
        """The last lines of all workers."""
        return "\n".join(
            f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-15:])
            for path in sorted(self.folder.glob("worker-*.log"))
        )

    def play(self, lines: Iterable[bytes], only: str = "", tick_ms: int = 5 * MINUTE_MS) -> None:
        """Play raw records as fast as the broker takes them, ticks included."""
        with Player(self.connection, prefix=self.job.prefix, only_topic=only, tick_ms=tick_ms) as player:
            player.play(lines)

    def values(self, topic: str) -> list[bytes]:
        """All values of a topic under ``read_committed``, partition by partition."""
        return [record.value or b"" for record in self.records(topic)]

    def records(self, topic: str) -> list[Record]:
        """All records of a topic under ``read_committed``, partition by partition."""
        with clients.reader(self.connection) as reader:
            for _ in range(10):
                found = list(log_reader.whole(reader, self.job.prefix + topic))
                if self.job.transactions or all(
                    one.origin.partition != other.origin.partition or one.origin.offset + 1 == other.origin.offset
                    for one, other in pairwise(found)
                ):
                    return found
        raise AssertionError(f"{topic} has holes")  # the embedded broker shows a batch late, but not for long

    def key(self, partition: int | str, name: str) -> str:
        """A key of the store."""
        return key(self.job.app, partition, name)

    def position(self, partition: int) -> int:
        """Where the engine is in a partition of the log."""
        found = self.redis.hget(self.key(partition, "meta"), "pos")
        return int(found.split(b",")[0]) if found else 0

    def settled(self) -> bool:
        """Whether all raw records are in the log, and all of the log is in the state and on the topics."""
        names = [self.job.prefix + topic for topic in self.job.raw]
        with clients.reader(self.connection) as reader:
            raw = [TopicPartition(name, p) for name in names for p in reader.partitions_for_topic(name)]
            ends = {tp: extent.most for tp, extent in log_reader.extents(reader, raw).items()}
        with clients.admin(self.connection) as admin:
            committed = committed_offsets(admin, self.job.app)
        if any(committed.get(tp, 0) < end for tp, end in ends.items()):
            return False
        last = {}
        for record in self.records("events"):
            last[record.origin.partition] = record.origin.offset
        return all(
            self.position(p) > last.get(p, -1) and not self.redis.exists(self.key(p, "outbox"))
            for p in range(self.partitions)
        )

    def wait(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until nothing is left to do, twice in a row."""
        until, quiet = time.monotonic() + patience_s, 0
        while quiet < 2:
            assert time.monotonic() < until, f"not settled in {patience_s} s\n{self.logs()}"
            quiet = quiet + 1 if self.settled() else 0
            time.sleep(0.2)

    def learned(self) -> bool:
        """Whether all examples are in versions that each partition of the log announces."""
        ends: dict[str, int] = {}
        for record in self.records("learning"):
            ends[decode_example(record.value or b"").model] = record.origin.offset + 1
        told: dict[tuple[int, str], int] = {}
        for record in self.records("events"):
            event = decode_event(record.value or b"")
            if isinstance(event, ModelPublished):
                told[record.origin.partition, event.model] = event.version
        return all(told.get((p, name), 0) >= end for name, end in ends.items() for p in range(self.partitions))

    def wait_for_models(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until the engines decide with all that there is to learn."""
        until = time.monotonic() + patience_s
        while not self.learned():
            assert time.monotonic() < until, f"not learned in {patience_s} s\n{self.logs()}"
            time.sleep(0.2)
        self.wait(patience_s)

    def profiles(self) -> dict[str, Profile]:
        """All profiles in the store."""
        return {
            customer.decode(): profiles.decode(data)
            for p in range(self.partitions)
            for customer, data in self.redis.hgetall(self.key(p, "profiles")).items()
        }

    def timers(self) -> set[tuple[str, str, int]]:
        """All timers in the store."""
        found = set()
        for p in range(self.partitions):
            for member, due in self.redis.zrange(self.key(p, "timers"), 0, -1, withscores=True):
                customer, _, kind = member.decode().partition("\0")
                found.add((customer, kind, int(due)))
        return found


def committed_offsets(admin: Any, group: str) -> dict[Any, int]:
    """Committed offsets; none while the group's coordinator is still on its way."""
    with contextlib.suppress(KafkaError):
        return _committed(admin, group)
    return {}


def _committed(admin: Any, group: str) -> dict[Any, int]:
    return {tp: found.offset for tp, found in admin.list_group_offsets(group)[group].items()}


class Truth:
    """What a log of one partition must lead to, by the plain seam: no store, no batches, no worker."""

    def __init__(self, settings: Settings, sources: Iterable[str]) -> None:
        self.learner = Learner(settings.engine.model_specs())
        self.engine = Engine(settings.engine, settings.campaigns, self.learner.models)
        self.partition = Partition(sources=sources)
        self.profiles: dict[str, Profile] = {}
        self.decisions: list[bytes] = []
        self.triggers: list[tuple[str, bytes]] = []
        self.messages = 0

    def run(self, log: Iterable[bytes]) -> Truth:
        """Step over the log's values; messages in it were written there by the engine."""
        events = (event for event in map(decode_event, log) if not isinstance(event, ModelPublished))
        for planned, now in self.partition.plan(events):
            self._step(planned, now)
        return self

    def _step(self, event: Event, now: int) -> None:
        step: Step = self.engine.step(event, self.profiles.get(event.customer), now, self.partition.clock)
        self.profiles[event.customer] = step.profile
        self.partition.apply(event.customer, step)
        for decision in step.decisions:
            self.decisions.append(encode_decision(decision))
            if decision.arm == "treated":
                self.triggers.append((decision.topic, encode_decision(decision)))
        self.decisions += map(encode_conversion, step.conversions)
        self.messages += len(step.messages)
        for example in step.examples:
            self.learner.learn(example)

    def timers(self) -> set[tuple[str, str, int]]:
        """All timers that are set."""
        return {(customer, kind, due) for due, customer, kind in self.partition.timers()}


def from_outside(log: Iterable[bytes]) -> list[Event]:
    """The events of a log that came through raw topics: no ticks, hand-overs, forwarded events or model versions."""
    events = map(decode_event, log)
    ours = (Tick, HandedOver, Unlinked, ModelPublished)
    return [event for event in events if event.via and not isinstance(event, ours)]
