"""What a worker takes while it works, sampled from outside: memory, the store's memory, lag and progress by partition."""

from __future__ import annotations

import itertools
import os
import re
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kafka import TopicPartition  # type: ignore[import-untyped]  # it ships no types

from streams import clients, log_reader
from tests.live.cluster import Installation, committed_offsets

EVERY_S = 0.5
SERIES = 40
SMALL_LAG = 2  # the marker of the last transaction, which no position passes
MB = 1 << 20


class Sample(NamedTuple):
    """One look, ``at`` seconds after the start.

    Parameters
    ----------
    rss
        Resident bytes of each worker.
    store
        Bytes that the store says it uses.
    raw
        Records of raw topics that intake has not committed.
    lags, positions
        Records of the log not yet in the state, and how far the state is, by partition.
    """

    at: float
    rss: tuple[int, ...]
    store: int
    raw: int
    lags: tuple[int, ...]
    positions: tuple[int, ...]


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


def standstills(samples: Sequence[Sample], partitions: int) -> list[float]:
    """By partition, the longest time in which it had a lag and did not move, seconds.

    >>> looks = [Sample(at, (), 0, 0, (9,), (where,)) for at, where in ((0.0, 0), (2.0, 5), (5.0, 5), (6.0, 7))]
    >>> standstills(looks, 1)
    [4.0]
    """
    longest, since = [0.0] * partitions, [samples[0].at if samples else 0.0] * partitions
    for before, sample in itertools.pairwise(samples):
        for p in range(partitions):
            if before.lags[p] <= SMALL_LAG:
                since[p] = before.at
            longest[p] = max(longest[p], sample.at - since[p]) if sample.lags[p] > SMALL_LAG else longest[p]
            if sample.positions[p] != before.positions[p]:
                longest[p], since[p] = max(longest[p], sample.at - since[p]), sample.at
    return longest


class Watch(threading.Thread):
    """Samples an installation until told to end.

    Attributes
    ----------
    samples
        In order of time.
    """

    def __init__(self, installation: Installation) -> None:
        super().__init__(daemon=True)
        self._of = installation
        self._ended = threading.Event()
        self._began = time.monotonic()
        self.samples: list[Sample] = []

    def run(self) -> None:
        """Look every half second."""
        of = self._of
        log = [TopicPartition(of.job.prefix + "events", p) for p in range(of.partitions)]
        with clients.reader(of.connection) as reader, clients.admin(of.connection) as admin:
            raw = [
                TopicPartition(of.job.prefix + topic, p)
                for topic in of.job.raw
                for p in reader.partitions_for_topic(of.job.prefix + topic)
            ]
            while not self._ended.is_set():
                ends = {tp: extent.most for tp, extent in log_reader.extents(reader, [*raw, *log]).items()}
                done = committed_offsets(admin, of.job.app)
                positions = tuple(of.position(p) for p in range(of.partitions))
                self.samples.append(
                    Sample(
                        time.monotonic() - self._began,
                        tuple(resident(worker.pid) for worker in of.workers if worker.poll() is None),
                        int(of.redis.info("memory")["used_memory"]),
                        sum(max(0, ends[tp] - done.get(tp, 0)) for tp in raw),
                        tuple(max(0, ends[tp] - at) for tp, at in zip(log, positions, strict=True)),
                        positions,
                    )
                )
                self._ended.wait(EVERY_S)

    def drained(self, patience_s: float) -> None:
        """Wait until nothing is behind and nothing moves for five looks; ends with an error where a worker died."""
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            time.sleep(EVERY_S)
            assert all(worker.poll() is None for worker in self._of.workers), self._of.logs()
            last = self.samples[-5:]
            still = len(self.samples) > 10 and len({s.positions for s in last}) == 1
            if still and all(s.raw <= SMALL_LAG * 16 and max(s.lags) <= SMALL_LAG for s in last):
                return
        raise TimeoutError(f"behind after {patience_s:.0f} s: {self.samples[-1]}")

    def end(self) -> None:
        """Stop sampling."""
        self._ended.set()
        self.join()

    def figures(self) -> dict[str, Any]:
        """What came of it: the second half of the time under load is what the slope is of."""
        samples, partitions = self.samples, self._of.partitions
        busy = [s for s in samples if s.raw > SMALL_LAG * 16 or max(s.lags) > SMALL_LAG] or samples
        memory = [(s.at, sum(s.rss) / MB) for s in busy]
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
            "done_s": [
                round(next(s.at for s in samples if s.positions[p] == samples[-1].positions[p]), 1)
                for p in range(partitions)
            ],
            "longest_standstill_s": [round(s, 1) for s in standstills(samples, partitions)],
            "series": [
                [round(s.at), round(sum(s.rss) / MB), round(s.store / MB), s.raw, list(s.lags)]
                for s in samples[:: max(1, len(samples) // SERIES)]
            ],
            "load_1m": round(os.getloadavg()[0], 1),
        }
