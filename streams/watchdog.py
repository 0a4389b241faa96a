"""The watchdog: ends a process whose work stands still although nothing outside is waited for.

State is safe whenever a worker dies, so a fresh process is the remedy: whoever supervises the worker starts it anew. What
waits for broker or store gives up within its limits and tries again, and that counts as a sign of life; so does each
commit within a long batch.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
from collections.abc import Callable, Hashable, Iterable
from typing import NoReturn, Self

import structlog

from .errors import StreamError
from .lanes import Lane

log = structlog.get_logger(__name__)
STALL_S = 120.0
END_S = 60.0
LOOKS = 24
EXIT_CODE = 1


class StalledError(StreamError):
    """Work that stands still though nothing is waited for."""


class LaneWatch:
    """Whether a lane that has something to do has shown no sign of life for too long.

    Time is counted in looks, so that a process that was suspended is not blamed for it.

    Parameters
    ----------
    stall_s
        How long that is, seconds.
    """

    def __init__(self, stall_s: float = STALL_S) -> None:
        self.stall_s = stall_s
        self._seen: dict[Hashable, tuple[Hashable, int]] = {}

    def look(self, lanes: Iterable[Lane]) -> Lane | None:
        """A lane that has not moved for so many looks that ``stall_s`` seconds are over."""
        seen: dict[Hashable, tuple[Hashable, int]] = {}
        stalled = None
        for lane in lanes:
            progress, looks = self._seen.get(lane.tp, (None, 0))
            looks = 0 if lane.drained or lane.progress != progress else looks + 1
            seen[lane.tp] = lane.progress, looks
            if looks > LOOKS:
                stalled = lane
        self._seen = seen
        return stalled

    def stalled_s(self, lane: Lane) -> float:
        """How long a lane that has something to do has shown no sign of life, seconds; as of the last look."""
        progress, looks = self._seen.get(lane.tp, (None, 0))
        return looks * self.stall_s / LOOKS if progress == lane.progress else 0.0

    async def watch(self, lanes: Iterable[Lane], stalled: Callable[[StalledError], None]) -> None:
        """Look again and again; ``stalled`` is called with what there is to say of a lane that stands still."""
        while True:
            await asyncio.sleep(self.stall_s / LOOKS)
            if (lane := self.look(lanes)) is not None:
                where = f"{lane.tp.topic}/{lane.tp.partition}"
                log.error("stands still", topic=lane.tp.topic, partition=lane.tp.partition, where=lane.where())
                found = f"no progress for {self.stall_s:g} s at offset {lane.processed}"
                stalled(StalledError(where, found, "start the worker again: nothing is lost"))
                return


class LoopWatch:
    """A thread that ends the process where its event loop stands still, or does not come to its end.

    Faust keeps the membership of a group alive in a thread of its own: nobody else would notice.

    Parameters
    ----------
    stall_s, end_s
        How long the loop may stand still, and how long an end may take once it has begun, seconds.
    end
        Ends the process, given what is wrong.
    """

    def __init__(
        self, stall_s: float = STALL_S, end_s: float = END_S, end: Callable[[str], None] | None = None
    ) -> None:
        self._limits = stall_s, end_s
        self._end = end or _end
        self._beats = 0
        self._ending = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    async def beat(self, until: asyncio.Event) -> None:
        """Show that the loop runs, until an end begins."""
        while not until.is_set():
            self._beats += 1
            try:
                await asyncio.wait_for(until.wait(), self._limits[0] / LOOKS / 2)
            except TimeoutError:
                continue
        self._ending = True

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        seen, looks = (-1, False), 0
        while not self._closed.wait(self._limits[self._ending] / LOOKS):
            now = self._beats, self._ending
            seen, looks = now, looks + 1 if now == seen else 0
            if looks > LOOKS:
                what = "no end after" if self._ending else "an event loop that stands still for"
                self._end(f"{what} {self._limits[self._ending]:g} s")
                return


def _end(what: str) -> NoReturn:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    where = [line for entry in traceback.format_stack(frame)[-6:] for line in entry.strip().splitlines()]
    log.error("ends", because=f"found {what}; start the worker again: nothing is lost", where=where)
    sys.stderr.flush()
    os._exit(EXIT_CODE)
