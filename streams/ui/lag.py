"""How far an installation's consumers are behind, partition by partition."""

from __future__ import annotations

from typing import Any, NamedTuple

from kafka import TopicPartition  # type: ignore[import-untyped]  # it ships no types

from schemas.routing import RAW_TOPICS

from .. import log_reader
from ..topic_plan import EVENTS, LEARNING

READ = (*RAW_TOPICS, EVENTS, LEARNING)
"""The topics that workers read, without prefix."""


class Lag(NamedTuple):
    """One partition of a topic that workers read.

    Parameters
    ----------
    topic
        Without prefix.
    start, end
        The first offset that is there, and the one behind the last record.
    committed
        Where the group goes on; -1 where it has committed nothing.
    """

    topic: str
    partition: int
    start: int
    end: int
    committed: int

    @property
    def behind(self) -> int:
        """Records that are still to be read.

        >>> Lag("events", 0, 10, 30, -1).behind, Lag("events", 0, 10, 30, 25).behind
        (20, 5)
        """
        return max(0, self.end - max(self.committed, self.start))


def lags(admin: Any, consumer: Any, app: str, prefix: str) -> list[Lag]:
    """All partitions that workers read, in the order of the topics.

    Parameters
    ----------
    admin, consumer
        As ``clients.admin`` and ``clients.reader`` give them; the consumer is assigned anew.
    app
        The installation's name, which is its consumer group's.
    prefix
        Of the topics' names.

    Raises
    ------
    BrokerError
        Where the broker stops answering.
    """
    places = [
        TopicPartition(prefix + topic, number)
        for topic in READ
        for number in sorted(consumer.partitions_for_topic(prefix + topic) or ())
    ]
    if not places:
        return []
    reach = log_reader.extents(consumer, places)
    committed = admin.list_group_offsets({app: places})[app]
    found = []
    for place in places:
        extent, stored = reach[place], committed.get(place)
        offset = stored.offset if stored is not None else -1
        # a consumer of the embedded broker can be ahead of the end that it tells
        end = max(extent.most, offset)
        found.append(Lag(place.topic.removeprefix(prefix), place.partition, extent.start, end, offset))
    return found
