"""A look at single records of many partitions at once: the first from a place on, and the last."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kafka import TopicPartition  # type: ignore[import-untyped]  # it ships no types

from . import clients
from .log_reader import POLL_MS, Extent
from .topic_plan import BROKERS_TIME

AROUND = 16
"""Offsets looked at before a place, and after it."""
BACK = (2, 16, 256)
"""How far back from the end the last record is looked for: closing markers of transactions lie behind it."""

TimeOf = Callable[[Any], int | None]
"""The event time of a record of kafka-python, milliseconds UTC; None where it has none."""


class Glance(NamedTuple):
    """What was seen from a place on.

    Parameters
    ----------
    offset
        Of the first record; None where there is no record up to the end.
    time
        The time that the records have come to with the first one, milliseconds UTC: an event that came late does not
        turn it back.
    arrived
        When the broker took the first one in, milliseconds UTC; None where senders set the timestamps.
    """

    offset: int | None = None
    time: int | None = None
    arrived: int | None = None


def firsts(
    consumer: Any, places: Mapping[TopicPartition, int], extents: Mapping[TopicPartition, Extent], time_of: TimeOf
) -> dict[TopicPartition, Glance]:
    """What lies at each place.

    Parameters
    ----------
    consumer
        As ``clients.reader`` gives it; its assignment is changed.
    places
        Offsets to look from.
    extents
        How far the partitions reach.
    """
    found = {}
    around = {tp: max(extents[tp].start, place - AROUND) for tp, place in places.items()}
    for tp, records in _read(consumer, around, extents, 2 * AROUND).items():
        before = [record for record in records if record.offset < places[tp]]
        after = records[len(before) :]
        if not after:
            found[tp] = Glance()
            continue
        first = after[0]
        at = _latest([*before, first], time_of)
        if at is None:
            at = next((time for record in after if (time := time_of(record)) is not None), None)
        arrived = first.timestamp if first.timestamp_type == BROKERS_TIME else None
        found[tp] = Glance(first.offset, at, arrived)
    return found


def lasts(consumer: Any, extents: Mapping[TopicPartition, Extent], time_of: TimeOf) -> dict[TopicPartition, int | None]:
    """The latest event time of the last records of partitions, milliseconds UTC; None where none is found."""
    found: dict[TopicPartition, int | None] = dict.fromkeys(extents)
    for back in BACK:
        places = {
            tp: max(extent.start, extent.end - back)
            for tp, extent in extents.items()
            if found[tp] is None and extent.most > extent.start
        }
        if not places:
            break
        for tp, records in _read(consumer, places, extents, 2 * back).items():
            found[tp] = _latest(records, time_of)
    return found


def _latest(records: list[Any], time_of: TimeOf) -> int | None:
    return max((at for record in records if (at := time_of(record)) is not None), default=None)


def _read(
    consumer: Any, places: Mapping[TopicPartition, int], extents: Mapping[TopicPartition, Extent], most: int
) -> dict[TopicPartition, list[Any]]:
    """At most so many committed records from each place on; none where the broker shows none in time."""
    found: dict[TopicPartition, list[Any]] = {tp: [] for tp in places}
    consumer.assign(list(places))
    for tp, place in places.items():
        consumer.seek(tp, place)
    left = dict(places)
    heard = time.monotonic()
    while left and time.monotonic() - heard < clients.ANSWER_S:
        for tp, records in consumer.poll(timeout_ms=POLL_MS, max_records=most * len(left)).items():
            room = most - len(found[tp])
            found[tp] += [record for record in records if record.offset < extents[tp].most][:room]
        places = {tp: consumer.position(tp) for tp in left}
        moved = any(place > left[tp] for tp, place in places.items())
        left = {tp: place for tp, place in places.items() if not _done(found[tp], place, left[tp], extents[tp], most)}
        if len(left) < len(places):
            consumer.assign(list(left))  # not paused: the library never lets go of what it holds of a paused partition
        if moved:
            heard = time.monotonic()
    return found


def _done(records: list[Any], place: int, before: int, extent: Extent, most: int) -> bool:
    """Whether there is no more to come; where an open transaction begins, nothing more is shown."""
    return len(records) >= most or place >= extent.most or (place == before and place >= extent.end)
