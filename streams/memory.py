"""The garbage collector, told what this process is like."""

from __future__ import annotations

import gc

YOUNG, MIDDLE, OLD = 50_000, 20, 50


def settle() -> None:
    """Leave what start-up made out of collections, and collect more rarely.

    Profiles and events are values without cycles and are freed by their reference counts; the collector finds next to
    nothing and its default thresholds cost an eighth of the time of a replay (``make bench-speed``).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
