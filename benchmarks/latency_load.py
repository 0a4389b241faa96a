"""Both ends of the latency measurement, each a process of its own: an open-loop producer, and a subscriber.

The producer has a schedule and keeps to it whatever becomes of the pipeline: record ``i`` is due at ``start + i / rate``.
The subscriber notes when it has a trigger in hand. Both read the machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka import KafkaError, Message, Producer

from models.simulator.config import DAY_MS, ShopConfig
from models.simulator.shop import Shop
from schemas.routing import glance
from streams import clients, log_reader
from streams.environment import kafka_from_environment

CUSTOMERS = 20_000
STAMPS = re.compile(rb"(?<=\")20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z(?=\")")
PROBE = "probe-"
LINGER_MS = 5
TURN_S = 0.001
IDLE_MS = 100
PATIENCE_S = 120.0


class Run(NamedTuple):
    """What a producer is to send.

    Parameters
    ----------
    kafka, prefix
        The broker, and what stands before the names of topics.
    records
        File of the background's records, a line each.
    first, total
        The slice of it that is played, and how many records there are in all, probes included.
    every
        One record in so many is a probe.
    rate
        Records a second; 0 is as fast as the broker takes them.
    name
        Of this run: part of the probes' customers.
    start
        When the first record is due, seconds of the monotonic clock.
    """

    kafka: str
    prefix: str
    records: Path
    first: int
    total: int
    every: int
    rate: float
    name: str
    start: float

    def due(self, number: int) -> float:
        """When a record is due, seconds of the monotonic clock."""
        return self.start + number / self.rate if self.rate else self.start

    def probes(self) -> range:
        """The numbers of the probes."""
        return range(self.every - 1, self.total, self.every)


def customer(name: str, number: int) -> str:
    """A probe's customer, who does nothing else.

    >>> customer("a", 7)
    'probe-a-7'
    """
    return f"{PROBE}{name}-{number}"


def background(file: Path, count: int) -> int:
    """Write the first ``count`` records of a simulated shop (seed 1, 20,000 customers); the days that they take."""
    shop, left, days = Shop(ShopConfig(seed=1, customers=CUSTOMERS, days=120)), count, 0
    with file.open("wb") as out:
        while left > 0:
            made = shop.advance(shop.now_ms + DAY_MS)[:left]
            out.writelines(raw + b"\n" for raw in made)
            left, days = left - len(made), days + 1
    return days


def probe(who: str, number: int, at: bytes) -> bytes:
    """An order, which triggers at once under a campaign on ``ordered``."""
    product = {"product_id": f"P{number % 100}", "category": "probe", "price": 30.0, "quantity": 1}
    properties = {"order_id": f"O-{who}", "total": 30.0, "currency": "EUR", "products": [product]}
    record = {"type": "track", "event": "Order Completed", "userId": who, "messageId": f"m-{who}"}
    return json.dumps({**record, "timestamp": at.decode(), "properties": properties}).encode()


def stamp(seconds: float) -> bytes:
    """A time as records have it.

    >>> stamp(0.25)
    b'1970-01-01T00:00:00.250Z'
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()


def made(run: Run) -> Iterator[tuple[str, bytes | None, bytes]]:
    """Topic, key and value of each record; all times in it are those of its schedule."""
    offset, probes = time.time() - time.monotonic(), run.probes()
    with run.records.open("rb") as file:
        for _ in range(run.first):
            next(file)
        for number in range(run.total):
            at = stamp(offset + run.due(number))
            if number in probes:
                who = customer(run.name, number)
                value = probe(who, number, at)
            else:
                value = STAMPS.sub(at, next(file).rstrip(b"\n"))
            seen = glance(value)
            yield run.prefix + seen.topic, seen.key, value


def produce(run: Run, pipe: Pipe) -> None:
    """Make all records, say so, be told the start, and send each when it is due; tells how late it was, seconds, by record."""
    producer = Producer(
        {
            "bootstrap.servers": run.kafka,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": LINGER_MS,
            "allow.auto.create.topics": False,
            "queue.buffering.max.messages": 10_000_000,
            "log_level": 3,
        }
    )
    failed: list[KafkaError] = []

    def told(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failed.append(error)

    pipe.send("connected")
    run = run._replace(start=pipe.recv())
    ready = list(made(run))
    late = []
    for number, (topic, key, value) in enumerate(ready):
        due = run.due(number)
        while (left := due - time.monotonic()) > 0:
            producer.poll(0)
            time.sleep(max(left, TURN_S))
        late.append(time.monotonic() - due)
        producer.produce(topic, value, key, partition=-1 if key else 0, on_delivery=told)
    unsent = producer.flush(PATIENCE_S)
    pipe.send((late, len(failed) + unsent))


class Seen(NamedTuple):
    """A trigger: its customer, when it was in hand (seconds, monotonic clock), when the broker wrote it (milliseconds UTC)."""

    customer: str
    at: float
    appended: int


def subscribe(kafka: str, topic: str, partitions: int, pipe: Pipe) -> None:
    """Read committed triggers as they come; asked by any word but ``end``, gives those of probes since it was asked last."""
    asyncio.run(_subscribe(kafka, topic, partitions, pipe))


async def _subscribe(kafka: str, topic: str, partitions: int, pipe: Pipe) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, isolation_level="read_committed", enable_auto_commit=False, group_id=None
    )
    await consumer.start()
    consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
    await consumer.seek_to_beginning()
    pipe.send("connected")
    seen: list[Seen] = []
    wanted = f"u:{PROBE}".encode()
    try:
        while True:
            batches = await consumer.getmany(timeout_ms=IDLE_MS)
            now = time.monotonic()
            for records in batches.values():
                seen += [Seen(r.key.decode(), now, r.timestamp) for r in records if r.key and r.key.startswith(wanted)]
            while pipe.poll():
                if pipe.recv() == "end":
                    return
                pipe.send(seen)
                seen = []
    finally:
        await consumer.stop()


def appended(kafka: str, topic: str) -> dict[str, int]:
    """When the broker wrote the first record of each probe's customer into a topic, milliseconds UTC; by bare id."""
    found: dict[str, int] = {}
    with clients.reader(kafka_from_environment({}, kafka)) as reader:
        for record in log_reader.whole(reader, topic):
            if record.key and PROBE.encode() in record.key:
                found.setdefault(record.key.decode().removeprefix("u:"), record.timestamp)
    return found
