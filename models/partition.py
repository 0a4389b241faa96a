"""A partition: events and due timers in one order, on one clock that never goes back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from schemas.base import Event
from schemas.control import Tick, timer_due

from .draft import Step

Timer = tuple[int, str, str]
"""A timer that is set: due (milliseconds UTC), customer, kind. Timers fire in this order."""


class Partition:
    """Merges due timers with events and keeps partition time.

    Before an event at time t is stepped, all timers due by t fire in (due, id) order, each at its own due time,
    timers set in between included: so the outcome does not depend on how often ticks come.

    Drive it so: ``for event, now in partition.plan(events): partition.apply(event.customer, engine.step(...))``.

    Parameters
    ----------
    clock
        Milliseconds UTC to start from.
    sources
        Names of the ways in (``Event.via``) that time waits for: timers fire up to the least of the highest times seen
        by each, so that a backlog in one can never make a cart look left. Then the sources may be out of step, and each
        event and timer has its own time; the engine sees to it that a customer's time never goes back. Empty: every event
        moves time, as in a file.
    """

    def __init__(self, clock: int = 0, sources: Iterable[str] = ()) -> None:
        self.clock = clock
        self.marks = dict.fromkeys(sources, 0)
        self.horizon: Timer | None = None
        self._due: dict[tuple[str, str], int] = {}
        self._heap: list[Timer] = []
        self._queued: dict[tuple[str, str], int] = {}

    def reach(self, event: Event) -> int:
        """Take note of an event's time; returns the time (milliseconds UTC) up to which timers are due now."""
        marks = self.marks
        if not marks:
            return max(self.clock, event.occurred_at)
        if event.via in marks:
            if event.occurred_at > marks[event.via]:
                marks[event.via] = event.occurred_at
        elif isinstance(event, Tick) and not event.via:
            for source, mark in marks.items():
                marks[source] = max(mark, event.occurred_at)
        return min(marks.values())

    def plan(self, events: Iterable[Event], until: int | None = None) -> Iterator[tuple[Event, int]]:
        """Events with the timers that fall due before each, and the time of each.

        Where timers beyond ``horizon`` are due before an event, it ends there: load them, and plan that event again.

        Parameters
        ----------
        events
            In the order of the log; one that is late does not turn the clock back.
        until
            After the last event, fire the timers due by then (milliseconds UTC); None fires none.
        """
        for event in events:
            due = self.reach(event)
            if self._heap and self._heap[0][0] <= due:
                yield from self._fire(due)
            if self.short_of(due):
                return
            if self.marks:
                self.clock = max(self.clock, due)
                if not isinstance(event, Tick):
                    yield event, event.occurred_at
            else:
                self.clock = max(self.clock, event.occurred_at)
                if not isinstance(event, Tick):
                    yield event, self.clock
        if until is not None:
            yield from self._fire(until)
            self.clock = max(self.clock, until)

    def short_of(self, due: int) -> bool:
        """Whether timers due by ``due`` (milliseconds UTC) may exist that are not known here."""
        return self.horizon is not None and self.horizon[0] <= due

    def _fire(self, until: int) -> Iterator[tuple[Event, int]]:
        heap, horizon = self._heap, self.horizon
        while heap and heap[0][0] <= until and (horizon is None or heap[0] <= horizon):
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
            yield timer_due(customer, kind, due), due if self.marks else self.clock

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

    @property
    def earliest(self) -> int | None:
        """No timer that is known here falls due before this (milliseconds UTC); None where none is known."""
        return self._heap[0][0] if self._heap else None

    def timers(self) -> list[Timer]:
        """All timers that are set, as (due, customer, kind), in order."""
        return sorted((due, *key) for key, due in self._due.items())

    def restore(self, clock: int, timers: Iterable[Timer], horizon: Timer | None = None) -> None:
        """Go on from a clock (milliseconds UTC) and the timers that ``timers`` gave.

        Parameters
        ----------
        horizon
            Where ``timers`` are only the first ones: the last of them. Timers behind it fire once they were given.
        """
        self.clock, self.horizon = clock, horizon
        self._due, self._heap, self._queued = {}, [], {}
        for due, customer, kind in timers:
            self._due[customer, kind] = due
            self._queue((customer, kind), due)
