"""The values of a topic as lines, to keep a log and to repeat its run elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kafka import KafkaConsumer, TopicPartition  # type: ignore[import-untyped]  # it ships no types

from .clients import reader
from .connection import KafkaConnection
from .errors import BrokerError, StreamError
from .repeats import Repeats

Progress = Callable[[int], None]
"""Called with the number of records read so far."""

PATIENCE_S = 9.0
POLL_MS = 1000


class RecordingError(StreamError):
    """A topic whose values cannot be lines of a file."""


class Recording:
    """What is in a topic now, committed, partition after partition from the earliest record on.

    Parameters
    ----------
    consumer
        Of committed records, without a group.
    topic
        Its whole name.
    partition
        Only this one; None takes all.

    Raises
    ------
    BrokerError
        Where the broker has no such topic or partition.
    """

    def __init__(self, consumer: KafkaConsumer, topic: str, partition: int | None = None) -> None:
        self.topic = topic
        self._consumer = consumer
        found = consumer.partitions_for_topic(topic)
        if not found:
            raise BrokerError(topic, "no such topic", "check its name and its prefix")
        if partition is not None and partition not in found:
            raise BrokerError(topic, f"no partition {partition}", f"name one of 0 to {max(found)}: --partition")
        self.partitions = sorted(found) if partition is None else [partition]
        places = [TopicPartition(topic, number) for number in self.partitions]
        self._starts: dict[TopicPartition, int] = consumer.beginning_offsets(places)
        self._ends: dict[TopicPartition, int] = consumer.end_offsets(places)

    def lines(self, progress: Progress | None = None) -> Iterator[bytes]:
        """The values, byte by byte as they are, without the repeats that the engine passes over as well.

        Raises
        ------
        BrokerError
            Where the broker stops answering.
        RecordingError
            Where a value is missing, empty or holds a line end.
        """
        count = 0
        for place in self._starts:
            for value in self._partition(place):
                count += 1
                yield value
                if progress is not None:
                    progress(count)

    def _partition(self, place: TopicPartition) -> Iterator[bytes]:
        consumer, end = self._consumer, self._ends[place]
        if self._starts[place] >= end:
            return
        consumer.assign([place])
        consumer.seek(place, self._starts[place])
        # Tansu tells the first offset of its last batch as the end; what came with the first fetch is told rightly.
        limit, repeats = end, Repeats()
        heard = time.monotonic()
        while (at := consumer.position(place)) < limit:
            records = consumer.poll(POLL_MS).get(place, ())
            limit = max(limit, consumer.highwater(place) or 0) if limit == end else limit
            for record in records:
                if record.offset >= limit:
                    return
                if not repeats.known(record.headers):
                    repeats.read(record.headers)
                    yield self._checked(record.value, place, record.offset)
            if consumer.position(place) > at:
                heard = time.monotonic()
            elif at >= end:
                return  # an open transaction begins here
            elif time.monotonic() - heard > PATIENCE_S:
                found = f"nothing for {PATIENCE_S:g} s at [{place.partition}]@{at}"
                raise BrokerError(self.topic, found, "check the broker, then record again")

    def _checked(self, value: bytes | None, place: TopicPartition, offset: int) -> bytes:
        if value and b"\n" not in value:
            return value
        found = "a value that holds a line end" if value else "no value"
        where = f"{self.topic}[{place.partition}]@{offset}"
        raise RecordingError(where, found, "record a topic of Rapport's own: its values are lines of JSON")


@contextmanager
def recording(kafka: KafkaConnection, topic: str, partition: int | None = None) -> Iterator[Recording]:
    """A recording of a topic as it is now, and the connection for it.

    Raises
    ------
    BrokerError
        Where the broker is away, or has no such topic or partition.
    """
    with reader(kafka) as consumer:
        yield Recording(consumer, topic, partition)
