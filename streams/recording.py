"""The values of a topic as lines, to keep a log and to repeat its run elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kafka import KafkaConsumer, TopicPartition  # type: ignore[import-untyped]  # it ships no types

from .clients import reader
from .connection import KafkaConnection
from .errors import BrokerError, StreamError
from .log_reader import Record, extents, through
from .repeats import Repeats

Progress = Callable[[int], None]
"""Called with the number of records read so far."""


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

    Attributes
    ----------
    partitions
        Those that are recorded.
    of
        How many the topic has.
    starts
        The first offset of each that is recorded; beyond 0 where retention took what was before it.

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
        self.of = len(found)
        self.partitions = sorted(found) if partition is None else [partition]
        self._reach = extents(consumer, [TopicPartition(topic, number) for number in self.partitions])
        self.starts = {place.partition: extent.start for place, extent in self._reach.items()}

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
        for place, extent in self._reach.items():
            repeats = Repeats()
            for record in through(self._consumer, place, extent):
                if repeats.known(record.headers):
                    continue
                repeats.read(record.headers)
                count += 1
                yield _checked(record)
                if progress is not None:
                    progress(count)


def _checked(record: Record) -> bytes:
    value = record.value
    if value and b"\n" not in value:
        return value
    found = "a value that holds a line end" if value else "no value"
    raise RecordingError(str(record.origin), found, "record a topic of Rapport's own: its values are lines of JSON")


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
