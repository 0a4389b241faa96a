"""Events that are unsorted within a bound, put in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from schemas.base import Event


def reordered(events: Iterable[Event], bound_ms: int) -> Iterator[Event]:
    """Events in order of (occurred_at, id), as long as none comes more than ``bound_ms`` after a later one.

    Holds back what occurred within the bound of the latest event seen. One that is later than that passes through
    at once: the engine counts it as late.

    Parameters
    ----------
    bound_ms
        Milliseconds, over 0.

    >>> from schemas.control import tick
    >>> [e.occurred_at for e in reordered([tick(3), tick(1), tick(2), tick(9)], 5)]
    [1, 2, 3, 9]
    """
    heap: list[tuple[int, str, int, Event]] = []
    latest = 0
    for number, event in enumerate(events):
        heappush(heap, (event.occurred_at, event.id, number, event))
        latest = max(latest, event.occurred_at)
        while heap and heap[0][0] < latest - bound_ms:
            yield heappop(heap)[3]
    while heap:
        yield heappop(heap)[3]
