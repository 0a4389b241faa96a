"""What a worker has counted since it started: plain numbers, read when somebody asks. Lanes come and go, these stay."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from aiokafka import TopicPartition

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LATENCIES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


class Buckets:
    """A histogram: how many values fell into each bucket, and their sum.

    Parameters
    ----------
    bounds
        Upper bounds, ascending; values above the last have a bucket of their own.

    >>> sizes = Buckets((1, 10))
    >>> for size in (1, 3, 10, 99): sizes.add(size)
    >>> sizes.cumulative(), sizes.sum
    ([('1', 1), ('10', 3), ('+Inf', 4)], 113.0)
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[str, int]]:
        """Values up to each bound, as Prometheus takes them."""
        total, found = 0, []
        for bound, count in zip((*self.bounds, None), self.counts, strict=True):
            total += count
            found.append(("+Inf" if bound is None else f"{bound:g}", total))
        return found


class Timings(dict[str, Buckets]):
    """Seconds by what was done, a histogram each.

    >>> timings = Timings()
    >>> timings.add("commit", 0.002)
    >>> timings["commit"].sum
    0.002
    """

    def add(self, what: str, seconds: float) -> None:
        """One more of these."""
        found = self.get(what)
        if found is None:
            found = self[what] = Buckets(SECONDS)
        found.add(seconds)


class Tallies:
    """The numbers of one worker.

    Attributes
    ----------
    counts
        What steps counted, by their names: ``suppressed|campaign|reason``, ``decided|campaign|arm``, ...
    intake
        What intake counted: ``records``, ``dead|reason``, repairs.
    records, opened
        Records done, and how often a lane was opened, by partition.
    outputs
        Records that were published, by topic without prefix.
    batches
        Records a batch, by stage.
    timings
        Seconds of what a stage does with one batch, by stage.
    latency
        Seconds from the arrival of what led to a trigger to its publication, with the wall clock alone.
    log_latency
        Seconds from a record's arrival in the log to the publication of what it led to, of the oldest of each batch;
        where the broker sets the timestamps.
    asked, missed
        Records whose customer's profile was looked for in memory, and customers of whom it was not there.
    changed
        When a model's version changed in this worker, seconds since 1970.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.intake: Counter[str] = Counter()
        self.records: Counter[TopicPartition] = Counter()
        self.opened: Counter[TopicPartition] = Counter()
        self.outputs: Counter[str] = Counter()
        self.batches = {stage: Buckets(SIZES) for stage in ("intake", "engine", "learner")}
        self.timings = {stage: Timings() for stage in ("intake", "engine", "learner")}
        self.latency = Buckets(LATENCIES)
        self.log_latency = Buckets(LATENCIES)
        self.asked = 0
        self.missed = 0
        self.changed: dict[str, float] = {}
        self.killed = False
        self.loop_delay_s = 0.0
