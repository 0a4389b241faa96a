"""A forest in the stream: learned beside the engine or inside it, killed or not, small or of 13 MB, it is the same forest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import count, islice

import pytest
from redis.asyncio import Redis

from benchmarks.forest import EVENTS, LEARNING, examples, records, settings
from models.encoding import as_mapping
from models.learning.learner import Example, Learner
from models.learning.model import OnlineModel
from models.profile.pending import unpack
from schemas.base import Event
from schemas.codec import decode_event, encode_event
from schemas.control import ModelPublished
from streams.agents.learner import LearnerPartition
from streams.checkpoint import EnginePartition
from streams.embedded import Valkey
from streams.redis_store import RedisStore, StoreError
from streams.run import Run
from streams.settings import Limits, StreamSettings
from streams.store import Commit, Keep, Position, Snapshot
from tests.streams.fakes import FakeBroker
from tests.support import FOREST, busy, stream

LARGE = 13_000_000
BESIDE = StreamSettings(
    engine=settings(), raw=(), key=b"key", learning="topic", learn_every=150, learn_s=1e9, limits=Limits(seconds=600)
)
INSIDE = StreamSettings(
    engine=busy(FOREST), raw=(), clock="event", key=b"key", learning="inline", limits=Limits(seconds=600, examples=100)
)
_apps = (f"forest-{number}" for number in count())


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
async def store(valkey: Valkey) -> AsyncIterator[RedisStore]:
    made = RedisStore(Redis.from_url(valkey.url), next(_apps))
    yield made
    await made.close()


def drawn(first: int, size: int) -> list[Example]:
    return list(islice(examples(), first, first + size))


def answers(model: OnlineModel) -> list[float]:
    """To vectors that no test learns from."""
    return [model.predict(as_mapping(unpack(example.features))) for example in islice(examples(seed=2), 200)]


def truth(made: Sequence[Example]) -> OnlineModel:
    learner = Learner(BESIDE.engine.engine.model_specs())
    for example in made:
        learner.learn(example)
    return learner.models["churn"]


async def learned(
    store: RedisStore, broker: FakeBroker, stream_settings: StreamSettings, deaths: Sequence[int]
) -> None:
    """The learner learns up to each death and dies there; after the last it stores what it has."""
    log = records(drawn(0, deaths[-1]), 0)
    broker.events = log
    work = LearnerPartition(LEARNING, stream_settings, store, broker)
    for end in deaths:
        work = LearnerPartition(LEARNING, stream_settings, store, broker)
        for record in log[await work.open() : end]:
            await work.process([record])
    await work.finish()


async def adopted(store: RedisStore, broker: FakeBroker, stream_settings: StreamSettings) -> OnlineModel:
    """The model of an engine that has read all announcements."""
    log = FakeBroker()
    engine = EnginePartition(EVENTS, stream_settings, store, log)
    await engine.open()
    for output in broker.sent["events"]:
        log.append(output.value, output.at, output.key)
    await engine.process(log.events)
    await engine.close()
    return engine.stepper.engine.scorer.models["churn"]


async def test_a_learned_forest_is_the_one_of_an_undisturbed_run(store: RedisStore) -> None:
    broker = FakeBroker(loops=False)
    await learned(store, broker, BESIDE, (200, 340, 341, 600))
    expected = truth(drawn(0, 600))
    engines = await adopted(store, broker, BESIDE)
    assert engines.version == 600
    assert answers(engines) == answers(expected)
    assert engines.metrics == expected.metrics


@pytest.mark.slow
async def test_a_learned_forest_of_13_mb_is_the_one_of_an_undisturbed_run(store: RedisStore) -> None:
    broker = FakeBroker(loops=False)
    seldom = replace(BESIDE, learn_every=1_500)
    await learned(store, broker, seldom, (2_000, 4_000))
    expected = truth(drawn(0, 4_000))
    kept = await store.model("churn")
    assert kept is not None
    assert len(expected.estimator_bytes()[1]) > LARGE
    assert len(kept.data) > LARGE
    engines = await adopted(store, broker, seldom)
    assert engines.version == 4_000
    assert answers(engines) == answers(expected)
    for example in drawn(4_000, 300):  # and it goes on as the other does
        x = as_mapping(unpack(example.features))
        assert engines.predict(x) == expected.predict(x)
        engines.learn(x, example.label)
        expected.learn(x, example.label)


@cache
def events() -> tuple[Event, ...]:
    return tuple(stream(3, 900))


def log_of(made: Sequence[Event]) -> FakeBroker:
    broker = FakeBroker(loops=False)
    for event in made:
        broker.append(encode_event(event), event.occurred_at, event.customer.encode())  # type: ignore[arg-type]  # of the union
    return broker


async def stepped(
    store: RedisStore, broker: FakeBroker, deaths: Sequence[int], size: int = 40
) -> tuple[Learner, list[bytes]]:
    """The engine, learning inside, dies at each offset; its learner in the end, and all that it decided."""
    engine = EnginePartition(EVENTS, INSIDE, store, broker)
    for end in deaths:
        engine = EnginePartition(EVENTS, INSIDE, store, broker)
        at = await engine.open()
        while at < end:
            batch = broker.events[at : min(end, at + size)]
            await engine.process(batch)
            at += len(batch)
        await engine.finish()
        await engine.close()
    assert engine._inline is not None
    return engine._inline, [output.value for output in broker.sent["decisions"]]


async def seeded(store: RedisStore, learner: Learner) -> None:
    """A partition whose learner has learned all that before its first event."""
    token = (await store.take(0)).token
    commit = Commit(token, 0, Position(0), b"", "events:1, event clock", models=learner.snapshot(b"key"))
    await store.commit(0, commit)


async def test_a_forest_inside_the_engine_survives_its_deaths(store: RedisStore, valkey: Valkey) -> None:
    broker, undisturbed = log_of(events()), log_of(events())
    last = len(events())
    ours, decided = await stepped(store, broker, (130, 131, 480, 700, last))
    other = RedisStore(Redis.from_url(valkey.url), next(_apps))
    theirs, wanted = await stepped(other, undisturbed, (last,))
    await other.close()
    models, examples_since = await store.learned(0)
    assert models is not None, "snapshots were committed"
    assert len(examples_since) < INSIDE.limits.examples
    assert decided == wanted
    assert len(wanted) > 100
    assert ours.models["churn"].version == theirs.models["churn"].version > 50
    assert answers(ours.models["churn"]) == answers(theirs.models["churn"])


async def test_replay_learns_the_forest_of_the_stream(store: RedisStore) -> None:
    ours, _ = await stepped(store, log_of(events()), (len(events()),))
    run = Run(busy(FOREST), deliver=False)  # this log leaves out what customers hand to each other
    run.drain(events())
    theirs = run.learner.models["churn"]
    assert answers(ours.models["churn"]) == answers(theirs)
    assert ours.models["churn"].version == theirs.version > 50


@pytest.mark.slow
async def test_a_forest_of_13_mb_inside_the_engine_survives_its_deaths(store: RedisStore, valkey: Valkey) -> None:
    grown = Learner(INSIDE.engine.engine.model_specs())
    for example in drawn(0, 12_000):
        grown.learn(example)
    assert len(grown.models["churn"].estimator_bytes()[1]) > LARGE
    last = len(events())
    other = RedisStore(Redis.from_url(valkey.url), next(_apps))
    for one in (store, other):
        await seeded(one, grown)
    ours, decided = await stepped(store, log_of(events()), (300, last), 150)
    theirs, wanted = await stepped(other, log_of(events()), (last,), 150)
    await other.close()
    models, _ = await store.learned(0)
    assert models is not None
    assert len(models) > LARGE
    assert decided == wanted
    assert answers(ours.models["churn"]) == answers(theirs.models["churn"])


async def test_others_come_to_their_turn_while_a_forest_is_stored_and_restored(store: RedisStore) -> None:
    """A forest's snapshot takes long; a worker whose loop stood still that long would lose its partitions."""
    broker = FakeBroker(loops=False)
    work = LearnerPartition(LEARNING, replace(BESIDE, learn_every=10**9), store, broker)
    await work.open()
    await work.process(records(drawn(0, 800), 0))
    engine = EnginePartition(EVENTS, BESIDE, store, FakeBroker())
    await engine.open()
    turns = {"snapshot": 0, "restore": 0}
    doing = ""

    async def others() -> None:
        while True:
            if doing:
                turns[doing] += 1
            await asyncio.sleep(0)

    watching = asyncio.create_task(others())
    learner, model = work._learner.models["churn"], engine.stepper.engine.scorer.models["churn"]
    taking, restoring = learner.snapshot, model.restore

    def snapshot(key: bytes) -> bytes:
        nonlocal doing
        doing = "snapshot"
        data = taking(key)
        doing = ""
        return data

    def restore(data: bytes, key: bytes) -> None:
        nonlocal doing
        doing = "restore"
        restoring(data, key)
        doing = ""

    learner.snapshot, model.restore = snapshot, restore  # type: ignore[method-assign]  # watched while they work
    await work.finish()
    announced = decode_event(broker.sent["events"][-1].value)
    assert isinstance(announced, ModelPublished)
    await engine._adopt(announced)
    watching.cancel()
    await engine.close()
    assert answers(model) == answers(learner)
    assert all(number > 5 for number in turns.values()), turns


async def test_versions_are_kept_by_their_bytes_too(store: RedisStore) -> None:
    token = await store.take_model("churn")
    for offset in range(1, 6):
        data = bytes(40) if offset < 5 else bytes(500)
        assert await store.save_model(token, "churn", offset - 1 or -1, Snapshot(offset, offset, data), Keep(4, 100))
        kept = [version for version in range(6) if await store.model("churn", version) is not None]
        assert kept == {1: [1], 2: [1, 2], 3: [2, 3], 4: [3, 4], 5: [5]}[offset], "the latest, whatever its size"


async def test_what_no_value_of_the_store_can_hold_is_told(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server would close the connection, and the worker take that for an outage and try for ever."""
    monkeypatch.setattr("streams.redis_store.LARGEST_VALUE", 1000)
    token = await store.take_model("churn")
    with pytest.raises(StoreError, match=r"a version of churn .* bound the models"):
        await store.save_model(token, "churn", -1, Snapshot(1, 1, bytes(1001)), Keep())
    lease = (await store.take(0)).token
    with pytest.raises(StoreError, match=r"the models .* bound the models"):
        await store.commit(0, Commit(lease, 0, Position(1), b"", "events:1", models=bytes(1001)))
