"""The batching transport: a Faust driver that hands an agent one batch per partition and fetch.

Selected by plain configuration: ``broker="batching://host:port"``. Stock Faust spends some 75 us on every message, and while
its buffer is full its consumer sleeps for a second at a time (``make bench``); here both are spent on batches. Positions come
from the lanes, that is from the checkpoint, and so do commits; Faust's own acks and commits are off on these topics. Readers
are ``read_committed``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

import aiokafka
import faust
import structlog
from aiokafka import TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import NoOffsetForPartitionError
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata
from faust.exceptions import ConsumerNotStarted
from faust.transport.drivers import aiokafka as stock
from faust.types import TP, ConsumerMessage

from .connection import KafkaConnection
from .lanes import Batch, Lanes

log = structlog.get_logger(__name__)

POLL_S = 0.05
REVOKE_S = 2.0
FETCH_WAIT_MS = 250
HOLE_S = 5.0


class BatchSchema(faust.Schema[Any, Any]):
    """Keys and values as they come: agents decode, so that nothing undecodable is dropped on the way."""

    def loads_key(self, app: Any, message: Any, **kwargs: Any) -> Any:
        """The key as it came."""
        return message.key

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> Any:
        """The batch."""
        return message.value


class ConsumerThread(stock.AIOKafkaConsumerThread):
    """The thread that fetches and keeps the membership alive, whatever the agents are doing."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        connection: KafkaConnection = cast(Any, self.app).kafka
        self._assignor = RoundRobinPartitionAssignor
        return aiokafka.AIOKafkaConsumer(
            **connection.aiokafka(),
            client_id=conf.broker_client_id,
            group_id=conf.id,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_poll_records=conf.broker_max_poll_records,
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            isolation_level="read_committed",
        )

    def polled(self, tp: TopicPartition) -> tuple[int, int]:
        """The last stable offset of a partition and when it was told, milliseconds UTC; (-1, 0) before the first fetch."""
        try:
            consumer = self._ensure_consumer()
            stable, at = consumer.last_stable_offset(tp), consumer.last_poll_timestamp(tp)
        except (AssertionError, ConsumerNotStarted, aiokafka.errors.IllegalStateError):
            return -1, 0
        return (-1, 0) if stable is None or at is None else (stable, at)

    def partitions_of(self, topic: str) -> int:
        """How many partitions a topic has; 0 while that is not known."""
        try:
            return len(self._ensure_consumer().partitions_for_topic(topic) or ())
        except ConsumerNotStarted:
            return 0

    async def seek_to(self, tp: TP, offset: int) -> None:
        """Read on from ``offset``; in the thread, whose loop would not notice otherwise."""
        await self.call_thread(self._seek_to, tp, offset)

    async def _seek_to(self, tp: TP, offset: int) -> None:
        self._ensure_consumer().seek(tp, offset)

    async def commit_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit for a broker without transactions; what is not ours any more is left alone."""
        await self.call_thread(self._commit_offsets, offsets)

    async def _commit_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        consumer = self._ensure_consumer()
        mine = {tp: OffsetAndMetadata(offset, "") for tp, offset in offsets.items() if tp in consumer.assignment()}
        if mine:
            await consumer.commit(mine)


class Consumer(stock.Consumer):
    """The consumer: fetches for lanes that are open, and hands each what is its."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reconciled: object = None
        self._fetched: dict[TP, int] = {}
        self._holes: dict[TP, tuple[int, float]] = {}

    @property
    def lanes(self) -> Lanes:
        """The lanes of this worker."""
        return cast(Lanes, cast(Any, self.app).lanes)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """No IO here: lanes say where to read from, once they are open."""

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Nothing: the checkpoint commits."""
        return False

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Take no new batch, and give what is under way a moment; lanes stay until the new assignment is known."""
        self.stop_flow()
        await self.lanes.still(REVOKE_S)
        await super().on_partitions_revoked(revoked)

    async def verify_all_partitions_active(self) -> None:
        """The watchdog of the worker does this, against what is committed."""

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        """Fetch for the lanes that are ready; yields one message per partition, whose value is a batch."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        app, lanes = self.app, self.lanes
        generation = app.consumer_generation_id
        if generation != self._reconciled:
            lanes.reconcile(_plain(tp) for tp in self.assignment())
            self._reconciled = generation
        leases: dict[TP, tuple[int, int]] = {}
        for tp in self.assignment():
            lane = lanes.of(_plain(tp))
            if lane is None or not lane.ready:
                continue
            if lane.seek:
                lane.seek = False
                await self._seek_lane(tp, lane.next)
            leases[tp] = (lane.lease, self._fetched[tp])
        if not leases:
            await asyncio.sleep(POLL_S / 2)
            return
        try:
            fetched = await self._getmany(set(leases), POLL_S)
        except NoOffsetForPartitionError:
            # Assigned anew a moment ago, which forgets positions, and read before that is known here.
            for tp in leases:
                if (lane := lanes.of(_plain(tp))) is not None:
                    lane.seek = True
            return
        for tp, records in fetched.items():
            if not self.flow_active or app.consumer_generation_id != generation:
                return
            if tp in leases and not cast(Any, self.app).transactions:
                records = await self._whole(tp, records)
            if records and tp in leases:
                lease, start = leases[tp]
                end = self._fetched[tp] = records[-1].offset + 1
                yield tp, self._message(tp, Batch(lease, start, end, records))

    async def _whole(self, tp: TP, records: list[ConsumerRecord]) -> list[ConsumerRecord]:
        """The records up to the first hole, which is read again until it is filled.

        Where several write to a partition, the embedded broker can show a later batch before an earlier one. A hole that
        stays is none of those. With transactions their markers leave holes.
        """
        start = self._fetched[tp]
        count = contiguous([record.offset for record in records], start)
        if count == len(records):
            return records
        at, now = start + count, time.monotonic()
        found, since = self._holes.get(tp, (-1, now))
        if found != at:
            self._holes[tp] = (at, now)
            log.info("reads again", topic=tp.topic, partition=tp.partition, missing=at)
        elif now - since > HOLE_S:
            log.warning("a hole in a topic", topic=tp.topic, partition=tp.partition, missing=at)
            return records
        await cast(ConsumerThread, self._thread).seek_to(tp, at)
        return records[:count]

    async def _seek_lane(self, tp: TP, offset: int) -> None:
        await cast(ConsumerThread, self._thread).seek_to(tp, offset)
        self._fetched[tp] = offset
        self._read_offset[tp] = offset or None

    def _message(self, tp: TP, batch: Batch) -> ConsumerMessage:
        last = batch.records[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            (last.timestamp or 0) / 1000.0,
            last.timestamp_type,
            None,
            None,
            cast(Any, batch),
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )


def contiguous(offsets: Sequence[int], start: int) -> int:
    """How many of these ascending offsets follow each other from ``start`` on.

    >>> contiguous([4, 5, 7], 4), contiguous([5], 4), contiguous([], 4)
    (2, 0, 0)
    """
    if offsets and offsets[0] == start and offsets[-1] - start == len(offsets) - 1:
        return len(offsets)
    return next((count for count, offset in enumerate(offsets) if offset != start + count), len(offsets))


def _plain(tp: Any) -> TopicPartition:
    return TopicPartition(tp.topic, tp.partition)


class Transport(stock.Transport):
    """The driver: ``batching://``."""

    Consumer = Consumer
