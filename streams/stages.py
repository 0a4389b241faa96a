"""Where the time of a partition goes, stage by stage."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from .tallies import Timings


class Stages:
    """Seconds by stage, and records that went through them all.

    Parameters
    ----------
    timings
        Told each time that is taken, besides.

    >>> stages = Stages()
    >>> stages.add("step", 0.5); stages.count = 1000
    >>> stages.microseconds()
    {'step': 500.0}
    """

    def __init__(self, timings: Timings | None = None) -> None:
        self._timings = timings
        self.seconds: Counter[str] = Counter()
        self.count = 0

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what is done inside."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - started)

    def add(self, stage: str, seconds: float) -> None:
        """Add time that was measured elsewhere."""
        self.seconds[stage] += seconds  # type: ignore[assignment]  # typed for whole numbers
        if self._timings is not None:
            self._timings.add(stage, seconds)

    def microseconds(self) -> dict[str, float]:
        """Microseconds a record, by stage."""
        return {stage: round(1e6 * seconds / max(1, self.count), 1) for stage, seconds in self.seconds.items()}
