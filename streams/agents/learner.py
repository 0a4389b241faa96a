"""The learner: labelled examples in order, one writer for each model; versions go back into the log as records."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from models.learning.learner import Learner
from models.learning.model import OnlineModel
from schemas.control import NOBODY, ModelPublished

from ..broker import Broker
from ..emitting import Emitter, decode_example
from ..errors import RefusedError, ends_early
from ..lanes import FencedError
from ..model_watch import ModelWatch
from ..publishers import Publisher, partition_of
from ..settings import StreamSettings
from ..store import Position, Snapshot, Store
from ..tallies import Tallies

log = structlog.get_logger(__name__)
TURN_S = 0.05
"""Learning time, seconds, after which other lanes come to their turn: a forest takes milliseconds an example."""


class LearnerPartition:
    """The topic ``learning``: a model and the offset of its next example are one unit in the store.

    No transaction is needed: the offset in the store is the authority, and announcing a version twice does nothing. A
    version is named by that offset: the labels learned would name two that differ in their figures alone.

    Parameters
    ----------
    tp
        The partition of ``learning``.
    points
        Called at named points with their name; tests end the process there.
    tallies
        The worker's numbers.
    """

    def __init__(
        self,
        tp: TopicPartition,
        settings: StreamSettings,
        store: Store,
        broker: Broker,
        points: Callable[[str], None] = lambda point: None,
        tallies: Tallies | None = None,
    ) -> None:
        self._tp = tp
        self._settings = settings
        self._store = store
        self._broker = broker
        self._points = points
        self._tallies = tallies or Tallies()
        self._publisher: Publisher | None = None
        self._learner = Learner(settings.engine.engine.model_specs())
        self._offsets: dict[str, int] = {}
        self._stored: dict[str, int] = {}
        self._tokens: dict[str, str] = {}
        self._since = 0
        self._stored_at = 0.0
        self._events = 0
        self._next = 0
        self.done = 0

    async def open(self) -> int:
        """Take the models over, load each at its own offset, announce the latest versions again.

        Raises
        ------
        RefusedError
            Where a model has learned more than the topic holds: that was made anew. Where a snapshot is not the one that
            the store's own list names, such as an older one.
        """
        publisher = self._broker.publisher(f"{self._tp.topic}-{self._tp.partition}")
        self._publisher = publisher
        await publisher.start()
        self._learner = Learner(self._settings.engine.engine.model_specs())
        self._events = await self._broker.partitions(self._settings.topic("events"))
        extent = await self._broker.log(self._tp)
        announced = []
        self._offsets, self._stored, self._tokens = {}, {}, {}
        for name, model in self._learner.models.items():
            if partition_of(name.encode(), extent.partitions) != self._tp.partition:
                continue  # its examples are in another partition, and so is its writer
            self._tokens[name] = await self._store.take_model(name)
            held = await self._store.model(name)
            # the embedded broker, which has no transactions, tells too small an end
            if held is not None and held.offset > extent.end and self._broker.transactions:
                raise ends_early(
                    self._tp.topic, self._tp.partition, extent.end, f"a model {name} that learned up to {held.offset}"
                )
            if held is not None:
                await asyncio.to_thread(model.restore, held.data, self._settings.key)
                if model.version != held.version:
                    raise RefusedError(
                        f"the model {name}",
                        f"a snapshot after {model.version} examples where the state store says {held.version}",
                        "somebody put another one in its place: bring a whole copy of the state store back",
                    )
                announced.append((name, held))
            self._offsets[name] = self._stored[name] = held.offset if held is not None else -1
        await self._announce(announced)
        self._watch = ModelWatch(self._learner.models)
        self._tallies.opened[self._tp] += 1
        self._stored_at = time.monotonic()
        self._since = 0
        self._next = max(extent.start, self._least(self._offsets))
        return self._next

    async def process(self, records: Sequence[ConsumerRecord]) -> None:
        """Learn; every so many examples, or seconds, store and announce."""
        turn = time.monotonic()
        self._tallies.batches["learner"].add(len(records))
        for record in records:
            if time.monotonic() - turn > TURN_S:
                await asyncio.sleep(0)
                turn = time.monotonic()
            try:
                example = decode_example(record.value or b"")
                learned = self._offsets[example.model]
            except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
                log.warning("no example", offset=record.offset)
                continue
            if record.offset >= learned:
                self._learner.learn(example)
                self._since += 1
                self._offsets[example.model] = record.offset + 1
            self._next = record.offset + 1
            self.done += 1
            self._points("learned")
            if self._since >= self._settings.learn_every:  # cut by offset, not by batch
                await self._snapshot()
        self._tallies.records[self._tp] += len(records)
        self._watch.look()
        await self._in_time()

    async def idle(self) -> None:
        """Store what was learned, if that was a while ago."""
        await self._in_time()

    async def _in_time(self) -> None:
        if self._since and time.monotonic() - self._stored_at >= self._settings.learn_s:
            await self._snapshot()

    async def _snapshot(self) -> None:
        announced = []
        for name in self._offsets:
            model = self._learner.models[name]
            before, offset = self._stored[name], self._offsets[name]
            if offset == before:
                continue
            # a forest takes seconds: other lanes go on meanwhile, this one waits
            started = time.perf_counter()
            data = await asyncio.to_thread(model.snapshot, self._settings.key)
            self._tallies.timings["learner"].add("snapshot", time.perf_counter() - started)
            snapshot = Snapshot(model.version, offset, data)
            self._points("snapshot")
            if not await self._store.save_model(self._tokens[name], name, before, snapshot, self._settings.keep):
                raise FencedError(name)
            self._points("snapped")
            self._stored[name] = offset
            self._tallies.changed[name] = time.time()
            announced.append((name, snapshot))
        await self._announce(announced)
        self._points("announced")
        self._since, self._stored_at = 0, time.monotonic()

    async def _announce(self, versions: Sequence[tuple[str, Snapshot]]) -> None:
        assert self._publisher is not None
        emitter = Emitter(self._settings.prefix, "rapport/learner", examples=False)
        for name, snapshot in versions:
            for partition in range(self._events):
                emitter.event(
                    ModelPublished(
                        id=f"model:{name}:{snapshot.offset}",
                        customer=NOBODY + "*",
                        occurred_at=0,
                        received_at=0,
                        model=name,
                        version=snapshot.offset,
                    ),
                    partition,
                )
        await self._publisher.publish(emitter.outputs, {self._tp: Position(self._least(self._stored))})

    @property
    def models(self) -> Mapping[str, OnlineModel]:
        """Those that it writes."""
        return {name: self._learner.models[name] for name in self._offsets}

    def _least(self, offsets: Mapping[str, int]) -> int:
        return min((max(offset, 0) for offset in offsets.values()), default=0)

    async def finish(self) -> None:
        """Store what was learned."""
        if self._since:
            await self._snapshot()

    async def close(self) -> None:
        """Let go of the producer."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            await publisher.stop()
