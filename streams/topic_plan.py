"""The topics of an installation as data.

Retention is the longest memory of the log, so it bounds three things at once: how long a refused record can be sent
again (raw topics), how old a restored copy of the state store may be (``events``: what it misses is read from there),
and how long an erased customer's records live on. A segment is closed after a day, so a record goes at most about a day
after its retention is over.

==========================================  =========
raw topics                                  7 days
``events``, ``learning``, ``dead-letters``  30 days
``decisions``                               90 days
other outbound topics                       7 days
==========================================  =========

Timestamps are set by the broker when a record comes in: one clock that no sender can turn, and retention counts from
it. Only raw topics into which history is played (the event clock) keep the senders' timestamps; those lie in the past,
so such topics keep everything until they are deleted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from schemas.base import DAY_MS, HOUR_MS, SECOND_MS
from schemas.errors import printable
from schemas.routing import RAW_TOPICS

from .errors import TopicError

BROKERS_TIME = 1
"""How clients mark a record whose timestamp is the broker's (``LogAppendTime``)."""

Role = Literal["raw", "internal", "outbound"]
Clock = Literal["wall", "event"]

EVENTS, LEARNING, DEAD_LETTERS, DECISIONS = "events", "learning", "dead-letters", "decisions"
INTERNAL = (EVENTS, LEARNING, DEAD_LETTERS)
OUTBOUND = ("offers", "nudges", "recommendations", "leads", "replies", "segments", DECISIONS)

RAW_MS = 7 * DAY_MS
INTERNAL_MS = 30 * DAY_MS
OUTBOUND_MS = 7 * DAY_MS
DECISIONS_MS = 90 * DAY_MS
SEGMENT_MS = DAY_MS
FOR_EVER = -1
MAX_BYTES = 1_048_588
"""Largest batch in bytes, a broker's own default; workers send less."""

_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,200}")


@dataclass(frozen=True)
class Topic:
    """A topic as it should be.

    Parameters
    ----------
    name
        With the installation's prefix.
    partitions, replication
        Their number, and the copies of each.
    retention_ms
        How long a record is kept, milliseconds; ``FOR_EVER`` without end.
    fixed
        Whether the number of partitions must never change: it decides where a key's state lives.
    timestamps
        ``LogAppendTime``: set by the broker. ``CreateTime``: by the sender.
    cleanup
        What happens after retention.
    max_bytes
        Largest batch in bytes.
    """

    name: str
    role: Role
    partitions: int
    retention_ms: int
    replication: int = 1
    fixed: bool = False
    timestamps: Literal["LogAppendTime", "CreateTime"] = "LogAppendTime"
    cleanup: Literal["delete"] = "delete"
    max_bytes: int = MAX_BYTES

    def settings(self) -> dict[str, str]:
        """The settings that the broker is given at its creation, by Kafka's names.

        >>> Topic("events", "internal", 6, DAY_MS).settings()["retention.ms"]
        '86400000'
        """
        settings = {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "segment.ms": str(SEGMENT_MS),
            "message.timestamp.type": self.timestamps,
            "max.message.bytes": str(self.max_bytes),
        }
        if self.timestamps == "CreateTime":
            # Played history may also lie ahead of the broker's clock.
            settings["message.timestamp.after.max.ms"] = str((1 << 63) - 1)
        if self.replication > 2:
            settings["min.insync.replicas"] = "2"  # an acknowledged record survives the loss of a broker
        return settings


@dataclass(frozen=True)
class TopicPlan:
    """All topics of an installation.

    Parameters
    ----------
    prefix
        Put before every name, so that installations and tests can share a cluster.
    partitions
        Of ``events``, ``learning`` and the outbound topics, 1 or more: as many workers can share the work. Fixed for
        the life of an installation.
    raw_partitions
        Of the raw topics; by default as many.
    replication
        Copies of each record, 1 to the number of brokers; 3 in production.
    clock
        As in the stream's settings. ``wall``: live. ``event``: history is played, with timestamps of its own.

    Raises
    ------
    TopicError
        Where a value is out of range.

    >>> plan = TopicPlan(prefix="test-", partitions=1)
    >>> plan.topic("events").name, len(plan.all())
    ('test-events', 14)
    """

    prefix: str = ""
    partitions: int = 6
    raw_partitions: int | None = None
    replication: int = 1
    clock: Clock = "wall"

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise TopicError("prefix", printable(self.prefix), "write at most 200 letters, digits, dots, _ or -")
        for name, value in (
            ("partitions", self.partitions),
            ("raw-partitions", self.raw_partitions),
            ("replication", self.replication),
        ):
            if value is not None and value < 1:
                raise TopicError(name, str(value), "write 1 or more")

    def name(self, topic: str) -> str:
        """A topic's full name.

        >>> TopicPlan(prefix="eu-").name("offers")
        'eu-offers'
        """
        return self.prefix + topic

    def all(self) -> tuple[Topic, ...]:
        """Every topic: raw, internal, outbound."""
        return (*self.raw(), *self.internal(), *self.outbound())

    def topic(self, name: str) -> Topic:
        """One of them, by its name without prefix."""
        for topic in self.all():
            if topic.name == self.name(name):
                return topic
        raise TopicError(name, "no such topic in the plan", f"name one of {', '.join(t.name for t in self.all())}")

    def raw(self) -> tuple[Topic, ...]:
        """Where customers' events come in."""
        live = self.clock == "wall"
        return tuple(
            Topic(
                self.name(name),
                "raw",
                self.raw_partitions or self.partitions,
                RAW_MS if live else FOR_EVER,
                self.replication,
                timestamps="LogAppendTime" if live else "CreateTime",
            )
            for name in RAW_TOPICS
        )

    def internal(self) -> tuple[Topic, ...]:
        """The log, what the learner learns from, and what was refused.

        Dead letters have one partition, so that they are read in the order in which they came.
        """
        return (
            Topic(self.name(EVENTS), "internal", self.partitions, INTERNAL_MS, self.replication, fixed=True),
            Topic(self.name(LEARNING), "internal", self.partitions, INTERNAL_MS, self.replication, fixed=True),
            Topic(self.name(DEAD_LETTERS), "internal", 1, INTERNAL_MS, self.replication),
        )

    def outbound(self) -> tuple[Topic, ...]:
        """What others subscribe to."""
        return tuple(
            Topic(
                self.name(name),
                "outbound",
                self.partitions,
                DECISIONS_MS if name == DECISIONS else OUTBOUND_MS,
                self.replication,
            )
            for name in OUTBOUND
        )


def check_erasure(kept_ms: int) -> None:
    """Check that the erased are remembered for as long as any topic can bring their past back.

    Topics into which history is played keep everything and are left out: they have to be deleted by whoever erases.

    Parameters
    ----------
    kept_ms
        How long tombstones are kept, milliseconds.

    Raises
    ------
    TopicError
        Where a topic is kept longer.

    >>> check_erasure(400 * DAY_MS)
    """
    longest = max(TopicPlan().all(), key=lambda topic: topic.retention_ms)
    least_ms = longest.retention_ms + SEGMENT_MS
    if kept_ms < least_ms:
        raise TopicError(
            "[engine] erasure_days",
            f"{kept_ms / DAY_MS:g}",
            f"write {least_ms // DAY_MS} or more: the topic {longest.name} keeps records that long",
        )


def days(milliseconds: int) -> str:
    """A retention as people write it.

    >>> days(7 * DAY_MS), days(36 * HOUR_MS), days(FOR_EVER)
    ('7d', '36h', 'for ever')
    """
    if milliseconds < 0:
        return "for ever"
    for unit, size in (("d", DAY_MS), ("h", HOUR_MS), ("s", SECOND_MS)):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds} ms"
