"""An installation under a steady load, with workers that are watched, and what is measured while faults come."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import msgspec
from kafka import TopicPartition  # type: ignore[import-untyped]  # it ships no types
from kafka.errors import KafkaError  # type: ignore[import-untyped]  # it ships no types
from redis.exceptions import RedisError

from streams import clients, log_reader
from streams.embedded import Broker, Valkey
from streams.errors import StreamError
from tests.live.cluster import Installation, Job
from tests.live.faults import checks, oracle, topics_read
from tests.live.faults.checks import Findings, Written
from tests.live.faults.load import RAW, SPEED, Load
from tests.live.kafka import KafkaServer
from tests.support import BUSY

PARTITIONS = 4
RAW_PARTITIONS = 2
SESSION_S = 3.0
RECOVERY_S = SESSION_S + 30.0
PATIENCE_S = 240.0
SAMPLE_S = 1.0
TRIGGERS = ("offers", "nudges", "leads", "replies", "recommendations")
AWAY = (KafkaError, StreamError, RedisError, OSError, TimeoutError)

T = TypeVar("T")


class Field:
    """One run: topics, workers and load of its own on servers that may be shared with runs before and after.

    Parameters
    ----------
    rate
        Records a second.
    speed
        Milliseconds of event time that pass in a millisecond.
    without
        A safeguard that the workers are run without: see ``mutations.py``.

    Attributes
    ----------
    members
        The workers that should live; ``guests`` come and go.
    spare
        A member that is not killed, so that its memory tells a slope over a long run.
    learner_may_go_back
        After the store was set back: the learner's place is in the store, and so goes back with it.
    """

    def __init__(
        self,
        server: KafkaServer | Broker,
        valkey: Valkey,
        folder: Path,
        seed: int,
        rate: float,
        name: str,
        workers: int = 2,
        without: str = "",
        speed: float = SPEED,
    ) -> None:
        self.server, self.valkey = server, valkey
        self.random = Random(seed)
        self.transactions = isinstance(server, KafkaServer)
        self.campaigns = oracle.rules(BUSY)
        self.job = Job(
            server.address,
            valkey.url,
            name,
            f"{name}-",
            self.campaigns,
            raw=RAW,
            transactions=self.transactions,
            session_s=SESSION_S,
            without=without,
        )
        folder.mkdir(parents=True)
        self.installation = Installation(self.job, PARTITIONS, folder, RAW_PARTITIONS)
        self.load = Load(self.installation.connection, self.job.prefix, RAW_PARTITIONS, seed, rate, speed)
        self.members: list[subprocess.Popen[bytes]] = []
        self.memory: dict[int, list[tuple[float, float]]] = defaultdict(list)
        self.notes: Counter[str] = Counter()
        self.excused: set[int] = set()
        self.learner_may_go_back = False
        self.spare: subprocess.Popen[bytes] | None = None
        self._count = workers
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._watch = threading.Thread(target=self._watching, name="watch", daemon=True)

    def __enter__(self) -> Field:
        for _ in range(self._count):
            self.members.append(self.start())
        for member in self.members:
            self.joined(member)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._watch.ident is not None:
            self._watch.join(30)
        self.installation.__exit__()

    def start(self, die_at: str = "", die_after: int = 1, halt: bool = False) -> subprocess.Popen[bytes]:
        """Start a worker."""
        with self._lock:
            return self.installation.start(die_at, die_after, halt=halt)

    def warm(self) -> None:
        """Start the load and wait until every partition has committed something."""
        self.load.start()
        self._until(lambda: all(self.positions()), time.monotonic() + PATIENCE_S)

    def heal(self) -> None:
        """Bring back what a fault that failed half-way has left away."""
        for server in (self.server, self.valkey):
            if not server.alive():
                server.start()
            server.resume()

    def joined(self, worker: subprocess.Popen[bytes]) -> None:
        """Wait until a worker has joined, on a busy machine too."""
        log = self.installation.folder / f"worker-{self.installation.workers.index(worker)}.log"
        until = time.monotonic() + PATIENCE_S
        while b'"started"' not in log.read_bytes():
            assert worker.poll() is None, self.installation.logs()
            assert time.monotonic() < until, self.installation.logs()
            time.sleep(0.05)

    def replace(self, member: subprocess.Popen[bytes]) -> None:
        """A supervisor's part: start another in the place of one that is gone."""
        with self._lock:
            place = self.members.index(member)
            self.members[place] = self.installation.start()

    def _watching(self) -> None:
        """Sample memory, and restart members that ended by themselves."""
        while not self._stop.wait(SAMPLE_S):
            for member in list(self.members):
                if member.poll() is None:
                    if (resident := _resident_mb(member.pid)) is not None:
                        self.memory[member.pid].append((time.monotonic() - self._started, resident))
                elif member.pid not in self.excused:
                    self.notes[f"a worker ended by itself with {member.returncode}"] += 1
                    self.replace(member)

    def read(self, ask: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
        """Ask broker or store, again while they are away."""
        until = time.monotonic() + patience_s
        while True:
            try:
                return ask()
            except AWAY:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def ends(self, *topics: str) -> dict[TopicPartition, int]:
        """Where topics end."""
        return self.read(lambda: self._ends(topics))

    def _ends(self, topics: tuple[str, ...]) -> dict[TopicPartition, int]:
        with clients.reader(self.installation.connection) as reader:
            tps = [
                TopicPartition(self.job.prefix + topic, number)
                for topic in topics
                for number in sorted(reader.partitions_for_topic(self.job.prefix + topic) or ())
            ]
            if self.transactions:
                return dict(reader.end_offsets(tps))
            return {tp: extent.most for tp, extent in log_reader.extents(reader, tps).items()}

    def committed(self) -> dict[TopicPartition, int]:
        """What the group has committed."""
        return self.read(self._committed)

    def _committed(self) -> dict[TopicPartition, int]:
        with clients.admin(self.installation.connection) as admin:
            return {tp: found.offset for tp, found in admin.list_group_offsets(self.job.app)[self.job.app].items()}

    def positions(self) -> list[int]:
        """Where the engine is in each partition of the log."""
        return self.read(lambda: [self.installation.position(p) for p in range(PARTITIONS)])

    def recovered(self, since: float, limit_s: float = PATIENCE_S) -> float:
        """Seconds from ``since`` until all that the raw topics hold now is in the state."""
        raw = self.ends(*RAW)
        self._until(lambda: all(self.committed().get(tp, 0) >= end for tp, end in raw.items()), since + limit_s)
        log = {tp.partition: end for tp, end in self.ends("events").items()}
        self._until(
            lambda: all(position >= log[p] for p, position in enumerate(self.positions())), since + limit_s
        )  # the load goes on, so that positions pass the markers behind the last record
        return time.monotonic() - since

    def _until(self, done: Callable[[], bool], deadline: float) -> None:
        while not done():
            if time.monotonic() > deadline:
                raise AssertionError(f"not recovered: positions {self.positions()}\n{self.installation.logs()}")
            time.sleep(0.1)

    def settle(self) -> float:
        """End the load and wait until nothing is left to do; returns the seconds that it took."""
        self.load.stop()
        since = time.monotonic()
        deadline = since + PATIENCE_S
        raw = self.ends(*RAW)
        self._until(lambda: all(self.committed().get(tp, 0) >= end for tp, end in raw.items()), deadline)
        self._until(lambda: self._drained() and self._drained(), deadline)
        self._until(lambda: self._learned() and self._drained(), deadline)
        return time.monotonic() - since

    def _drained(self) -> bool:
        """Whether nothing of the log lies behind the engine's positions, and no output waits."""
        installation = self.installation
        with clients.reader(installation.connection) as reader:
            for p, position in enumerate(self.positions()):
                tp = TopicPartition(f"{self.job.prefix}events", p)
                reader.assign([tp])
                reader.seek(tp, position)
                end = reader.end_offsets([tp])[tp]
                until = time.monotonic() + 5
                while True:
                    if any(reader.poll(timeout_ms=300).values()):
                        return False
                    if reader.position(tp) >= end:
                        break
                    if time.monotonic() > until:
                        return False
        return not any(installation.redis.exists(installation.key(p, "outbox")) for p in range(PARTITIONS))

    def _learned(self) -> bool:
        """Whether all committed examples are in a version."""
        if not self.transactions:
            return True
        last: dict[str, int] = {}
        for record in self.topic("learning"):
            last[msgspec.msgpack.decode(record.value)[1]] = record.offset + 1
        kept = self.kept(last)
        return all(max(kept[name], default=0) == end for name, end in last.items())

    def kept(self, names: Any) -> dict[str, dict[int, bytes]]:
        """The versions of models that the store keeps, by the offset behind their last example."""
        installation = self.installation
        return {
            name: {
                int(offset): data
                for offset, data in installation.redis.hgetall(installation.key("models", f"data:{name}")).items()
            }
            for name in names
        }

    def topic(self, name: str) -> Iterator[Written]:
        """All committed records of a topic."""
        return topics_read.whole(self.installation.connection, self.job.prefix + name, holes=self.transactions)

    def end(self) -> None:
        """End the workers in order."""
        self._stop.set()
        self._watch.join(30)
        for worker in self.installation.workers:
            if worker.poll() is None:
                self.installation.stop(worker)

    def verify(self) -> Findings:
        """All checks, from the topics and the stored state; see ``checks.py`` and ``oracle.py``."""
        findings, installation, prefix = Findings(), self.installation, self.job.prefix
        given = checks.Input(prefix, PARTITIONS)
        for topic in RAW:
            for record in self.topic(topic):
                given.take(record)
        drop: Callable[[Any], Any] = (lambda records: records) if self.transactions else checks.once
        everything = list(self.topic("events"))
        log = list(drop(everything))
        findings.counts["events"] = given.events
        findings.counts["log repeated"] = len(everything) - len(log)
        del everything
        checks.check_log(findings, given, log)
        checks.check_dead(findings, given, drop(self.topic("dead-letters")))
        stored = {
            customer.decode(): data
            for p in range(PARTITIONS)
            for customer, data in installation.redis.hgetall(installation.key(p, "profiles")).items()
        }
        checks.check_state(findings, given, stored.values())
        outputs = {name: list(self.topic(name)) for name in ("decisions", *TRIGGERS)}
        sent = [record for name in TRIGGERS for record in outputs[name]]
        checks.check_triggers(findings, sent, outputs["decisions"], self.transactions)
        outputs = {name: list(drop(records)) for name, records in outputs.items()}
        checks.check_caps(
            findings,
            self.campaigns,
            [record.value for record in outputs["decisions"]],
            [record.value for name in TRIGGERS for record in outputs[name]],
        )
        if self.transactions:
            committed = topics_read.commits(installation.connection, self.job.app)
            learning = f"{prefix}learning/"
            checks.check_offsets(
                findings,
                (one for one in committed if not (self.learner_may_go_back and one[0].startswith(learning))),
            )
        sources = [f"{topic}/{p}" for topic in RAW for p in range(RAW_PARTITIONS)]
        oracle.check_replay(findings, self.campaigns, sources, log, outputs, stored, installation.timers())
        if self.transactions:
            names = list(oracle.model_names(self.campaigns))
            oracle.check_models(findings, self.campaigns, self.topic("learning"), self.kept(names))
        return findings

    def said(self, word: str) -> int:
        """How many lines of the workers' logs hold a word."""
        total = 0
        for path in self.installation.folder.glob("worker-*.log"):
            with contextlib.suppress(OSError):
                total += path.read_text(errors="replace").count(word)
        return total


def _resident_mb(pid: int) -> float | None:
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * 4096 / 1e6
    except OSError:
        return None
