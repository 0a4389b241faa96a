"""Reading committed records from first to last, or at known places, without a group."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from kafka import TopicPartition  # type: ignore[import-untyped]  # it ships no types

from . import clients
from .errors import BrokerError

POLL_MS = 500
AT_ONCE = 500
NEAR = 1000
"""Offsets that are rather read past than jumped over."""

Progress = Callable[[int, int], None]
"""Called with how many are done, and of how many."""


class Origin(NamedTuple):
    """Where a record lies in the log.

    >>> str(Origin("clickstream", 0, 7))
    'clickstream[0]@7'
    """

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


class Record(NamedTuple):
    """A record of the log; its timestamp is milliseconds UTC, -1 where it has none."""

    origin: Origin
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class Extent(NamedTuple):
    """The first offset of a partition, the least that its end can be, and the most.

    The embedded broker tells an end short of what its last batch holds, but the right high watermark; Kafka's high
    watermark lies beyond what can be read while a transaction is open.
    """

    start: int
    end: int
    most: int


def extents(consumer: Any, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Extent]:
    """How far partitions reach now; they are assigned to the consumer.

    Parameters
    ----------
    consumer
        As ``clients.reader`` gives it.

    Raises
    ------
    BrokerError
        Where the broker stops answering.
    """
    consumer.unsubscribe()  # or it would tell the watermarks of an earlier look
    consumer.assign(partitions)
    starts, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    for partition in partitions:
        consumer.seek(partition, max(starts[partition], ends[partition] - 1))
    marks: dict[TopicPartition, int] = {}
    wanted = {partition for partition in partitions if ends[partition] > starts[partition]}
    asked = time.monotonic()
    while wanted:
        consumer.poll(timeout_ms=POLL_MS, max_records=1)
        seen = {partition: mark for partition in wanted if (mark := consumer.highwater(partition)) is not None}
        if seen:
            marks |= seen
            wanted -= seen.keys()
            consumer.assign(sorted(wanted))  # what is buffered of the others would be handed out first
        if wanted and time.monotonic() - asked > clients.ANSWER_S:
            raise _silent(min(wanted))
    consumer.assign(partitions)
    return {
        partition: Extent(starts[partition], ends[partition], max(ends[partition], marks.get(partition, 0)))
        for partition in partitions
    }


def whole(consumer: Any, topic: str, progress: Progress | None = None) -> Iterator[Record]:
    """All committed records of a topic, up to where it ends now.

    Parameters
    ----------
    consumer
        As ``clients.reader`` gives it.
    progress
        Called now and then with the records read.

    Raises
    ------
    BrokerError
        Where the broker stops answering.
    """
    partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
    reach = extents(consumer, partitions)
    total = sum(extent.most - extent.start for extent in reach.values())
    count = 0
    for partition, extent in reach.items():
        for record in through(consumer, partition, extent):
            count += 1
            if progress is not None and count % AT_ONCE == 0:
                progress(count, total)
            yield record


def through(consumer: Any, partition: TopicPartition, extent: Extent) -> Iterator[Record]:
    """The committed records of a partition, as far as it reached when ``extents`` saw it.

    Raises
    ------
    BrokerError
        Where the broker stops answering.
    """
    consumer.assign([partition])
    yield from _forward(consumer, partition, extent.start, extent)


def at(consumer: Any, topic: str, number: int, offsets: list[int]) -> Iterator[Record]:
    """The records at ascending offsets of a partition, as far as they are still there.

    Raises
    ------
    BrokerError
        Where the broker stops answering.
    """
    if number not in (consumer.partitions_for_topic(topic) or ()):
        return  # an unknown partition would be waited for
    partition = TopicPartition(topic, number)
    extent = extents(consumer, [partition])[partition]
    wanted = deque(offset for offset in offsets if extent.start <= offset < extent.most)
    while wanted:
        for record in _forward(consumer, partition, wanted[0], extent):
            while wanted and wanted[0] < record.origin.offset:
                wanted.popleft()  # a marker, or of a transaction that was given up
            if wanted and wanted[0] == record.origin.offset:
                wanted.popleft()
                yield record
            if not wanted or wanted[0] > record.origin.offset + NEAR:
                break
        else:
            return


def _forward(consumer: Any, partition: TopicPartition, offset: int, extent: Extent) -> Iterator[Record]:
    """What lies from ``offset`` on; offsets without a record, as markers have, are passed over."""
    consumer.seek(partition, offset)
    heard = time.monotonic()
    while (place := consumer.position(partition)) < extent.most:
        for record in consumer.poll(timeout_ms=POLL_MS, max_records=AT_ONCE).get(partition, ()):
            if record.offset >= extent.most:
                return
            where = Origin(partition.topic, partition.partition, record.offset)
            yield Record(where, record.timestamp, record.key, record.value, tuple(record.headers))
        if consumer.position(partition) > place:
            heard = time.monotonic()
        elif place >= extent.end:
            return  # an open transaction begins here
        elif time.monotonic() - heard > clients.ANSWER_S:
            raise _silent(partition)


def _silent(partition: TopicPartition) -> BrokerError:
    found = f"no record within {clients.ANSWER_S:g} s where some must be"
    return BrokerError(f"{partition.topic}[{partition.partition}]", found, "check the broker, then try again")
