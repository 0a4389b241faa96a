"""Events that are unsorted within a bound, put in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from schemas.base import Event
from schemas.identity import Linked

Key = tuple[int, str, bool]


def order(event: Event) -> Key:
    """What events are sorted by: (occurred_at, id); of the two that one identify call becomes, the link comes first.

    >>> from schemas.control import tick
    >>> order(tick(3)) < order(tick(4))
    True
    """
    return event.occurred_at, event.id.removesuffix("#link"), not isinstance(event, Linked)


def reordered(events: Iterable[Event], bound_ms: int) -> Iterator[Event]:
    """Events in the order of :func:`order`, as long as none comes more than ``bound_ms`` after a later one.

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
    heap: list[tuple[Key, int, Event]] = []
    latest = 0
    for number, event in enumerate(events):
        heappush(heap, (order(event), number, event))
        latest = max(latest, event.occurred_at)
        while heap and heap[0][0][0] < latest - bound_ms:
            yield heappop(heap)[2]
    while heap:
        yield heappop(heap)[2]
