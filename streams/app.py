"""The Faust app: which topics a worker reads, and what is done with their partitions. Nothing happens at import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import faust
from aiokafka import TopicPartition

from .agents.intake import IntakePartition
from .agents.learner import LearnerPartition
from .broker import Broker
from .checkpoint import EnginePartition
from .connection import KafkaConnection
from .lanes import Batch, Lanes, Work
from .room import Room
from .settings import StreamSettings
from .store import Store
from .tallies import Tallies
from .transport import BatchSchema, Consumer, ConsumerThread

Role = Literal["all", "intake", "engine", "learner"]
HEARTBEATS = 3


class App(faust.App):
    """A Faust app with lanes.

    Attributes
    ----------
    kafka
        Where the cluster is; credentials are in it, not in Faust's URL.
    lanes
        One for each assigned partition.
    transactions
        Whether the broker has them.
    tallies
        What this worker has counted.
    polled, partitions_of
        The last stable offset of a partition and when it was told, and how many partitions a topic has, both as of the
        last answer of the broker.
    """

    kafka: KafkaConnection
    lanes: Lanes
    broker_: Broker
    transactions: bool
    tallies: Tallies
    polled: Callable[[TopicPartition], tuple[int, int]]
    partitions_of: Callable[[str], int]

    def _create_directories(self) -> None:
        """None: they are for Faust's tables, and would be made in the working directory."""


def bare(kafka: KafkaConnection, settings: StreamSettings) -> App:
    """A Faust app on the batching transport, without agents or lanes: its web, tables, acks and topics of its own are off."""
    app = App(
        settings.app,
        broker=f"batching://{kafka.address.split(',')[0]}",
        broker_credentials=kafka.faust_credentials(),
        broker_session_timeout=settings.session_s,
        broker_heartbeat_interval=settings.session_s / HEARTBEATS,
        broker_rebalance_timeout=max(10.0, settings.session_s),
        broker_request_timeout=max(20.0, settings.session_s + 5),
        broker_max_poll_records=4 * settings.limits.records,
        consumer_max_fetch_size=4 * 1024 * 1024,
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_recovery_delay=0.0,
        stream_wait_empty=False,
        web_enabled=False,
        autodiscover=False,
        key_serializer="raw",
        value_serializer="raw",
    )
    app.kafka, app.transactions = kafka, settings.transactions
    return app


def build(
    kafka: KafkaConnection,
    store: Store,
    settings: StreamSettings,
    role: Role,
    crash: Callable[[BaseException], None],
    points: Callable[[str], None] = lambda point: None,
) -> App:
    """Wire a worker's app.

    Parameters
    ----------
    role
        Which agents run in it.
    crash
        Called with an error that nobody knows how to go on after; it ends the process.
    points
        Called at named points of the protocol; tests end the process there.
    """
    app = bare(kafka, settings)
    broker = app.broker_ = Broker(kafka, settings.app, settings.transactions, points)

    def thread() -> ConsumerThread:
        return cast(ConsumerThread, cast(Consumer, app.consumer)._thread)

    async def commit(offsets: Mapping[TopicPartition, int]) -> None:
        await thread().commit_offsets(offsets)

    broker.commit_offsets = commit
    raw = {settings.topic(name) for name in settings.raw}
    room = Room(settings.limits.profiles)
    tallies = app.tallies = Tallies()
    app.polled = lambda tp: thread().polled(tp)
    app.partitions_of = lambda topic: thread().partitions_of(topic)
    events, learning = settings.topic("events"), settings.topic("learning")

    def make(tp: TopicPartition) -> Work:
        if tp.topic == events:
            return EnginePartition(tp, settings, store, broker, points, room, tallies)
        if tp.topic == learning:
            return LearnerPartition(tp, settings, store, broker, points, tallies)
        return IntakePartition(tp, settings, store, broker, app.polled, tallies)

    app.lanes = Lanes(make, settings.session_s, crash)
    topics: dict[str, list[str]] = {"intake": sorted(raw), "engine": [events], "learner": [learning]}
    for name, of_role in topics.items():
        if role not in ("all", name) or (name == "learner" and settings.learning == "inline"):
            continue
        topic = app.topic(*of_role, schema=BatchSchema(), acks=False)
        app.agent(topic, name=f"rapport-{name}")(hand_over(app))
    return app


def hand_over(app: App) -> Any:
    """The body of every agent: each batch goes to its partition's lane."""

    async def agent(stream: Any) -> None:
        async for message in stream.noack().events():
            batch: Batch = message.value
            lane = app.lanes.of(TopicPartition(message.message.topic, message.message.partition))
            if lane is not None:
                lane.offer(batch)

    return agent
