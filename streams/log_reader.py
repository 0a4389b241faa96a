"""Reading committed records from first to last, or at known places, without a group."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
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
    consumer.assign(partitions)
    start, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    total = sum(end[partition] - start[partition] for partition in partitions)
    for partition in partitions:
        consumer.seek(partition, start[partition])
    for number, record in enumerate(_until(consumer, end), 1):
        if progress is not None and number % AT_ONCE == 0:
            progress(number, total)
        yield record


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
    consumer.assign([partition])
    start = consumer.beginning_offsets([partition])[partition]
    end = consumer.end_offsets([partition])[partition]
    wanted = deque(offset for offset in offsets if start <= offset < end)
    while wanted:
        consumer.seek(partition, wanted[0])
        for record in _until(consumer, {partition: end}):
            while wanted and wanted[0] < record.origin.offset:
                wanted.popleft()  # a marker, or of a transaction that was given up
            if wanted and wanted[0] == record.origin.offset:
                wanted.popleft()
                yield record
            if not wanted or wanted[0] > record.origin.offset + NEAR:
                break
        else:
            return


def _until(consumer: Any, end: Mapping[TopicPartition, int]) -> Iterator[Record]:
    """What is assigned, from its positions to ``end``; offsets without a record, as markers have, are passed over."""
    heard = time.monotonic()
    left = {partition for partition, last in end.items() if consumer.position(partition) < last}
    while left:
        before = {partition: consumer.position(partition) for partition in left}
        for partition, records in consumer.poll(timeout_ms=POLL_MS, max_records=AT_ONCE).items():
            for record in records:
                if record.offset < end[partition]:
                    where = Origin(partition.topic, partition.partition, record.offset)
                    yield Record(where, record.timestamp, record.key, record.value, tuple(record.headers))
        if any(consumer.position(partition) != before[partition] for partition in left):
            heard = time.monotonic()
        elif time.monotonic() - heard > clients.ANSWER_S:
            names = ", ".join(f"{partition.topic}[{partition.partition}]" for partition in sorted(left))
            raise BrokerError(
                names, f"no record within {clients.ANSWER_S:g} s where some must be", "check the broker, then try again"
            )
        left = {partition for partition in left if consumer.position(partition) < end[partition]}
