"""Asking broker and store how far each stage has come; takes part in no consumer group, and no worker notices it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from kafka import TopicPartition  # type: ignore[import-untyped]  # it ships no types
from kafka.errors import KafkaError  # type: ignore[import-untyped]  # it ships no types
from msgspec import DecodeError
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from models.config import EngineConfig
from schemas.codec import decode_event
from schemas.control import ModelPublished, tick_at
from schemas.errors import SchemaError
from schemas.intake import Intake
from schemas.routing import RAW_TOPICS

from . import clients, glances, log_reader
from .connection import Connection
from .emitting import decode_example
from .errors import TopicError
from .lag import Look, Spot, Stage
from .log_reader import Extent
from .publishers import partition_of
from .redis_store import key
from .topic_plan import BROKERS_TIME, DECISIONS, EVENTS, LEARNING, OUTBOUND, Clock, TopicPlan
from .unread import Unread

TRIGGERS = tuple(topic for topic in OUTBOUND if topic != DECISIONS)
GROUPS_EVERY = 10
"""Looks after which subscribers' groups are looked for again."""
STORE_S = 2.0
"""How long the store may take to answer, seconds."""


class Survey:
    """Looks at an installation, again and again.

    Parameters
    ----------
    connection
        Broker and store. Of the store it is asked how far learner and engine are.
    app
        Name of the installation: its consumer group, and the prefix of its keys.
    groups
        Subscribers' consumer groups; none: every group that has read a trigger topic.
    clock
        ``event``: while history is played, a trigger expires by the time that the log has come to.

    Raises
    ------
    BrokerError
        Where no broker answers, or it stops answering.
    TopicError
        While looking: where topics are missing.
    """

    def __init__(
        self,
        connection: Connection,
        plan: TopicPlan,
        app: str = "rapport",
        groups: Iterable[str] = (),
        clock: Clock = "wall",
    ) -> None:
        self._connection = connection
        self._plan = plan
        self._app = app
        self._named = tuple(groups)
        self._clock = clock
        self._unread = Unread()
        self._intake = Intake()
        self._looks = 0
        self._found: tuple[str, ...] = ()
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._admin = stack.enter_context(clients.admin(self._connection.kafka))
            self._consumer = stack.enter_context(clients.reader(self._connection.kafka))
            self._store = self._connection.redis.sync_client(
                socket_timeout=STORE_S, socket_connect_timeout=STORE_S, retry=Retry(NoBackoff(), 0)
            )
            stack.callback(self._store.close)
            self._closing = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._closing.__exit__(kind, error, trace)  # so that the clients' errors become ours

    def look(self) -> Look:
        """All stages as they are now."""
        notes: list[str] = []
        stages: dict[Stage, list[TopicPartition]] = {
            "intake": [tp for topic in RAW_TOPICS for tp in self._partitions(topic)],
            "engine": self._partitions(EVENTS),
            "learner": self._partitions(LEARNING),
        }
        triggers = [tp for topic in TRIGGERS for tp in self._partitions(topic)]
        of_stages = [tp for partitions in stages.values() for tp in partitions]
        # positions first: what comes in meanwhile is unread, and nothing is read beyond the end
        committed = self._committed(self._app)
        if not any(tp in committed for tp in of_stages):
            notes.append(
                f"no worker has committed anything as {self._app}: start one (rapport worker), or name yours: --app NAME"
            )
        positions: dict[TopicPartition, int | None] = {tp: committed.get(tp) for tp in of_stages}
        positions |= self._stored(stages, committed, notes)
        subscribers = self._subscribers(notes)
        extents = log_reader.extents(self._consumer, [*of_stages, *triggers])
        for tp, position in positions.items():
            if position is not None and position > extents[tp].most:
                notes.append(
                    f"{tp.topic}[{tp.partition}] ends at {extents[tp].most:,}, and what was done of it at {position:,}: they do "
                    "not belong together; name the store and the --app of this log"
                )
                positions[tp] = None
        at, wall = time.monotonic(), time.time_ns() // 1_000_000
        spots, come_to = self._spots(stages, positions, extents, wall)
        now = wall if self._clock == "wall" else come_to
        expired = self._unread.count(self._consumer, {tp: extents[tp] for tp in triggers}, subscribers, now)
        self._looks += 1
        return Look(at, now, tuple(spots), tuple(expired), tuple(notes))

    def _partitions(self, topic: str) -> list[TopicPartition]:
        name = self._plan.name(topic)
        found = sorted(self._consumer.partitions_for_topic(name) or ())
        if not found:
            raise TopicError(
                name,
                f"no such topic on {self._connection.kafka.address}",
                "create the topics: rapport topics create; or name their --prefix",
            )
        return [TopicPartition(name, number) for number in found]

    def _committed(self, group: str) -> dict[TopicPartition, int]:
        found = clients.coordinated(lambda: self._admin.list_group_offsets({group: None}))[group]
        return {tp: at.offset for tp, at in found.items() if at.offset >= 0}

    def _subscribers(self, notes: list[str]) -> dict[str, dict[TopicPartition, int]]:
        topics = {self._plan.name(topic) for topic in TRIGGERS}
        if not self._named and self._looks % GROUPS_EVERY == 0:
            try:
                names = [found["group_id"] for found in self._admin.list_groups()]
            except KafkaError as error:
                names = []
                notes.append(
                    f"the broker does not tell its consumer groups ({clients.reason(error)}): name them, --group NAME"
                )
            self._found = tuple(sorted(name for name in names if name != self._app))
        found = {}
        for group in self._named or self._found:
            committed = {tp: offset for tp, offset in self._committed(group).items() if tp.topic in topics}
            if committed:
                found[group] = committed
            elif self._named:
                notes.append(f"the group {group} has committed nothing on a trigger topic: check its name")
        return found

    def _stored(
        self,
        stages: Mapping[Stage, list[TopicPartition]],
        committed: Mapping[TopicPartition, int],
        notes: list[str],
    ) -> dict[TopicPartition, int | None]:
        """Where learner and engine are by the store; of the engine Kafka knows it too, some seconds later."""
        try:
            return {**self._stepped(stages["engine"], committed), **self._learned(stages["learner"])}
        except (RedisError, OSError) as error:
            notes.append(
                f"the state store at {self._connection.redis.address} does not answer ({type(error).__name__}), and only "
                "it knows how far the learner is: name it, --redis URL or RAPPORT_REDIS"
            )
            return dict.fromkeys(stages["learner"])

    def _stepped(
        self, partitions: list[TopicPartition], committed: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int | None]:
        """Where the engine is: what it has stepped is done once its outputs are out, of which the store then keeps none."""
        found: dict[TopicPartition, int | None] = {}
        for tp in partitions:
            with self._store.pipeline(transaction=True) as asked:
                asked.hget(key(self._app, tp.partition, "meta"), "pos")
                asked.exists(key(self._app, tp.partition, "outbox"))
                position, unpublished = asked.execute()
            if position is not None and not unpublished:
                found[tp] = int(position.split(b",")[0])
            else:
                found[tp] = committed.get(tp)
        return found

    def _learned(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int | None]:
        """Where the learner is: with its models in the store, as Kafka is told the least of several models."""
        names = list(EngineConfig().model_specs())
        told = [self._store.lindex(key(self._app, "models", f"versions:{name}"), -1) for name in names]
        found: dict[TopicPartition, int | None] = {}
        for tp in partitions:
            mine = [
                int(entry.split(b",")[1])
                for name, entry in zip(names, told, strict=True)
                if isinstance(entry, bytes) and partition_of(name.encode(), len(partitions)) == tp.partition
            ]
            found[tp] = max(mine, default=0)
        return found

    def _spots(
        self,
        stages: Mapping[Stage, list[TopicPartition]],
        positions: Mapping[TopicPartition, int | None],
        extents: Mapping[TopicPartition, Extent],
        wall: int,
    ) -> tuple[list[Spot], int]:
        """Where each stage is, and the time that the log has come to, milliseconds UTC."""
        unknown = {tp for tp in stages["learner"] if positions[tp] is None}
        froms = {tp: max(at or 0, extents[tp].start) for tp, at in positions.items() if tp not in unknown}
        behind = {tp: place for tp, place in froms.items() if place < extents[tp].most}
        firsts = glances.firsts(self._consumer, behind, extents, self._time)
        late = {tp: extents[tp] for tp in behind if firsts[tp].offset is not None}
        if self._clock == "event":
            late |= {tp: extents[tp] for tp in stages["engine"]}
        lasts = glances.lasts(self._consumer, late, self._time)
        spots = []
        for stage, partitions in stages.items():
            for tp in partitions:
                at, extent = positions[tp], extents[tp]
                first = firsts.get(tp)
                here = first is not None and first.offset is not None
                arrived = first.arrived if first is not None and here else None
                waiting = max(0, wall - arrived) if arrived is not None else None
                spots.append(
                    Spot(
                        stage,
                        tp.topic,
                        tp.partition,
                        at,
                        extent.start,
                        extent.most,
                        None if tp in unknown else extent.most - froms[tp] if here else 0,
                        first.time if first is not None else None,
                        lasts.get(tp),
                        waiting if here or tp in unknown else 0,
                        max(0, extent.start - at) if at is not None and stage != "learner" else 0,
                    )
                )
        come_to = max((at for tp in stages["engine"] if (at := lasts.get(tp)) is not None), default=0)
        return spots, come_to

    def _time(self, record: Any) -> int | None:
        """The event time of a record, by what its topic holds; its timestamp where nothing says it."""
        topic, value = record.topic.removeprefix(self._plan.prefix), record.value or b""
        try:
            if topic == EVENTS:
                event = decode_event(value)
                return None if isinstance(event, ModelPublished) else event.occurred_at
            if topic == LEARNING:
                return decode_example(value).due
            if (at := tick_at(value)) is not None:
                return at
            read = self._intake.read(value, record.timestamp, topic)
            return read.events[0].occurred_at if read.events else _own(record)
        except (SchemaError, DecodeError, UnicodeDecodeError):
            return _own(record)


def _own(record: Any) -> int | None:
    """The timestamp that a sender set."""
    return record.timestamp if record.timestamp > 0 and record.timestamp_type != BROKERS_TIME else None
