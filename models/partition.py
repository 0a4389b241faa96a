"""A partition: events and due timers in one order, on one clock that never goes back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from schemas.base import Event
from schemas.control import Tick, timer_due

from .draft import Step


class Partition:
    """Merges due timers with events and keeps partition time.

    Before an event at time t is stepped, all timers due by t fire in (due, id) order, each at its own due time,
    timers set in between included: so the outcome does not depend on how often ticks come.

    Drive it so: ``for event, now in partition.plan(events): partition.apply(event.customer, engine.step(...))``.
    """

    def __init__(self, clock: int = 0) -> None:
        self.clock = clock
        self._due: dict[tuple[str, str], int] = {}
        self._heap: list[tuple[int, str, str]] = []
        self._queued: dict[tuple[str, str], int] = {}

    def plan(self, events: Iterable[Event], until: int | None = None) -> Iterator[tuple[Event, int]]:
        """Events with the timers that fall due before each, and partition time for each.

        Parameters
        ----------
        events
            In the order of the log; one that is late does not turn the clock back.
        until
            After the last event, fire the timers due by then (milliseconds UTC); None fires none.
        """
        for event in events:
            at = event.occurred_at
            now = at if at > self.clock else self.clock
            if self._heap and self._heap[0][0] <= now:
                yield from self._fire(now)
            self.clock = now
            if not isinstance(event, Tick):
                yield event, self.clock
        if until is not None:
            yield from self._fire(until)
            self.clock = max(self.clock, until)

    def _fire(self, until: int) -> Iterator[tuple[Event, int]]:
        heap = self._heap
        while heap and heap[0][0] <= until:
            due, customer, kind = heappop(heap)
            key = (customer, kind)
            if self._queued.get(key) == due:
                del self._queued[key]
            wanted = self._due.get(key)
            if wanted is None:
                continue
            if wanted != due:
                self._queue(key, wanted)
                continue
            del self._due[key]
            self.clock = max(self.clock, due)
            yield timer_due(customer, kind, due), self.clock

    def apply(self, customer: str, step: Step) -> None:
        """Take note of the timers that a step set or took away."""
        for kind, due in step.timers:
            key = (customer, kind)
            if due:
                self._due[key] = due
                self._queue(key, due)
            else:
                self._due.pop(key, None)

    def _queue(self, key: tuple[str, str], due: int) -> None:
        """Queue a timer; one that is queued for an earlier time comes back by itself, so each has one entry."""
        queued = self._queued.get(key)
        if queued is None or due < queued:
            heappush(self._heap, (due, *key))
            self._queued[key] = due

    def timers(self) -> list[tuple[int, str, str]]:
        """All timers that are set, as (due, customer, kind), in order."""
        return sorted((due, *key) for key, due in self._due.items())

    def restore(self, clock: int, timers: Iterable[tuple[int, str, str]]) -> None:
        """Go on from a clock (milliseconds UTC) and the timers that ``timers`` gave."""
        self.clock = clock
        self._due, self._heap, self._queued = {}, [], {}
        for due, customer, kind in timers:
            self._due[customer, kind] = due
            self._queue((customer, kind), due)
