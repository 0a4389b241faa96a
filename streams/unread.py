"""Triggers that subscribers have not read yet, and how many of them are no longer valid."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kafka import TopicPartition  # type: ignore[import-untyped]  # it ships no types

from schemas.codec import decode_decision
from schemas.errors import SchemaError

from . import log_reader
from .lag import NOBODY, Expired
from .log_reader import Extent, Record

MOST = 50_000
"""Unread triggers of one partition that are looked at, the oldest first; each takes some 100 bytes."""


class _Trigger(NamedTuple):
    offset: int
    issued_at: int
    expires_at: int
    campaign: str


class _Partition:
    """The triggers of one partition from the earliest unread one on; read once, however often they are counted."""

    def __init__(self) -> None:
        self.kept: deque[_Trigger] = deque()
        self._from = self._next = 0

    def read(self, consumer: Any, partition: TopicPartition, position: int, extent: Extent) -> None:
        """Forget what everybody has read, and read on as far as there is room."""
        if position < self._from:  # a group was set back
            self.kept.clear()
            self._next = 0
        self._from = position
        while self.kept and self.kept[0].offset < position:
            self.kept.popleft()
        begin = max(self._next, position, extent.start)
        if begin >= extent.most or len(self.kept) >= MOST:
            return
        self._next = begin
        for record in log_reader.through(consumer, partition, extent._replace(start=begin)):
            self._next = record.origin.offset + 1
            if (trigger := _trigger(record)) is not None:
                self.kept.append(trigger)
            if len(self.kept) >= MOST:
                break

    def whole(self, extent: Extent) -> bool:
        """Whether all of them could be looked at."""
        return len(self.kept) < MOST or self._next >= extent.most

    def of(self, position: int) -> Iterator[_Trigger]:
        """Those that a group at this position has not read."""
        return (trigger for trigger in self.kept if trigger.offset >= position)


def _trigger(record: Record) -> _Trigger | None:
    try:
        decision = decode_decision(record.value or b"")
    except SchemaError:
        return None  # whoever wrote it, it is no trigger
    return _Trigger(record.origin.offset, decision.issued_at, decision.expires_at, decision.campaign)


class Unread:
    """Counts again and again, without reading a trigger twice."""

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _Partition] = {}

    def count(
        self,
        consumer: Any,
        extents: Mapping[TopicPartition, Extent],
        groups: Mapping[str, Mapping[TopicPartition, int]],
        now: int,
    ) -> list[Expired]:
        """What each group has not read of each topic that it reads; a topic that nobody reads is ``NOBODY``'s.

        Parameters
        ----------
        consumer
            As ``clients.reader`` gives it; its assignment is changed.
        extents
            How far the partitions of trigger topics reach.
        groups
            Committed offsets of subscribers' groups. In a partition without one, all is unread.
        now
            When a trigger counts as expired, milliseconds UTC.
        """
        readers = self._readers(extents, groups)
        for tp, extent in extents.items():
            positions = [positions[tp] for (_, topic), positions in readers.items() if topic == tp.topic]
            self._partitions.setdefault(tp, _Partition()).read(consumer, tp, min(positions), extent)
        return [
            one
            for (group, topic), positions in sorted(readers.items())
            if (one := self._of(group, topic, positions, extents, now)).unread or group != NOBODY
        ]

    def _readers(
        self, extents: Mapping[TopicPartition, Extent], groups: Mapping[str, Mapping[TopicPartition, int]]
    ) -> dict[tuple[str, str], dict[TopicPartition, int]]:
        """The position of each reader of each topic in all of its partitions."""
        readers: dict[tuple[str, str], dict[TopicPartition, int]] = {}
        for topic in {tp.topic for tp in extents}:
            partitions = {tp: extent.start for tp, extent in extents.items() if tp.topic == topic}
            of_topic = {
                (group, topic): {tp: max(start, committed.get(tp, 0)) for tp, start in partitions.items()}
                for group, committed in groups.items()
                if any(tp in committed for tp in partitions)
            }
            readers |= of_topic or {(NOBODY, topic): partitions}
        return readers

    def _of(
        self,
        group: str,
        topic: str,
        positions: Mapping[TopicPartition, int],
        extents: Mapping[TopicPartition, Extent],
        now: int,
    ) -> Expired:
        unread, expired, more, oldest = 0, Counter[str](), False, None
        for tp, position in positions.items():
            of_partition = self._partitions[tp]
            seen = 0
            for trigger in of_partition.of(position):
                seen += 1
                oldest = trigger.issued_at if oldest is None else min(oldest, trigger.issued_at)
                if trigger.expires_at <= now:
                    expired[trigger.campaign] += 1
            whole = of_partition.whole(extents[tp])
            unread += seen if whole else extents[tp].most - position
            more |= not whole
        return Expired(group, topic, unread, dict(expired.most_common()), more, oldest)
