"""An erased customer in the store: no key and no value tells its id or its devices', and what comes late stays out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from dataclasses import replace as replace_settings
from itertools import count
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord
from msgspec.structs import replace
from redis.asyncio import Redis

from models.learning.snapshots import seal
from models.profile import profile as profiles
from models.profile.profile import Profile
from models.profile.tombstone import is_tombstone, named
from schemas.base import DAY_MS, HOUR_MS, Event
from schemas.clickstream import PageViewed
from schemas.codec import decode_event, encode_decision, encode_event
from schemas.control import tick
from schemas.identity import ErasureRequested, HandedOver, Linked, Unlinked
from streams.broker import Log
from streams.checkpoint import EnginePartition
from streams.embedded import Valkey
from streams.outbox import Headers
from streams.publishers import partition_of
from streams.redis_store import RedisStore
from streams.run import Run
from streams.saved import restore, snapshot
from streams.settings import Limits, StreamSettings
from streams.stepping import State
from streams.store import MemoryStore, Position, Store
from streams.tombstones import pseudonyms
from tests import vera
from tests.streams.fakes import FakeBroker
from tests.support import START, add, busy, make, order, stream
from tests.vera import LAPTOP, PHONE, VERA

IDS = [name[2:].encode() for name in (VERA, PHONE, LAPTOP)]
ERASED_AT = START + 12 * DAY_MS
_apps = (f"erasure-{number}" for number in count())


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


class Cluster(FakeBroker):
    """As many partitions of the log as it is told; records go where their key says."""

    def __init__(self, partitions: int) -> None:
        super().__init__()
        self.logs: list[list[ConsumerRecord]] = [[] for _ in range(partitions)]

    def append(self, value: bytes, at: int, key: bytes = b"", headers: Headers = ()) -> None:
        """Write a record to the log."""
        p = partition_of(key, len(self.logs))
        log = self.logs[p]
        log.append(ConsumerRecord("events", p, len(log), at, 0, key, value, None, len(key), len(value), headers))

    def tick(self, at: int) -> None:
        """Time for every partition."""
        value = encode_event(tick(at))
        for p, log in enumerate(self.logs):
            log.append(ConsumerRecord("events", p, len(log), at, 0, b"", value, None, 0, len(value), ()))

    async def log(self, tp: TopicPartition) -> Log:
        """The log as it is now."""
        return Log(0, len(self.logs[tp.partition]), len(self.logs), self.identity)

    async def partitions(self, topic: str) -> int:
        """Of the log."""
        return len(self.logs)


@dataclass
class World:
    """A log, a store, and an engine for each partition."""

    store: Store
    settings: StreamSettings
    partitions: int = 1
    broker: Cluster = field(init=False)
    engines: list[EnginePartition] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.broker = Cluster(self.partitions)

    async def open(self) -> None:
        """Engines that know nothing but what is in the store."""
        self.next = []
        for engine in self.engines:
            await engine.close()
        self.engines = [
            EnginePartition(TopicPartition("events", p), self.settings, self.store, self.broker)
            for p in range(self.partitions)
        ]
        self.next = [await engine.open() for engine in self.engines]

    async def feed(self, events: Iterable[Event], batch: int = 7) -> None:
        """Write the events, and work until nothing is left: what the engines write themselves is read, too."""
        for event in events:
            self.broker.append(encode_event(event), event.occurred_at, event.customer.encode())  # type: ignore[arg-type]  # of the union
        while any(at < len(log) for at, log in zip(self.next, self.broker.logs, strict=True)):
            for p, engine in enumerate(self.engines):
                records = self.broker.logs[p][self.next[p] : self.next[p] + batch]
                if records:
                    await engine.process(records)
                    self.next[p] += len(records)
                await engine.idle()

    async def profile(self, customer: str) -> Profile | None:
        """What the store has of a customer."""
        p = partition_of(customer.encode(), self.partitions)
        loaded = await self.store.load(p, 0, 1, [customer], [pseudonyms(self.settings.key)(customer)])
        data = loaded.profiles.get(customer)
        return None if data is None else named(profiles.decode(data), customer)

    @property
    def log(self) -> list[Event]:
        """All that is in the log."""
        return [decode_event(record.value or b"") for log in self.broker.logs for record in log]


def settings(days: float = 400, examples: int = 5_000, key: bytes = b"secret") -> StreamSettings:
    engine = vera.remembered(days)
    limits = Limits(seconds=600, records=5, outputs=9, timers=3, examples=examples)
    return StreamSettings(engine=engine, raw=(), clock="event", limits=limits, key=key, learning="inline")


def life(at: int) -> list[Event]:
    """Vera's, and what comes days later: timers, predictions and contacts."""
    return [
        *vera.life(at),
        make(PageViewed, at + 3 * DAY_MS, PHONE),
        order(at + 8 * DAY_MS, VERA),
        add(at + 8 * DAY_MS + 1, VERA),
    ]


def erased(customer: str = VERA, at: int = ERASED_AT) -> ErasureRequested:
    return make(ErasureRequested, at, customer, id=f"erase-{at}")


async def everything(client: Redis) -> dict[bytes, list[bytes]]:
    """Every key of the server with every part of its value."""
    found: dict[bytes, list[bytes]] = {}
    name: Any  # bytes, as are the values: of this client
    async for name in client.scan_iter(count=1000):
        value: Any
        kind = await client.type(name)
        if kind == b"hash":
            value = await client.hgetall(name)
            found[name] = [part for pair in value.items() for part in pair]
        elif kind == b"zset":
            value = await client.zrange(name, 0, -1)
            found[name] = value
        elif kind == b"list":
            value = await client.lrange(name, 0, -1)
            found[name] = value
        else:
            assert kind == b"string", f"{name!r} is a {kind!r}"
            value = await client.get(name)
            found[name] = [value]
    return found


def telling(found: dict[bytes, list[bytes]], words: Iterable[bytes]) -> dict[bytes, set[str]]:
    """The words that are told, by what tells them: the last part of the key's name."""
    told: dict[bytes, set[str]] = {}
    for word in words:
        for name, parts in found.items():
            if word in name or any(word in part for part in parts):
                told.setdefault(word, set()).add(name.decode().rpartition(":")[2])
    return told


def in_valkey(valkey: Valkey, test: Callable[[RedisStore, Redis], Awaitable[None]]) -> None:
    async def run() -> None:
        client = Redis.from_url(valkey.url)
        await client.flushall()
        store = RedisStore(client, next(_apps))
        try:
            await test(store, client)
        finally:
            await store.close()

    asyncio.run(run())


@pytest.mark.parametrize("partitions", [1, 3])
def test_nothing_in_the_store_tells_who_was_erased(valkey: Valkey, partitions: int) -> None:
    """Devices in other partitions included: the messages find them by their key."""

    async def test(store: RedisStore, client: Redis) -> None:
        world = World(store, settings(), partitions)
        homes = {partition_of(name.encode(), partitions) for name in (VERA, PHONE, LAPTOP)}
        assert len(homes) == min(partitions, 3), "as far apart as can be"
        await world.open()
        await world.feed(sorted([*stream(2, 150, days=9), *life(START)], key=lambda event: event.occurred_at))
        before = telling(await everything(client), IDS)
        assert set(before) == set(IDS), "else nothing would be shown"
        assert {"profiles", "timers", "wal"} <= before[IDS[0]]
        await world.feed([erased()])
        assert telling(await everything(client), [*IDS, b"Vera was here"]) == {}
        assert not any(name in engine.stepper.cache for engine in world.engines for name in (VERA, PHONE, LAPTOP))
        late = [replace(event, id=f"late-{event.id}") for event in life(START + 1)]
        await world.feed([*late, *life(START), erased(), erased()])
        assert telling(await everything(client), IDS) == {}
        await world.open()  # engines that have only the store to go by
        await world.feed([replace(event, id=f"later-{event.id}") for event in life(START + 2)])
        assert telling(await everything(client), IDS) == {}
        tombstone = await world.profile(VERA)
        assert tombstone is not None
        assert is_tombstone(tombstone)
        assert (tombstone.erased_at, tombstone.contact.consents) == (ERASED_AT, (("sms", False),))
        assert not [event for event in world.log[-3:] if isinstance(event, HandedOver)]
        await world.feed([order(ERASED_AT + HOUR_MS, VERA), make(PageViewed, ERASED_AT + HOUR_MS, PHONE)])
        alive = await world.profile(VERA)
        assert alive is not None
        assert (alive.orders.count, alive.erased_at, alive.origins) == (1, ERASED_AT, ())
        assert set(telling(await everything(client), IDS)) == set(IDS[:2])
        names = {pseudonyms(b"secret")(name) for name in (VERA, PHONE)}
        stones = [part for name, parts in (await everything(client)).items() if b"kept-until" in name for part in parts]
        assert stones
        assert names.isdisjoint(stones), "who is back has a profile in place of the tombstone"
        await world.feed([erased(VERA, ERASED_AT + DAY_MS), erased(PHONE, ERASED_AT + DAY_MS)])
        assert telling(await everything(client), IDS) == {}

    in_valkey(valkey, test)


@pytest.mark.parametrize("kind", ["memory", "valkey"])
@pytest.mark.parametrize("partitions", [1, 3])
def test_a_hand_over_to_an_erased_user_is_answered(valkey: Valkey, kind: str, partitions: int) -> None:
    async def test(store: RedisStore, client: Redis) -> None:
        world = World(MemoryStore() if kind == "memory" else store, settings(), partitions)
        await world.open()
        await world.feed([erased()])
        await world.open()
        await world.feed([order(ERASED_AT - HOUR_MS, PHONE), make(Linked, ERASED_AT + HOUR_MS, PHONE, user=VERA)])
        (answer,) = [one for one in world.log if isinstance(one, ErasureRequested) and one.user]
        assert (answer.customer, answer.user) == (PHONE, VERA)
        assert sum(isinstance(one, HandedOver) for one in world.log) == 1
        for name in (VERA, PHONE):
            profile = await world.profile(name)
            assert profile is not None
            assert is_tombstone(profile)
        if kind == "valkey":
            assert telling(await everything(client), IDS) == {}

    in_valkey(valkey, test)


def test_a_device_that_is_erased_by_itself_is_told_by_nothing(valkey: Valkey) -> None:
    async def test(store: RedisStore, client: Redis) -> None:
        world = World(store, settings(), 3)
        await world.open()
        await world.feed([*life(START), erased(PHONE)])
        assert [one.origin for one in world.log if isinstance(one, Unlinked)] == [PHONE]
        assert set(telling(await everything(client), IDS)) == {IDS[0], IDS[2]}
        vera = await world.profile(VERA)
        assert vera is not None
        assert (vera.orders.count, vera.origins) == (2, (LAPTOP,))

    in_valkey(valkey, test)


@pytest.mark.parametrize("kind", ["memory", "valkey"])
def test_a_tombstone_runs_out_by_the_time_of_the_log(valkey: Valkey, kind: str) -> None:
    async def test(store: RedisStore, client: Redis) -> None:
        world = World(MemoryStore() if kind == "memory" else store, settings(days=5))
        await world.open()
        await world.feed([*life(START), erased()])
        world.broker.tick(ERASED_AT + 5 * DAY_MS - 1)
        await world.feed([order(ERASED_AT, VERA, number="late")])
        profile = await world.profile(VERA)
        assert profile is not None
        assert is_tombstone(profile)
        world.broker.tick(ERASED_AT + 5 * DAY_MS)
        await world.feed([])
        assert await world.profile(VERA) is None
        await world.open()
        await world.feed([order(ERASED_AT, VERA, number="later still")])
        profile = await world.profile(VERA)
        assert profile is not None
        assert (profile.orders.count, profile.erased_at) == (1, 0)

    in_valkey(valkey, test)


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("behind", [0, 1])
def test_a_tombstone_runs_out_alike_however_the_log_is_cut(batch: int, behind: int) -> None:
    """With several sources an event has a time of its own; tombstones go by the partition's, as the store does."""

    async def test() -> None:
        sources = ("clickstream/0", "transactions/0")
        world = World(MemoryStore(), replace_settings(settings(days=1), raw=("clickstream", "transactions")))
        await world.open()
        await world.feed([replace(erased(), via=sources[0])], batch)
        over = ERASED_AT + DAY_MS
        await world.feed(
            [
                tick(over, via=sources[0]),
                tick(over - behind, via=sources[1]),
                order(ERASED_AT, VERA, number="late", via=sources[1]),
                make(PageViewed, over + 1, VERA, via=sources[0]),
            ],
            batch,
        )
        vera = await world.profile(VERA)
        assert vera is not None
        assert (vera.orders.count, vera.erased_at) == ((0, ERASED_AT) if behind else (1, 0))

    asyncio.run(test())


@pytest.mark.parametrize(("seed", "days"), [(0, 1), (1, 3), (2, 400)])
def test_the_log_again_in_one_process_comes_to_the_same(seed: int, days: float) -> None:
    """Engines that are opened anew all the time have only tombstones to go by; the process has everything at hand."""

    async def streamed() -> World:
        world = World(MemoryStore(), settings(days, examples=50))
        more: list[Event] = [make(Linked, START + n * DAY_MS, f"a:{n}", user=f"u:{n}") for n in range(12)]
        more += [erased(f"{kind}:{n}", START + (2 + n) * DAY_MS) for kind in "ua" for n in range(0, 12, 2)]
        more += [erased(f"{kind}:{n}", START + (2 + n) * DAY_MS) for kind in "au" for n in range(1, 12, 2)]
        events = sorted([*stream(seed, 500, customers=14, days=20), *more], key=lambda event: event.occurred_at)
        late = [replace(event, id=f"late-{event.id}") for event in events[:200]]
        for first in range(0, 500, 50):
            await world.open()
            await world.feed([*events[first : first + 50], *late[first // 3 : first // 3 + 20]])
        return world

    world = asyncio.run(streamed())
    decided: list[bytes] = []
    run = Run(world.settings.engine, lambda decision: decided.append(encode_decision(decision)), deliver=False)
    run.drain(world.log)
    sent = [output.value for output in world.broker.sent["decisions"] if b'"kind":"conversion"' not in output.value]
    assert sent == decided
    assert len(decided) > 40
    assert sum(isinstance(event, ErasureRequested) and bool(event.user) for event in world.log) > 5
    kept = world.store.partitions[0]  # type: ignore[attr-defined]  # of the store in memory
    living = {c: profiles.encode(profile) for c, profile in run.profiles.items() if not is_tombstone(profile)}
    assert kept.profiles == living
    of = pseudonyms(b"secret")
    clock = run.partition.clock
    stones = {
        of(profile.customer): profile.erased_at + run.engine.erasure_ms
        for profile in run.profiles.values()
        if is_tombstone(profile) and profile.erased_at + run.engine.erasure_ms > clock
    }
    assert {name: stone.until for name, stone in kept.tombstones.items()} == stones
    assert (len(stones) > 2) is (days == 400)


def test_states_from_before_tombstones_are_read() -> None:
    run = Run(busy())
    run.drain([*life(START), tick(START + 9 * DAY_MS)])
    saved = msgspec.msgpack.decode(snapshot(run, b"key"))
    engine, state = msgspec.msgpack.decode(saved[4])
    config = msgspec.json.decode(engine)
    del config["erasure_days"]
    older = msgspec.msgpack.encode(msgspec.msgpack.decode(state)[:-1])
    payload = msgspec.msgpack.encode([msgspec.json.encode(config), older])
    again = Run(busy())
    restore(again, seal(saved[1], saved[2], saved[3], payload, b"key"), b"key")
    assert again.profiles == run.profiles
    assert msgspec.msgpack.decode(msgspec.msgpack.encode([5, {"a": 1}, b"", {}]), type=State) == State(5, {"a": 1})


def test_another_key_finds_no_tombstone() -> None:
    async def test() -> None:
        world = World(MemoryStore(), settings(examples=1_000_000))
        await world.open()
        await world.feed([erased()])
        world.settings = settings(examples=1_000_000, key=b"another")
        await world.open()
        await world.feed([order(ERASED_AT - HOUR_MS, VERA)])
        profile = await world.profile(VERA)
        assert profile is not None
        assert profile.orders.count == 1

    asyncio.run(test())


def test_where_nobody_was_erased_nobody_is_looked_for() -> None:
    class Asked(MemoryStore):
        names = 0

        async def load(self, partition, until, limit, customers, erased=()):  # type: ignore[no-untyped-def]  # as its base
            self.names += len(erased)
            return await super().load(partition, until, limit, customers, erased)

    async def test() -> None:
        store = Asked()
        world = World(store, settings(days=1))
        quiet = [event for event in stream(2, 150) if not isinstance(event, ErasureRequested)]
        await world.open()
        await world.feed(quiet)
        assert store.names == 0
        at = quiet[-1].occurred_at
        await world.feed([erased(VERA, at)])
        await world.feed([make(PageViewed, at + 1, "u:new")])
        assert store.names > 0
        asked = store.names
        world.broker.tick(at + DAY_MS)
        await world.feed([])
        await world.feed([make(PageViewed, at + DAY_MS, "u:newer")])
        assert store.names == asked, "nor any more, once the last tombstone's time is over"
        assert world.broker.offsets[TopicPartition("events", 0)] == Position(len(world.broker.logs[0]))

    asyncio.run(test())
