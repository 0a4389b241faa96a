"""The learner on Apache Kafka, killed and overtaken at each step of a snapshot: models are what the committed log says.

What must come of a log is told by a learner that goes over it once, uninterrupted and without stream or store.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from models.learning.learner import Learner
from models.policy.reading import read
from schemas.base import HOUR_MS
from schemas.codec import decode_event
from schemas.control import ModelPublished
from streams.embedded import Valkey
from streams.emitting import decode_example
from streams.player import Player
from streams.publishers import partition_of
from streams.stepping import State
from tests.live.cluster import Installation, Job
from tests.live.kafka import Elsewhere, KafkaServer
from tests.live.truth import shop
from tests.support import BUSY

pytestmark = pytest.mark.kafka

PARTITIONS = 3
PATIENCE_S = 60.0
KEPT = 20
# Where learners die, one after the other, and the how manieth time that each comes there. Opening announces as well.
Kills = tuple[tuple[str, int], ...]
STORE: Kills = (("learned", 1), ("snapshot", 1), ("snapped", 1), ("learned", 90), ("snapshot", 4), ("snapped", 4))
ANNOUNCING: Kills = (("sent", 2), ("transaction", 2), ("sent", 6), ("transaction", 7))


class Learning:
    """An installation whose learner is a process of its own; notes what its engines adopt."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.adopted: dict[tuple[int, str], list[int]] = defaultdict(list)
        self.models = Learner(read(BUSY, "busy").engine.model_specs()).models

    def learner(self, point: str = "", after: int = 1, halt: bool = False) -> subprocess.Popen[bytes]:
        """Start a learner that dies, or halts, at a point."""
        return self.installation.start(point, after, role="learner", halt=halt)

    def play(self, lines: Sequence[bytes]) -> None:
        """Play calls of the shop; with few ticks, for time is not what is tested."""
        installation = self.installation
        with Player(installation.connection, prefix=installation.job.prefix, tick_ms=HOUR_MS) as player:
            player.play(lines)

    def until(self, done: Callable[[], bool]) -> None:
        """Wait, and note on the way what the engines have adopted."""
        until = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < until, self.installation.logs()
            self.note()
            time.sleep(0.05)
        self.note()

    def died(self, learner: subprocess.Popen[bytes]) -> None:
        """Wait for a learner that kills itself."""
        self.until(lambda: learner.poll() is not None)
        assert learner.returncode == -signal.SIGKILL, self.installation.logs()

    def note(self) -> None:
        """What the engines have adopted now, by partition and model."""
        installation = self.installation
        for partition in range(PARTITIONS):
            data = installation.redis.hget(installation.key(partition, "meta"), "state")
            for name, version in (msgspec.msgpack.decode(data, type=State).models if data else {}).items():
                seen = self.adopted[partition, name]
                if not seen or seen[-1] != version:
                    seen.append(version)

    def kept(self, name: str) -> list[tuple[int, bytes]]:
        """The versions of a model that the store keeps: each by the offset behind its last example."""
        installation = self.installation
        found = installation.redis.lrange(installation.key("models", f"versions:{name}"), 0, -1)
        data = installation.redis.hgetall(installation.key("models", f"data:{name}"))
        offsets = [version.split(b",")[1] for version in found]
        assert set(offsets) == set(data), "data without a version, or a version without data"
        return [(int(offset), data[offset]) for offset in offsets]

    def caught_up(self) -> bool:
        """Whether every example is in a version, and every engine has adopted it."""
        if not self.installation.settled():
            return False
        last: dict[str, int] = {}
        for record in self.installation.records("learning"):
            last[decode_example(record.value or b"").model] = record.origin.offset + 1
        self.note()
        return all(
            (kept := self.kept(name)) and kept[-1][0] == end and self.adopted[partition, name][-1:] == [end]
            for name, end in last.items()
            for partition in range(PARTITIONS)
        )

    def check(self) -> None:
        """All that must hold, whatever has died."""
        truth, states = Learner(read(BUSY, "busy").engine.model_specs()), {}
        wanted = {(name, version) for name in self.models for version, _ in self.kept(name)}
        counts: dict[str, int] = defaultdict(int)
        for record in self.installation.records("learning"):
            example = decode_example(record.value or b"")
            assert record.origin.partition == partition_of(example.model.encode(), PARTITIONS)
            truth.learn(example)
            counts[example.model] += 1
            if (example.model, record.origin.offset + 1) in wanted:
                states[example.model, record.origin.offset + 1] = truth.models[example.model].snapshot(b"key")
        assert min(counts.values()) > 5
        assert len(counts) > 3
        for name in counts:
            kept = self.kept(name)
            assert 1 < len(kept) <= KEPT
            assert [version for version, _ in kept] == sorted({version for version, _ in kept})
            for version, data in kept:
                assert data == states[name, version], (name, version)
            assert kept[-1][1] == truth.models[name].snapshot(b"key")
        self._check_announcements(list(counts))
        assert all(seen == sorted(set(seen)) for seen in self.adopted.values()), self.adopted
        assert max(map(len, self.adopted.values())) > 1

    def _check_announcements(self, names: list[str]) -> None:
        told: dict[tuple[int, str], list[int]] = defaultdict(list)
        for record in self.installation.records("events"):
            event = decode_event(record.value or b"")
            if isinstance(event, ModelPublished):
                told[record.origin.partition, event.model].append(event.version)
        for partition in range(PARTITIONS):
            for name in names:
                versions = told[partition, name]
                assert versions == sorted(versions), "a version was announced behind a later one"
                assert {version for version, _ in self.kept(name)} <= set(versions)


@pytest.fixture
def learning(kafka: KafkaServer | Elsewhere, tmp_path: Path) -> Iterator[Learning]:
    name = f"t{uuid4().hex[:10]}"
    (tmp_path / "workers").mkdir()
    with Valkey(tmp_path / "valkey") as store:
        job = Job(kafka.bootstrap, store.url, name, f"{name}-", BUSY, session_s=1.5, learn_every=20)
        with Installation(job, PARTITIONS, tmp_path / "workers") as installation:
            for role in ("intake", "engine"):
                installation.start(role=role)
            yield Learning(installation)


@pytest.mark.parametrize("kills", [STORE, ANNOUNCING], ids=["around the store", "while announcing"])
def test_a_kill_at_any_step_of_a_snapshot_changes_no_model(learning: Learning, kills: Kills) -> None:
    lines = shop()
    learning.play(lines[: len(lines) // 2])
    for number, (point, after) in enumerate(kills):
        learner = learning.learner(point, after)
        if number == len(kills) // 2:
            learning.play(lines[len(lines) // 2 :])
        learning.died(learner)
    learning.learner()
    learning.until(learning.caught_up)
    learning.check()


def test_learners_that_were_overtaken_write_nothing(learning: Learning) -> None:
    """Each is suspended in the middle of a snapshot for longer than its session lasts; all wake when another has gone on."""
    installation, lines = learning.installation, shop()
    learning.play(lines[: len(lines) // 2])
    halted = []
    for point, after in (("learned", 30), ("snapshot", 2), ("snapped", 2), ("sent", 5)):
        halted.append(learning.learner(point, after, halt=True))
        os.waitid(os.P_PID, halted[-1].pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert halted[-1].poll() is None, installation.logs()
    last = learning.learner()
    learning.until(learning.caught_up)
    for worker in halted:
        worker.send_signal(signal.SIGCONT)
    learning.play(lines[len(lines) // 2 :])
    learning.until(learning.caught_up)
    learning.check()
    for worker in (*halted, last):
        installation.stop(worker)
