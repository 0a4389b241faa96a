"""Alerts that fire when a worker is stopped under load, and clear when it is back: a real Prometheus, the shipped rules."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from streams import embedded, topics
from streams.connection import KafkaConnection
from streams.environment import kafka_from_environment
from streams.player import Player
from streams.ports import free_port
from streams.topic_plan import TopicPlan
from tests.live.prometheus import Prometheus, program
from tests.live.truth import shop

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
PARTS = 120
OF_A_STOPPED_WORKER = {"RapportWorkerDown", "RapportNoWorker", "RapportBehind"}

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(program() is None, reason="Prometheus is not installed: apt-get install prometheus"),
]


@dataclass
class Watched:
    """An installation, its worker, and who watches it."""

    kafka: KafkaConnection
    redis: str
    folder: Path
    worker_port: int
    lag_port: int
    stack: ExitStack
    started: int = 0

    def run(self, *command: str) -> subprocess.Popen[bytes]:
        """A process of ``rapport``, ended with the test."""
        self.started += 1
        log = self.stack.enter_context((self.folder / f"{command[0]}-{self.started}.log").open("wb"))
        where = ["--kafka", self.kafka.address, "--redis", self.redis, "--clock", "event"]
        process = subprocess.Popen(
            [sys.executable, "-m", "streams", *command, *where], cwd=ROOT, stdout=log, stderr=log
        )
        self.stack.callback(end, process)
        return process

    def worker(self) -> subprocess.Popen[bytes]:
        campaigns = str(ROOT / "examples" / "campaigns.toml")
        return self.run(
            "worker", "--no-transactions", "--campaigns", campaigns, "--metrics-port", str(self.worker_port)
        )

    def words(self) -> str:
        """What the processes said last."""
        return "\n".join(
            f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in self.folder.glob("*.log")
        )

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something of the world outside."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}\n{self.words()}"
            time.sleep(0.1)


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


class Load(threading.Thread):
    """Plays the shop part by part, so that something comes in all the time."""

    def __init__(self, kafka: KafkaConnection, lines: Sequence[bytes]) -> None:
        super().__init__(daemon=True)
        self._kafka = kafka
        self._lines = lines
        self.parts = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        size = len(self._lines) // PARTS + 1
        with Player(self._kafka) as player:
            while self.parts < PARTS and not self.stopped.wait(0.25):
                player.play(self._lines[self.parts * size : (self.parts + 1) * size])
                self.parts += 1


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with ExitStack() as stack:
        servers = stack.enter_context(embedded.start(tmp_path / "stack"))
        kafka = kafka_from_environment({}, servers.kafka)
        topics.create(kafka, TopicPlan(partitions=1, raw_partitions=1, clock="event"))
        yield Watched(kafka, servers.redis, tmp_path, free_port("worker"), free_port("lag"), stack)


def test_alerts_fire_when_a_worker_is_stopped_under_load_and_clear_when_it_is_back(watched: Watched) -> None:
    watched.run("lag", "--interval", "0.25", "--metrics-port", str(watched.lag_port))
    worker = watched.worker()
    targets = {"rapport": f"127.0.0.1:{watched.worker_port}", "rapport-lag": f"127.0.0.1:{watched.lag_port}"}
    load = Load(watched.kafka, shop())
    watched.stack.callback(load.stopped.set)
    with Prometheus(watched.folder / "prometheus", targets) as prometheus:

        def firing() -> set[str]:
            return {name for name, state in prometheus.alerts().items() if state == "firing"} & OF_A_STOPPED_WORKER

        watched.until(lambda: prometheus.value("sum(rapport_lane_open)") >= 5, "a worker at work")
        load.start()
        watched.until(lambda: prometheus.value("sum(rapport_records_total)") > 100, "records done")
        watched.until(lambda: not firing(), "a quiet beginning")
        assert load.is_alive(), "there was no load any more"
        worker.kill()
        watched.until(lambda: firing() == OF_A_STOPPED_WORKER, "alerts of a worker that was stopped")
        assert load.parts > 1
        watched.until(lambda: not load.is_alive(), "all of it played")
        watched.until(lambda: firing() == OF_A_STOPPED_WORKER, "the alerts still there, as nobody does the work")
        watched.worker()
        watched.until(lambda: not prometheus.alerts().keys() & OF_A_STOPPED_WORKER, "alerts cleared")
        watched.until(lambda: prometheus.value("sum(rapport_group_lag_records)") == 0, "all of it done")
