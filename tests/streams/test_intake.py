"""Where intake begins: behind all that it, or one before it, has taken in, whatever a broker says of the group's offsets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord
from redis.asyncio import Redis

from streams.agents.intake import IntakePartition
from streams.broker import Log
from streams.embedded import Valkey
from streams.errors import RefusedError
from streams.redis_store import RedisStore
from streams.settings import StreamSettings
from streams.store import MemoryStore, Position, Store

from .fakes import FakeBroker

RAW = TopicPartition("clickstream", 0)


class Raw(FakeBroker):
    """A broker with one raw topic, of which all is there from 0 to ``end``."""

    end = 10

    async def log(self, tp: TopicPartition) -> Log:
        return Log(0, self.end, 1, f"{tp.topic} {self.identity}")


def record(offset: int) -> ConsumerRecord:
    value = b'{"type":"page_viewed","id":"e%d","customer":"u:1","occurred_at":%d}' % (offset, offset)
    return ConsumerRecord(RAW.topic, RAW.partition, offset, offset, 0, None, value, None, 0, len(value), ())


def intake(broker: Raw, store: Store) -> IntakePartition:
    return IntakePartition(RAW, StreamSettings(raw=("clickstream",)), store, broker, lambda tp: (-1, 0))


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(params=["memory", "valkey"])
async def store(request: pytest.FixtureRequest, valkey: Valkey) -> AsyncIterator[Store]:
    name = request.node.name
    made: Store = MemoryStore() if request.param == "memory" else RedisStore(Redis.from_url(valkey.url), name)
    yield made
    await made.close()


async def taken_in(broker: Raw, store: Store, count: int) -> None:
    work = intake(broker, store)
    start = await work.open()
    await work.process([record(n) for n in range(start, start + count)])
    await work.close()


async def test_a_broker_that_forgot_the_groups_offsets_is_not_believed(store: Store) -> None:
    broker = Raw()
    await taken_in(broker, store, 4)
    broker.offsets[RAW] = Position(1)
    await taken_in(broker, store, 2)
    broker.offsets.clear()
    assert await intake(broker, store).open() == 6
    assert [output.position.offset for output in broker.sent["events"]] == list(range(6))


async def test_nor_by_the_intake_that_wrote_them_itself() -> None:
    class Away(MemoryStore):
        async def passed(self, source: str, offset: int) -> None:
            raise ConnectionError

    broker, store = Raw(), Away()
    work = intake(broker, store)
    await work.open()
    await work.process([record(0), record(1)])
    await work.close()
    broker.offsets.clear()
    assert await work.open() == 2


async def test_what_is_committed_later_is(store: Store) -> None:
    broker = Raw()
    await taken_in(broker, store, 2)
    broker.offsets[RAW] = Position(7)
    assert await intake(broker, store).open() == 7


async def test_a_place_never_goes_back(store: Store) -> None:
    await store.passed("a", 5)
    await store.passed("a", 3)
    assert (await store.place("a"), await store.place("b")) == (5, 0)


async def test_a_topic_made_anew_is_another(store: Store) -> None:
    broker = Raw()
    await taken_in(broker, store, 4)
    broker.offsets.clear()
    broker.identity = "made anew"
    assert await intake(broker, store).open() == 0


async def test_a_topic_that_lost_its_end_is_refused(store: Store) -> None:
    broker = Raw()
    await taken_in(broker, store, 4)
    broker.end = 3
    with pytest.raises(RefusedError, match="bring the topic back"):
        await intake(broker, store).open()
