"""Reading whole topics for the verifier, with a plain client, and every offset that a group ever committed."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from kafka import TopicPartition  # type: ignore[import-untyped]  # it ships no types

from streams import clients
from streams.connection import KafkaConnection
from tests.live.faults.checks import Written

OFFSETS = "__consumer_offsets"
QUIET_S = 0.6
PATIENCE_S = 2.0


def whole(connection: KafkaConnection, topic: str, holes: bool = True) -> Iterator[Written]:
    """All committed records of a topic, partition by partition.

    Parameters
    ----------
    holes
        False where offsets must follow each other: the embedded broker may show a batch late, so it is read again.
    """
    with clients.reader(connection) as reader:
        for number in sorted(reader.partitions_for_topic(topic) or ()):
            if holes:
                yield from _partition(reader, topic, number, holes)
                continue
            found: list[Written] = []
            for _ in range(10):
                found = list(_partition(reader, topic, number, holes))
                if all(one.offset + 1 == other.offset for one, other in pairwise(found)):
                    break
            yield from found


def _partition(reader: Any, topic: str, number: int, holes: bool) -> Iterator[Written]:
    tp = TopicPartition(topic, number)
    reader.assign([tp])
    reader.seek_to_beginning(tp)
    end = reader.end_offsets([tp])[tp]
    heard = time.monotonic()
    while True:
        for records in reader.poll(timeout_ms=200, max_records=2_000).values():
            heard = time.monotonic()
            for record in records:
                yield Written(
                    topic, number, record.offset, record.value or b"", tuple(record.headers or ()), record.timestamp
                )
        if _done(reader, tp, end, heard, 0.0 if holes else QUIET_S):
            return


def _done(reader: Any, tp: TopicPartition, end: int, heard: float, quiet_s: float) -> bool:
    """Whether a partition is read to its end; the embedded broker's end is short of what its last batch holds."""
    quiet = time.monotonic() - heard
    return quiet >= quiet_s and (reader.position(tp) >= end or quiet > PATIENCE_S)


def commits(connection: KafkaConnection, group: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """What a group committed on Apache Kafka, in order, from the broker's own log of offsets: (topic/partition, (offset, n))."""
    with clients.reader(connection) as reader:
        for number in sorted(reader.partitions_for_topic(OFFSETS) or ()):
            tp = TopicPartition(OFFSETS, number)
            reader.assign([tp])
            reader.seek_to_beginning(tp)
            end = reader.end_offsets([tp])[tp]
            heard = time.monotonic()
            while True:
                for records in reader.poll(timeout_ms=200, max_records=2_000).values():
                    heard = time.monotonic()
                    for record in records:
                        found = _commit(record.key, record.value, group)
                        if found is not None:
                            yield found
                if _done(reader, tp, end, heard, 0.0):
                    break


def _commit(key: bytes | None, value: bytes | None, group: str) -> tuple[str, tuple[int, int]] | None:
    if not key or not value or struct.unpack_from(">h", key)[0] > 1:
        return None
    who, at = _string(key, 2)
    topic, at = _string(key, at)
    (partition,) = struct.unpack_from(">i", key, at)
    if who != group:
        return None
    version, offset = struct.unpack_from(">hq", value)
    if version >= 4:  # a compact string, whose length is one byte here
        metadata = value[15 : 14 + value[14]].decode()
    else:
        metadata, _ = _string(value, 14 if version == 3 else 10)
    return f"{topic}/{partition}", (offset, int(metadata) if metadata.isdigit() else 0)


def _string(data: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">h", data, at)
    return data[at + 2 : at + 2 + length].decode(), at + 2 + length
