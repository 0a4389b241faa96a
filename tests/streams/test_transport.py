"""The batching transport against Faust's own driver: the same records, in the same order, none missing."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.consumer.fetcher import FetchError
from aiokafka.errors import NoOffsetForPartitionError
from aiokafka.structs import ConsumerRecord

from streams.app import App, bare, hand_over
from streams.connection import KafkaConnection
from streams.embedded import Broker
from streams.lanes import Lanes, ReopenError
from streams.settings import StreamSettings
from streams.transport import BatchSchema

PARTITIONS, RECORDS = 3, 3_000
Seen = dict[int, list[tuple[int, bytes]]]


class Recorder:
    """Work that notes what it is handed; from its third batch on it once asks to be opened anew."""

    def __init__(self, tp: TopicPartition, seen: Seen) -> None:
        self._seen = seen[tp.partition]
        self.batches = 0
        self.done = 0

    async def open(self) -> int:
        return self._seen[-1][0] + 1 if self._seen else 0

    async def process(self, records: Sequence[ConsumerRecord]) -> None:
        self.batches += 1
        if self.batches == 3:
            raise ReopenError("a test")
        self._seen += [(record.offset, record.value) for record in records]

    async def idle(self) -> None: ...

    async def finish(self) -> None: ...

    async def close(self) -> None: ...


def batching(address: str, transactions: bool = False) -> tuple[App, Seen, list[Recorder]]:
    seen: Seen = defaultdict(list)
    app = bare(KafkaConnection((address,)), StreamSettings(app="batching", session_s=3.0, transactions=transactions))
    works: list[Recorder] = []

    def make(tp: TopicPartition) -> Recorder:
        works.append(Recorder(tp, seen))
        return works[-1]

    def crash(error: BaseException) -> None:
        raise error

    app.lanes = Lanes(make, 3.0, crash)
    app.agent(app.topic("records", schema=BatchSchema(), acks=False), name="batching")(hand_over(app))
    return app, seen, works


def stock(address: str, folder: Path) -> tuple[faust.App, Seen]:
    seen: Seen = defaultdict(list)
    app = faust.App(
        "stock",
        broker=f"kafka://{address}",
        value_serializer="raw",
        key_serializer="raw",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_session_timeout=3.0,
        broker_heartbeat_interval=1.0,
        stream_recovery_delay=0.0,
        autodiscover=False,
        datadir=str(folder),
    )

    async def agent(stream: Any) -> None:
        async for event in stream.events():
            seen[event.message.partition].append((event.message.offset, event.value))

    app.agent(app.topic("records"), name="stock")(agent)
    return app, seen


async def read(app: faust.App, seen: Seen, done: Callable[[], bool]) -> Seen:
    """Run an app until everything has come."""
    app.finalize()
    await app.start()
    try:
        async with asyncio.timeout(60):
            while not done():
                await asyncio.sleep(0.02)
    finally:
        if isinstance(app, App):
            await app.lanes.stop(10.0)
        await app.stop()
    return seen


async def fill(address: str) -> None:
    """Make the topic, with records in each partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic("records", PARTITIONS, 1)])
    await admin.close()
    await write(address)


async def write(address: str) -> None:
    """Write records to each partition."""
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        for number in range(RECORDS):
            await producer.send("records", str(number).encode(), partition=number % PARTITIONS)
        await producer.flush()


async def test_the_same_records_in_the_same_order_as_the_stock_driver(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        await fill(broker.address)
        app, seen, works = batching(broker.address)
        mine = await read(app, seen, lambda: sum(map(len, seen.values())) >= RECORDS)
        other, theirs = stock(broker.address, tmp_path / "stock")
        await read(other, theirs, lambda: sum(map(len, theirs.values())) >= RECORDS)
        assert dict(mine) == dict(theirs)
        assert sum(work.batches for work in works) < RECORDS / 10
        assert isinstance(app.lanes, Lanes)


async def test_a_consumer_that_forgot_its_positions_is_told_them_again(tmp_path: Path) -> None:
    """As in a rebalance, when a fetch comes between the new assignment and its being known to the lanes."""
    with Broker(tmp_path) as broker:
        await fill(broker.address)
        app, seen, _ = batching(broker.address)
        more: list[asyncio.Task[None]] = []

        def forget() -> None:
            """What aiokafka does to a partition that it was assigned, and that nobody has committed for."""
            consumer: Any = app.consumer
            for tp in consumer.assignment():
                consumer._thread._ensure_consumer()._fetcher._records[TopicPartition(tp.topic, tp.partition)] = (
                    FetchError(error=NoOffsetForPartitionError(tp), backoff=0.1)
                )

        def done() -> bool:
            consumer: Any = app.consumer
            if not more and sum(map(len, seen.values())) >= RECORDS:
                consumer._thread.thread_loop.call_soon_threadsafe(forget)
                more.append(asyncio.create_task(write(broker.address)))
            return sum(map(len, seen.values())) >= 2 * RECORDS

        mine = await read(app, seen, done)
        assert {p: [offset for offset, _ in found] for p, found in mine.items()} == {
            p: list(range(2 * RECORDS // PARTITIONS)) for p in range(PARTITIONS)
        }


async def send(address: str, sender: int, batches: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=address, acks="all", linger_ms=0) as producer:
        for number in range(batches):
            batch = producer.create_batch()
            for part in range(3):
                batch.append(key=None, value=b"%d,%d,%d" % (sender, number, part), timestamp=None)
            await (await producer.send_batch(batch, "records", partition=0))


@pytest.mark.live  # the broker does so about once in ten thousand batches
async def test_a_batch_that_the_broker_shows_late_is_not_passed_over(tmp_path: Path) -> None:
    senders, batches = 6, 3_000
    with Broker(tmp_path) as broker:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
        await admin.start()
        await admin.create_topics([NewTopic("records", 1, 1)])
        await admin.close()
        app, seen, _ = batching(broker.address)
        writing: list[asyncio.Future[list[None]]] = []

        def done() -> bool:
            if not writing:  # only now, so that they write while it reads
                writing.append(asyncio.gather(*(send(broker.address, sender, batches) for sender in range(senders))))
            return writing[0].done() and bool(seen[0]) and seen[0][-1][0] == senders * batches * 3 - 1

        await read(app, seen, done)
        await writing[0]
        assert [offset for offset, _ in seen[0]] == list(range(senders * batches * 3))
