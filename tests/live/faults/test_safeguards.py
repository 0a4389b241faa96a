"""What only a real Kafka shows: readers pass over what was given up, and a refused record fails its whole batch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.broker import Broker
from streams.embedded import Valkey
from streams.environment import kafka_from_environment
from streams.outbox import Output
from streams.store import Position
from tests.live.cluster import PATIENCE_S, Installation, Job
from tests.live.kafka import Elsewhere, KafkaServer

pytestmark = pytest.mark.kafka


@pytest.fixture
def installation(kafka: KafkaServer | Elsewhere, tmp_path: Path) -> Iterator[Installation]:
    name = f"t{uuid4().hex[:10]}"
    (tmp_path / "workers").mkdir()
    with Valkey(tmp_path / "valkey") as store:
        job = Job(kafka.bootstrap, store.url, name, f"{name}-", "", raw=("clickstream",))
        with Installation(job, 1, tmp_path / "workers") as made:
            yield made


def page(number: int) -> bytes:
    return b'{"type":"page_viewed","id":"e%d","customer":"u:1","occurred_at":%d}' % (number, number)


async def test_what_was_given_up_is_never_read(installation: Installation, kafka: KafkaServer | Elsewhere) -> None:
    """Raw records of a transaction that its sender aborted, between two that are committed."""
    topic = f"{installation.job.prefix}clickstream"
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=topic)
    await producer.start()
    for number, commits in enumerate((True, False, True)):
        await producer.begin_transaction()
        await producer.send_and_wait(topic, page(number), partition=0)
        await (producer.commit_transaction() if commits else producer.abort_transaction())
    await producer.stop()
    installation.start()
    until = time.monotonic() + PATIENCE_S
    log: list[bytes] = []
    while not any(b'"e2"' in value for value in log):
        log = installation.values("events")
        assert time.monotonic() < until, installation.logs()
        time.sleep(0.1)
    assert [value.partition(b'"id":')[2][:4] for value in log] == [b'"e0"', b'"e2"']


async def test_a_refused_record_fails_its_batch_and_the_offset_with_it(kafka: KafkaServer | Elsewhere) -> None:
    """A topic that takes less than the engine thinks: nothing may be committed without all of its outputs."""
    name = f"t{uuid4().hex[:10]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    small = {"max.message.bytes": "1000"}
    await admin.create_topics([NewTopic(f"{name}-small", 1, 1, topic_configs=small), NewTopic(name, 1, 1)])
    await admin.close()
    broker = Broker(kafka_from_environment({}, kafka.bootstrap), name)
    publisher = broker.publisher(f"{name}-0")
    await publisher.start()
    at = TopicPartition(name, 0)
    with pytest.raises(Exception, match=r"MessageSizeTooLarge|too large"):
        await publisher.publish([Output(0, 0, f"{name}-small", b"u:1", bytes(5_000), 0)], {at: Position(1)})
    await publisher.stop()
    second = broker.publisher(f"{name}-0")
    await second.start()
    assert await broker.committed(at, second) is None
    await second.stop()
    await broker.close()


async def test_a_barrier_commits_nothing(kafka: KafkaServer | Elsewhere) -> None:
    """It is a write among the group's offsets, so that the last of them is told, and leaves none of its own."""
    name = f"t{uuid4().hex[:10]}"
    at, other = TopicPartition(name, 0), TopicPartition(name, 1)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, 2, 1)])
    await admin.close()
    broker = Broker(kafka_from_environment({}, kafka.bootstrap), name)
    for number in range(3):
        publisher = broker.publisher(f"{name}-0")
        await publisher.start()
        assert await broker.committed(other, publisher) is None
        assert await broker.committed(at, publisher) == (Position(number) if number else None)
        await publisher.publish([], {at: Position(number + 1)})
        await publisher.stop()
    await broker.close()
