"""The learner: whatever dies when, models are what an uninterrupted run over the same examples makes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from models.errors import SnapshotError
from models.learning.learner import Example, Learner
from schemas.codec import decode_event
from schemas.control import ModelPublished
from streams.agents.learner import LearnerPartition
from streams.emitting import encode_example
from streams.errors import RefusedError
from streams.lanes import FencedError
from streams.settings import StreamSettings
from streams.store import Keep, MemoryStore
from tests.streams.fakes import FakeBroker
from tests.support import START, Recorded, busy, stream

TP = TopicPartition("learning", 0)
SETTINGS = StreamSettings(engine=busy(), key=b"key", learn_every=70, learn_s=1e9)


def examples() -> list[Example]:
    recorded = Recorded(busy()).feed(stream(5, 900), START + 30 * 86_400_000)
    assert len(recorded.examples) > 500
    return recorded.examples


def records(made: Sequence[Example]) -> list[ConsumerRecord]:
    """As they lie in the topic, with gaps where control records would be."""
    values = [encode_example(example) for example in made]
    return [
        ConsumerRecord("learning", 0, 2 * number, 0, 0, b"", value, None, 0, len(value), ())
        for number, value in enumerate(values)
    ]


def learner(store: MemoryStore, broker: FakeBroker) -> LearnerPartition:
    return LearnerPartition(TP, SETTINGS, store, broker)


async def test_models_survive_deaths_between_snapshots() -> None:
    made = examples()
    log, store, broker = records(made), MemoryStore(), FakeBroker(loops=False)
    broker.events = log
    work = learner(store, broker)
    for end in (150, 290, 291, len(log)):  # the learner dies there, with what it learned since its last snapshot
        work = learner(store, broker)
        start = await work.open()
        for first in range(start // 2, end, 37):
            await work.process([record for record in log[first : min(first + 37, end)] if record.offset >= start])
    await work.finish()
    truth = Learner(busy().engine.model_specs())
    for example in made:
        truth.learn(example)
    for name, model in truth.models.items():
        kept = await store.model(name)
        assert kept is not None
        assert kept.data == model.snapshot(b"key")
    announced = [decode_event(output.value) for output in broker.sent["events"]]
    for name in truth.models:
        versions = [e.version for e in announced if isinstance(e, ModelPublished) and e.model == name]
        assert versions == sorted(versions)
        latest = await store.model(name)
        assert latest is not None
        assert latest.version == truth.models[name].version
        assert versions[-1] == latest.offset == 2 * max(i for i, e in enumerate(made) if e.model == name) + 1


async def test_a_version_names_one_state() -> None:
    """Examples that are scored and not learned make versions too, and those differ in their figures."""
    made = examples()[:200]
    store, broker = MemoryStore(), FakeBroker(loops=False)
    work = LearnerPartition(TP, replace(SETTINGS, learn_every=1, keep=Keep(1000)), store, broker)
    await work.open()
    await work.process(records(made))
    truth, labels = Learner(busy().engine.model_specs()), Counter[str]()
    kept = {(name, held.offset): held.data for name, versions in store.versions.items() for held in versions}
    for number, example in enumerate(made):
        before = truth.models[example.model].version
        truth.learn(example)
        assert kept.pop((example.model, 2 * number + 1)) == truth.models[example.model].snapshot(b"key")
        labels[example.model] += truth.models[example.model].version == before
    assert not kept
    assert labels.total(), "no example was scored alone"


async def test_a_topic_made_anew_is_refused() -> None:
    log, store, broker = records(examples()), MemoryStore(), FakeBroker(loops=False)
    broker.events = log
    work = learner(store, broker)
    await work.open()
    await work.process(log)
    await work.finish()
    broker.events = log[:10]
    with pytest.raises(RefusedError, match="a topic that ends at 19"):
        await learner(store, broker).open()


async def test_snapshots_that_somebody_exchanged_are_refused() -> None:
    """One of an earlier time under the latest name, one of another model, one signed with another key."""
    log, store, broker = records(examples()), MemoryStore(), FakeBroker(loops=False)
    broker.events = log
    work = learner(store, broker)
    await work.open()
    for first in range(0, len(log), 70):
        await work.process(log[first : first + 70])
    await work.finish()
    name = max(store.versions, key=lambda one: len(store.versions[one]))
    earlier, latest = store.versions[name][0], store.versions[name][-1]
    store.versions[name][-1] = latest._replace(data=earlier.data)
    with pytest.raises(RefusedError, match=f"a snapshot after {earlier.version} examples where the state store says"):
        await learner(store, broker).open()
    other = next(versions[-1] for one, versions in store.versions.items() if one != name)
    store.versions[name][-1] = latest._replace(data=other.data)
    with pytest.raises(SnapshotError, match=f"offered as {name}"):
        await learner(store, broker).open()
    store.versions[name][-1] = latest
    with pytest.raises(SnapshotError, match="check RAPPORT_SNAPSHOT_KEY"):
        await LearnerPartition(TP, replace(SETTINGS, key=b"another"), store, broker).open()
    await learner(store, broker).open()


async def test_a_learner_that_was_overtaken_writes_nothing() -> None:
    log, store, broker = records(examples()), MemoryStore(), FakeBroker(loops=False)
    older, newer = learner(store, broker), learner(store, broker)
    await older.open()
    await newer.open()
    await newer.process(log[:80])
    with pytest.raises(FencedError):
        await older.process(log[:80])
    assert all(len(versions) == 1 for versions in store.versions.values())


async def test_each_snapshot_has_a_name_of_its_own() -> None:
    """Examples that are only scored change the figures, not the count of what was learned."""
    store, broker = MemoryStore(), FakeBroker(loops=False)
    settings = replace(SETTINGS, learn_every=1)
    made = [example for example in examples() if example.model == "buys"]
    scored = [example for example in made if not example.learn]
    work = LearnerPartition(TP, settings, store, broker)
    await work.open()
    await work.process(records([*made[:3], *scored[:2]]))
    kept = store.versions["buys"]
    assert len({snapshot.version for snapshot in kept}) < len({snapshot.data for snapshot in kept}) == len(kept)
    announced = [decode_event(output.value) for output in broker.sent["events"]]
    versions = [event.version for event in announced if isinstance(event, ModelPublished)]
    assert [await store.model("buys", version) for version in versions] == kept
