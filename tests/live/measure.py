"""What a transaction costs on a Kafka of this machine: ``python -m tests.live.measure``, about two minutes."""

from __future__ import annotations

import asyncio
import statistics
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import OffsetAndMetadata

from tests.live.kafka import KafkaServer

SOURCE = TopicPartition("source", 0)
OUT = TopicPartition("out", 0)
VALUE = b"x" * 400  # bytes
TIMES = 100
STALLS = 6


async def main(bootstrap: str) -> None:
    """Measure and print, a line each."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(tp.topic, 1, 1) for tp in (SOURCE, OUT)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="first") as producer:
        await _transact(producer, 1, TIMES)  # makes the broker create its internal topics

    for records, batch_bytes, pause_s in [
        (1, 16_384, 0.0),
        (1, 16_384, 0.1),
        (100, 1_000_000, 0.0),
        (1000, 1_000_000, 0.0),
        (1000, 1_000_000, 0.1),
        (1000, 16_384, 0.0),
    ]:
        await _report_transactions(bootstrap, records, batch_bytes, pause_s)
    for backoff_ms in (100, 20):
        for state in ("new id", "known id", "after a transaction left open"):
            await _report_starts(bootstrap, state, backoff_ms)
    await _report_stalls(bootstrap)


async def _transact(producer: AIOKafkaProducer, records: int, offset: int) -> None:
    await producer.begin_transaction()
    await _send(producer, records, b"%d" % offset)
    await producer.send_offsets_to_transaction({SOURCE: OffsetAndMetadata(offset, "0")}, "group")
    await producer.commit_transaction()


async def _send(producer: AIOKafkaProducer, records: int, key: bytes) -> None:
    sent: list[asyncio.Future[object]] = []
    left = records
    while left:
        batch = producer.create_batch()
        while left and batch.append(timestamp=None, key=key, value=VALUE) is not None:
            left -= 1
        sent.append(await producer.send_batch(batch, OUT.topic, partition=OUT.partition))
    for future in sent:
        await future


async def _report_transactions(bootstrap: str, records: int, batch_bytes: int, pause_s: float) -> None:
    consumer = _reader(bootstrap)
    await consumer.start()
    consumer.assign([OUT])
    await consumer.seek_to_end(OUT)
    await consumer.position(OUT)
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, transactional_id="steady", max_batch_size=batch_bytes, retry_backoff_ms=20
    )
    await producer.start()
    committed, seen = [], []
    for number in range(TIMES):
        await asyncio.sleep(pause_s)
        reading = asyncio.create_task(_receive(consumer, records, b"%d" % number))
        await asyncio.sleep(0)
        began = time.perf_counter()
        await _transact(producer, records, number)
        committed.append(time.perf_counter() - began)
        seen.append(await reading - began)
    await producer.stop()
    await consumer.stop()
    what = f"{records} records, batches of {batch_bytes} bytes, {pause_s} s between"
    print(f"transaction, {what}: committed {_ms(committed)}, read {_ms(seen)}")


async def _receive(consumer: AIOKafkaConsumer, records: int, key: bytes) -> float:
    while records > 0:
        for messages in (await consumer.getmany(timeout_ms=10_000)).values():
            records -= sum(message.key == key for message in messages)
    return time.perf_counter()


async def _report_starts(bootstrap: str, state: str, backoff_ms: int) -> None:
    took = []
    for number in range(20):
        identity = f"start-{backoff_ms}-{number if state == 'new id' else 'same'}"
        if state == "after a transaction left open":
            await _leave_open(bootstrap, identity, 60_000)
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=identity, retry_backoff_ms=backoff_ms)
        began = time.perf_counter()
        await producer.start()
        took.append(time.perf_counter() - began)
        await producer.stop()
    print(f"start of a producer, {state}, retry_backoff_ms={backoff_ms}: {_ms(took)}")


async def _leave_open(bootstrap: str, identity: str, limit_ms: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=identity, transaction_timeout_ms=limit_ms)
    async with producer:  # its end closes the connections and leaves the transaction open
        await producer.begin_transaction()
        await _send(producer, 1, b"open")


async def _report_stalls(bootstrap: str) -> None:
    limit_ms = 1000
    took = []
    for number in range(STALLS):
        consumer = _reader(bootstrap)
        await consumer.start()
        consumer.assign([OUT])
        await consumer.seek_to_end(OUT)
        await consumer.position(OUT)
        await asyncio.sleep(1.7 * number)  # the broker looks for expired transactions at fixed times
        began = time.perf_counter()
        await _leave_open(bootstrap, f"gone-{number}", limit_ms)
        async with AIOKafkaProducer(bootstrap_servers=bootstrap) as plain:
            await plain.send_and_wait(OUT.topic, VALUE, b"last", partition=OUT.partition)
        took.append(await _receive(consumer, 1, b"last") - began)
        await consumer.stop()
    print(f"stall behind an open transaction without successor, transaction_timeout_ms={limit_ms}: {_ms(took)}")


def _reader(bootstrap: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed")


def _ms(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    ninth = ordered[len(ordered) * 9 // 10]
    return f"median {statistics.median(ordered) * 1000:.1f} ms (p90 {ninth * 1000:.1f}, max {ordered[-1] * 1000:.1f})"


if __name__ == "__main__":
    with KafkaServer() as server:
        asyncio.run(main(server.bootstrap))
