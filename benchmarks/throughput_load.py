"""Input of ``benchmarks/throughput.py``: topics that hold all records before a peer starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.intake import Intake


def keyed(raws: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Each record with the customer of its first event as key, as the engine names it; without one it is nobody's."""
    intake = Intake()
    for number, raw in enumerate(raws):
        events = intake.read(raw, None, f"bench:{number}").events
        yield (events[0].customer.encode() if events else b"", raw)


def fill(broker: str, topic: str, records: Iterable[tuple[bytes, bytes]]) -> None:
    """Make a topic of one partition, and write keys and values into it."""
    create(broker, topic)
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 20, "queue.buffering.max.messages": 100_000})
    for key, value in records:
        while True:
            try:
                producer.produce(topic, value, key)
                break
            except BufferError:
                producer.poll(0.1)
    if left := producer.flush(60):
        raise RuntimeError(f"{left} records of {topic} were not taken by the broker")


def create(broker: str, *topics: str) -> None:
    """Make topics of one partition."""
    admin = AdminClient({"bootstrap.servers": broker})  # held until the answers are there
    for future in admin.create_topics([NewTopic(name, 1, 1) for name in topics]).values():
        future.result(30)
