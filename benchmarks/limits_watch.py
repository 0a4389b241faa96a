"""What a worker takes while it works, sampled from outside: memory, the store's memory, lag and progress by partition."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import statistics
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kafka import TopicPartition  # type: ignore[import-untyped]  # it ships no types
from kafka.errors import KafkaError  # type: ignore[import-untyped]  # it ships no types
from redis.exceptions import RedisError

from benchmarks.machine import say
from streams import clients, log_reader
from streams.errors import StreamError
from tests.live.cluster import Installation, committed_offsets

EVERY_S = 0.5
SAY_S = 10.0
STILL = 5
STALL_S = 120.0
SERIES = 40
MARKERS = 32
"""Offsets at the end of a partition that may be markers of transactions alone, which no position passes: one for each
producer that ended its last one there."""
AWAY = (KafkaError, StreamError, RedisError, OSError)
MB = 1 << 20


class Sample(NamedTuple):
    """One look, ``at`` seconds after the start.

    Parameters
    ----------
    rss
        Resident bytes of the worker.
    store
        Bytes that the store says it uses.
    raw
        Records of raw topics that intake has not committed.
    lags, positions
        Offsets of the log not yet in the state, markers included, and how far the state is, by partition.
    progress
        Changes with every commit, one that fires timers of a record that is not done included.
    """

    at: float
    rss: int
    store: int
    raw: int
    lags: tuple[int, ...]
    positions: tuple[int, ...]
    progress: tuple[bytes, ...] = ()


def resident(pid: int) -> int:
    """Bytes in memory of a process; 0 once it is gone, or where the system does not tell."""
    try:
        found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares: how much is gained in a unit of the first.

    >>> slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)])
    2.0
    """
    if len(points) < 2:
        return 0.0
    x, y = statistics.fmean(p[0] for p in points), statistics.fmean(p[1] for p in points)
    spread = sum((p[0] - x) ** 2 for p in points)
    return sum((p[0] - x) * (p[1] - y) for p in points) / spread if spread else 0.0


def standstills(samples: Sequence[Sample], partitions: int, idle: int) -> list[float]:
    """By partition, the longest time in which it had a lag of more than ``idle`` and did not move, seconds.

    >>> looks = [Sample(at, 0, 0, 0, (9,), (where,)) for at, where in ((0.0, 0), (2.0, 5), (5.0, 5), (6.0, 7))]
    >>> standstills(looks, 1, 2)
    [4.0]
    """
    longest, since = [0.0] * partitions, [samples[0].at if samples else 0.0] * partitions
    for before, sample in itertools.pairwise(samples):
        for p in range(partitions):
            if before.lags[p] <= idle:
                since[p] = before.at
            longest[p] = max(longest[p], sample.at - since[p]) if sample.lags[p] > idle else longest[p]
            if sample.positions[p] != before.positions[p]:
                longest[p], since[p] = max(longest[p], sample.at - since[p]), sample.at
    return longest


def settled(samples: Sequence[Sample], partitions: Sequence[int]) -> int:
    """The first look, by its index, at which all that had come was in the state of these partitions; the last where none was.

    What lies behind the position is then markers alone: it neither moves nor shrinks until the next look, and no record is
    done in part. Versions that the learner announces later do not count.

    >>> looks = [(5, 0, b"0,0"), (0, 9, b"4,2"), (0, 9, b"4,2"), (0, 3, b"10,0"), (0, 3, b"10,0"), (0, 1, b"14,0")]
    >>> settled([Sample(0.0, 0, 0, raw, (lag,), (0,), (progress,)) for raw, lag, progress in looks], [0])
    3
    """
    for index, (look, after) in enumerate(itertools.pairwise(samples)):
        if not look.raw and all(
            look.lags[p] <= MARKERS
            and look.lags[p] == after.lags[p]
            and look.progress[p] == after.progress[p]
            and look.progress[p].endswith(b",0")
            for p in partitions
        ):
            return index
    return len(samples) - 1


class Watch(threading.Thread):
    """Samples an installation with one worker until told to end, and says every ten seconds how far it is.

    Attributes
    ----------
    samples
        In order of time.
    missed
        Looks that broker or store did not answer.
    """

    def __init__(self, installation: Installation, worker: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self._of = installation
        self._worker = worker
        self._log = [TopicPartition(installation.job.prefix + "events", p) for p in range(installation.partitions)]
        self._ended = threading.Event()
        self._began = time.monotonic()
        self._said = self._began
        self.samples: list[Sample] = []
        self.missed = 0

    def run(self) -> None:
        """Look every half second; where one is not answered, go on with new connections."""
        while not self._ended.is_set():
            try:
                with clients.reader(self._of.connection) as reader, clients.admin(self._of.connection) as admin:
                    self._look(reader, admin)
            except AWAY as error:
                self.missed += 1
                say(f"not answered: {error!r:.200}")
                self._ended.wait(EVERY_S)

    def _look(self, reader: Any, admin: Any) -> None:
        of, names = self._of, [self._of.job.prefix + topic for topic in self._of.job.raw]
        raw = [TopicPartition(name, p) for name in names for p in reader.partitions_for_topic(name)]
        while not self._ended.is_set():
            ends = {tp: extent.most for tp, extent in log_reader.extents(reader, [*raw, *self._log]).items()}
            done = committed_offsets(admin, of.job.app)
            progress = tuple(of.redis.hget(of.key(p, "meta"), "pos") or b"0,0" for p in range(of.partitions))
            positions = tuple(int(one.split(b",")[0]) for one in progress)
            self.samples.append(
                Sample(
                    time.monotonic() - self._began,
                    resident(self._worker.pid),
                    int(of.redis.info("memory")["used_memory"]),
                    sum(max(0, ends[tp] - done.get(tp, 0)) for tp in raw),
                    tuple(max(0, ends[tp] - at) for tp, at in zip(self._log, positions, strict=True)),
                    positions,
                    progress,
                )
            )
            self._say(self.samples[-1])
            self._ended.wait(EVERY_S)

    def _say(self, last: Sample) -> None:
        if time.monotonic() - self._said >= SAY_S:
            self._said = time.monotonic()
            say(
                f"  {last.at:.0f} s: behind {last.raw:,} raw, {', '.join(f'{lag:,}' for lag in last.lags)} of the log; "
                f"worker {last.rss / MB:.0f} MB, store {last.store / MB:.0f} MB"
            )

    def drained(self, patience_s: float) -> None:
        """Wait until nothing is left to read and nothing moves for five looks.

        Raises
        ------
        TimeoutError
            Where it is not done after ``patience_s``, or nothing moved, or could be seen, for ``STALL_S``.
        """
        until, moved, before = time.monotonic() + patience_s, time.monotonic(), None
        while time.monotonic() < until:
            time.sleep(EVERY_S)
            assert self._worker.poll() is None, self._of.logs()
            last = self.samples[-STILL:]
            now = (last[-1].raw, last[-1].progress) if last else None
            if now != before:
                moved, before = time.monotonic(), now
            still = len(self.samples) > 2 * STILL and len({s.progress for s in last}) == 1
            if still and all(not s.raw and max(s.lags) <= MARKERS for s in last) and not self._left():
                return
            if time.monotonic() - moved > STALL_S:
                raise TimeoutError(f"nothing moved for {STALL_S:.0f} s: {last[-1:]}\n{self._of.logs()}")
        raise TimeoutError(f"behind after {patience_s:.0f} s: {self.samples[-1:]}")

    def _left(self) -> bool:
        """Whether a record lies behind a position, and not markers alone."""
        with contextlib.suppress(*AWAY), clients.reader(self._of.connection) as reader:
            for tp, extent in log_reader.extents(reader, self._log).items():
                rest = extent._replace(start=self._of.position(tp.partition))
                if any(True for _ in log_reader.through(reader, tp, rest)):
                    return True
            return False
        return True

    def end(self) -> None:
        """Stop sampling."""
        self._ended.set()
        self.join()

    def figures(self) -> dict[str, Any]:
        """What came of it: the second half of the time under load is what the slope is of."""
        samples, partitions = self.samples, self._of.partitions
        done = settled(samples, range(partitions))
        busy = samples[: done + 1]
        idle = max(busy[-1].lags)
        memory = [(s.at, s.rss / MB) for s in busy]
        late = memory[len(memory) // 2 :]
        return {
            "seconds": round(busy[-1].at - busy[0].at, 1),
            "rss_mb": {
                "median": round(statistics.median(m for _, m in memory), 1),
                "max": round(max(m for _, m in memory), 1),
                "slope_a_minute_second_half": round(60 * slope(late), 2),
            },
            "store_mb": {"first": round(samples[0].store / MB, 1), "max": round(max(s.store for s in samples) / MB, 1)},
            "lag_max": {
                "raw": max(s.raw for s in samples),
                "log": [max(s.lags[p] for s in samples) for p in range(partitions)],
            },
            "log_records": list(samples[-1].positions),
            "moved_first_s": [
                round(next((s.at for s in samples if s.positions[p] > samples[0].positions[p]), -1.0), 1)
                for p in range(partitions)
            ],
            "done_s": [round(samples[settled(samples, [p])].at, 1) for p in range(partitions)],
            "longest_standstill_s": [round(s, 1) for s in standstills(busy, partitions, idle)],
            "looks_missed": self.missed,
            "series": [
                [round(s.at), round(s.rss / MB), round(s.store / MB), s.raw, list(s.lags)]
                for s in samples[:: max(1, len(samples) // SERIES)]
            ],
            "load_1m": round(os.getloadavg()[0], 1),
        }
