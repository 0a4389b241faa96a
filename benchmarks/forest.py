"""A forest that has grown large, through everything that a model goes through in a stream. ``python -m benchmarks.forest``.

Workload ``forest-v1``: an ``ARFClassifier`` of ten trees for churn (``grace_period`` 50, no ``max_depth``) learns examples
with seeded normal features whose labels follow products of them, so that its trees grow without end. At each size it is
snapshot, stored in a Valkey and restored there and back by the code of the stream; the longest time in which the event
loop did not come to its turn is measured by a task that asks for it every millisecond.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Iterator
from math import exp
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord
from redis.asyncio import Redis

from benchmarks.machine import ROOT, append, provenance
from models.encoding import as_mapping
from models.features import CATEGORICAL, FEATURES
from models.learning.learner import Example
from models.learning.model import OnlineModel
from models.policy.reading import Settings, read
from models.profile.pending import pack, unpack
from schemas.codec import decode_event
from schemas.control import ModelPublished
from streams.agents.learner import LearnerPartition
from streams.checkpoint import EnginePartition
from streams.embedded import Valkey
from streams.emitting import encode_example
from streams.redis_store import RedisStore
from streams.settings import Limits, StreamSettings
from tests.streams.fakes import FakeBroker

WORKLOAD = "forest-v1"
RESULTS = ROOT / "benchmarks" / "results" / "forest.jsonl"
SIZES_MB = (13, 64)
LEARNING, EVENTS = TopicPartition("learning", 0), TopicPartition("events", 0)
FOREST = """
[engine.models.churn]
prior = 0.5
features = ["quiet", "late_visit", "spent", "order_value", "once", "refund_share", "orders_30d", "touches_1d", "touches_7d", "touches_30d"]
[engine.models.churn.estimator]
name = "river.forest.ARFClassifier"
params = {n_models = 10, grace_period = 50}
"""

T = TypeVar("T")


def settings() -> Settings:
    """An engine whose churn model is the forest."""
    return read(FOREST)


def examples(seed: int = 1) -> Iterator[Example]:
    """Labelled examples of churn without end, as the engine makes them."""
    random = Random(seed)
    for number in range(1 << 40):
        vector = [max(-4.0, min(4.0, random.gauss(0, 1))) for _ in FEATURES] + [0.0 for _ in CATEGORICAL]
        x = dict(zip(FEATURES, vector, strict=False))
        odds = x["quiet"] * x["spent"] + x["once"] - x["late_visit"] * x["touches_7d"]
        yield Example(
            target="churn.late",
            model="churn",
            customer=f"u:{number % 1000}",
            predicted_at=number,
            due=number + 1,
            features=pack(vector),
            interval=-1,
            p=0.5,
            null=0.5,
            label=random.random() < 1 / (1 + exp(-odds)),
        )


class Grown(NamedTuple):
    """A learner's partition with a forest of some size, and where it lies."""

    work: LearnerPartition
    store: RedisStore
    broker: FakeBroker
    stream: StreamSettings
    model: OnlineModel
    examples: Iterator[Example]


def records(made: list[Example], first: int) -> list[ConsumerRecord]:
    """Examples as they lie in the topic."""
    values = [encode_example(example) for example in made]
    return [
        ConsumerRecord("learning", 0, first + number, 0, 0, b"", value, None, 0, len(value), ())
        for number, value in enumerate(values)
    ]


async def grow(grown: Grown, least: int, offset: int) -> int:
    """Learn until the estimator pickles into ``least`` bytes; returns the next offset."""
    while len(grown.model.estimator_bytes()[1]) < least:
        await grown.work.process(records([next(grown.examples) for _ in range(500)], offset))
        offset += 500
    return offset


async def gap(awaited: Awaitable[T]) -> tuple[T, float, float]:
    """The result, its seconds, and the longest time, seconds, that the loop was taken up by one turn."""
    longest, stop = 0.0, False

    async def watch() -> None:
        nonlocal longest
        while not stop:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    longest, started = 0.0, time.perf_counter()
    result = await awaited
    seconds = time.perf_counter() - started
    stop = True
    await watching
    return result, seconds, longest


def started(store: RedisStore) -> Grown:
    """A learner that has learned nothing."""
    broker = FakeBroker(loops=False)
    stream = StreamSettings(
        engine=settings(),
        raw=(),
        key=b"key",
        learning="topic",
        learn_every=10**9,
        learn_s=1e9,
        limits=Limits(seconds=600),
    )
    work = LearnerPartition(LEARNING, stream, store, broker)
    return Grown(work, store, broker, stream, work._learner.models["churn"], examples())


async def opened(store: RedisStore) -> Grown:
    """The same, with its partition taken over."""
    grown = started(store)
    await grown.work.open()
    return grown._replace(model=grown.work._learner.models["churn"])


async def adopting(grown: Grown) -> EnginePartition:
    """An engine of a partition that learns elsewhere, at the start of its log."""
    engine = EnginePartition(EVENTS, grown.stream, grown.store, FakeBroker())
    await engine.open()
    return engine


def published(grown: Grown) -> ModelPublished:
    """The version that was announced last."""
    event = decode_event(grown.broker.sent["events"][-1].value)
    assert isinstance(event, ModelPublished)
    return event


async def measure(store: RedisStore, sizes: list[int]) -> Iterator[dict[str, Any]]:
    """One row a size."""
    grown = await opened(store)
    rows, offset = [], 0
    for size in sizes:
        offset = await grow(grown, size << 20, offset)
        rows.append(await row(grown, offset))
        offset += 200
    return iter(rows)


async def row(grown: Grown, offset: int) -> dict[str, Any]:
    """What one size costs."""
    model = grown.model
    made = [next(grown.examples) for _ in range(200)]
    xs = [as_mapping(unpack(example.features)) for example in made]
    begun = time.perf_counter()
    for x in xs:
        model.predict(x)
    predicted = time.perf_counter()
    await grown.work.process(records(made, offset))
    learned = time.perf_counter()
    data = model.snapshot(b"key")
    snapshot = time.perf_counter()
    fresh = OnlineModel("churn", model.spec, tuple(model.metrics))
    fresh.restore(data, b"key")
    restored = time.perf_counter()
    assert [fresh.predict(x) for x in xs] == [model.predict(x) for x in xs]
    _, publish_s, publish_gap = await gap(grown.work._snapshot())
    version = published(grown)
    _, get_s, _ = await gap(grown.store.model("churn", version.version))
    engine = await adopting(grown)
    engine.stepper.versions.clear()
    _, adopt_s, adopt_gap = await gap(engine._adopt(version))
    await engine.close()
    return {
        "estimator_mb": round(len(model.estimator_bytes()[1]) / 1e6, 1),
        "snapshot_mb": round(len(data) / 1e6, 1),
        "learned": model.version,
        "predict_us": round((predicted - begun) / len(xs) * 1e6),
        "learn_us": round((learned - predicted) / len(xs) * 1e6),
        "snapshot_s": round(snapshot - learned, 2),
        "restore_s": round(restored - snapshot, 2),
        "publish_s": round(publish_s, 2),
        "publish_longest_turn_s": round(publish_gap, 3),
        "get_s": round(get_s, 2),
        "adopt_s": round(adopt_s, 2),
        "adopt_longest_turn_s": round(adopt_gap, 3),
    }


async def _main(sizes: list[int]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder, Valkey(Path(folder)) as valkey:
        store = RedisStore(Redis.from_url(valkey.url))
        try:
            return list(await measure(store, sizes))
        finally:
            await store.close()


def main() -> None:
    """Measure, print, and append the figures to the results with ``--save``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, nargs="*", default=list(SIZES_MB), help="sizes of the pickled forest")
    parser.add_argument("--save", action="store_true", help=f"append to {RESULTS.relative_to(ROOT)}")
    options = parser.parse_args()
    rows = asyncio.run(_main(options.mb))
    for found in rows:
        print(json.dumps(found))
    if options.save:
        append(RESULTS, {"workload": WORKLOAD, "rows": rows, **provenance("python -m benchmarks.forest")})


if __name__ == "__main__":
    main()
