"""Runs a peer of ``benchmarks/throughput.py`` once, in a process of its own, and reads what it tells."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import msgspec

from benchmarks.machine import ROOT
from benchmarks.peers.meter import Task
from benchmarks.throughput_load import create, fill, keyed
from schemas.base import HOUR_MS
from streams.children import spawn
from streams.settings import Limits
from streams.topic_plan import DECISIONS, OUTBOUND
from tests.live.cluster import Installation, Job

STILL_S = 3.0
TICK_MS = HOUR_MS
"""Event time between ticks: live they come every two seconds, in which thousands of records pass."""
JOINED_S = 8.0
CAMPAIGNS = ROOT / "examples" / "campaigns.toml"
TICKS = os.sysconf("SC_CLK_TCK")

Figures = dict[str, Any]


class SkippedError(Exception):
    """A peer that does not run here, and why."""


@dataclass(frozen=True)
class Place:
    """Where peers run.

    Parameters
    ----------
    broker, redis
        Addresses.
    broker_pid, store_pid
        Their processes.
    transactions
        Whether the broker has them.
    folder
        For logs and state.
    patience_s
        How long a run may take, seconds; then its peer is skipped.
    """

    broker: str
    redis: str
    broker_pid: int
    store_pid: int
    transactions: bool
    folder: Path
    patience_s: float = 600.0

    def scratch(self) -> Path:
        """A new folder."""
        made = self.folder / f"run-{uuid4().hex[:8]}"
        made.mkdir()
        return made


def cpu_s(pid: int) -> float:
    """Processor seconds that a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def python_peer(
    place: Place, module: str, topic: str, count: int, option: int = 0, folder: Path | None = None
) -> Figures:
    """Run ``benchmarks.peers.MODULE`` on a topic; raises ``SkippedError`` where it fails."""
    task = Task(place.broker, topic, count, folder or place.scratch(), option)
    command = [sys.executable, "-m", f"benchmarks.peers.{module}", task.broker, topic, str(count), str(task.folder)]
    command += [str(option)] if option else []
    before = cpu_s(place.broker_pid)
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=place.patience_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise SkippedError(f"not done in {place.patience_s:.0f} s") from None
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"records"')]
    if done.returncode or not lines:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise SkippedError(f"ended with {done.returncode}: {' '.join(words)[:300]}")
    found: Figures = json.loads(lines[-1])
    return {**found, "broker_cpu_s": cpu_s(place.broker_pid) - before, "processes": 1}


def keyed_peer(place: Place, module: str, raws: list[bytes], option: int = 0) -> Figures:
    """Run a peer of the pipeline on a topic of its own: it may write into it."""
    topic = f"raw-{uuid4().hex[:8]}"
    fill(place.broker, topic, keyed(raws))
    folder = place.scratch()
    create(place.broker, Task(place.broker, topic, len(raws), folder).triggers)
    return python_peer(place, module, topic, len(raws), option, folder)


def engine_peer(place: Place, raws: list[bytes]) -> Figures:
    """Run the engine in a process of its own, without a broker."""
    folder = place.scratch()
    (folder / "records").write_bytes(b"\n".join(raws))
    return python_peer(place, "pipeline_engine", "none", len(raws), folder=folder)


class Workers(Installation):
    """An installation whose workers tell what they did."""

    def __enter__(self) -> Self:
        return self

    def begin(self) -> subprocess.Popen[bytes]:
        """Start a worker."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        told = log.with_suffix(".json")
        told.write_bytes(msgspec.json.encode(self.job))
        env = {**os.environ, "TEST_WORKER": str(told), "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-m", "benchmarks.peers.pipeline_rapport"]
        worker = spawn(command, ROOT, log, env)
        self.workers.append(worker)
        return worker

    def until_still(self, patience_s: float) -> None:
        """Wait until the engine's positions stand still for three seconds."""
        until, moved, last = time.monotonic() + patience_s, time.monotonic(), -1
        while time.monotonic() - moved < STILL_S or not last:
            if time.monotonic() > until or any(worker.poll() is not None for worker in self.workers):
                raise SkippedError(f"not done: {self.logs()[-300:]}")
            position = sum(self.position(partition) for partition in range(self.partitions))
            if position != last:
                moved, last = time.monotonic(), position
            time.sleep(0.05)

    def told(self) -> list[Figures]:
        """End all workers in order; what each tells."""
        for worker in self.workers:
            self.stop(worker)
        logs = [(self.folder / f"worker-{number}.log").read_text() for number in range(len(self.workers))]
        return [json.loads(log.rpartition("\nresult ")[2].splitlines()[0]) for log in logs]


def rapport(
    place: Place,
    raws: list[bytes],
    workers: int = 1,
    partitions: int = 1,
    raw_partitions: int = 1,
    batch: int = Limits().records,
) -> Figures:
    """Workers of all roles on an installation of their own.

    One worker starts when all records are there. Several join first, are suspended while the records are played, and
    go on together: that is when their clock starts, also for one worker on several partitions.
    """
    job = Job.shipped(
        place.broker,
        place.redis,
        CAMPAIGNS.read_text(),
        transactions=place.transactions,
        records=batch,
        session_s=10.0 if partitions == 1 else 60.0,
    )
    folder = place.scratch()
    try:
        with Workers(job, partitions, folder, raw_partitions) as installation:
            if partitions == 1:
                installation.play(raws, tick_ms=TICK_MS)
                resumed, used = 0.0, [0.0] * workers
                watched = _watched(place)
                installation.started(installation.begin())
            else:
                resumed, used = _together(installation, workers, raws)
                watched = _watched(place)
            installation.until_still(place.patience_s)
            broker_s, store_s = watched()
            installation.wait()
            told = installation.told()
            topics = [topic for topic in OUTBOUND if topic != DECISIONS]
            triggers = sum(len(installation.values(topic)) for topic in topics)
    except AssertionError as error:
        raise SkippedError(str(error)[-300:]) from error
    first = resumed or min(worker["first"] for worker in told)
    cpu = sum(w["cpu_at_last_s"] - at if resumed else w["cpu_s"] for w, at in zip(told, used, strict=True))
    return {
        "records": len(raws),
        "seconds": max(worker["last"] for worker in told) - first,
        "cpu_s": cpu,
        "peak_mb": sum(worker["peak_mb"] for worker in told),
        "steps": sum(worker["steps"] for worker in told),
        "opened": sum(worker["opened"] for worker in told),
        "triggers": triggers,
        "broker_cpu_s": broker_s,
        "store_cpu_s": store_s,
        "processes": workers,
    }


def _watched(place: Place) -> Callable[[], tuple[float, float]]:
    """Gives processor seconds of broker and store since now."""
    pids = (place.broker_pid, place.store_pid)
    before = [cpu_s(pid) for pid in pids]

    def since() -> tuple[float, float]:
        broker, store = (cpu_s(pid) - at for pid, at in zip(pids, before, strict=True))
        return broker, store

    return since


def _together(installation: Workers, workers: int, raws: list[bytes]) -> tuple[float, list[float]]:
    """Let workers join, then suspend them until all records are there; when they go on, and what each had used by then."""
    for _ in range(workers):
        installation.started(installation.begin())
    time.sleep(JOINED_S)  # the last rebalance, and the opening of all partitions
    for worker in installation.workers:
        worker.send_signal(signal.SIGSTOP)
    installation.play(raws, tick_ms=TICK_MS)
    used = [cpu_s(worker.pid) for worker in installation.workers]
    resumed = time.perf_counter()
    for worker in installation.workers:
        worker.send_signal(signal.SIGCONT)
    return resumed, used
