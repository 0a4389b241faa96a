"""The delivery protocol of one partition of the log: open, batch, publish, close. See docs/delivery.md.

A batch commits in two moves: one call of the store (profiles, timers, position and outputs, all or nothing), then one
transaction of Kafka (the outputs and the offset). After any crash the outputs are published from where Kafka's committed
position says, and processing goes on from the store's; where the store lost its tail, what is repeated is muted. A broker without
transactions commits the offset after the outputs, and by whole records: what lies before it was sent, and is muted as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import structlog
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from models.learning.learner import Learner
from models.learning.model import OnlineModel
from schemas.control import ModelPublished

from . import outbox, tombstones
from .broker import Broker
from .emitting import decode_example
from .engines import build
from .errors import RefusedError
from .lanes import FencedError, ReopenError
from .model_watch import ModelWatch
from .publishers import Publisher
from .room import Room
from .settings import StreamSettings
from .stages import Stages
from .stepping import Cut, Line, read
from .store import Commit, Meta, Position, Store, Verdict
from .tallies import Tallies
from .topic_plan import BROKERS_TIME

log = structlog.get_logger(__name__)
OFFSETS_EVERY_S = 5.0


class Since(NamedTuple):
    """When what is published began: arrivals of what led to triggers, and of the oldest record, milliseconds UTC."""

    arrivals: list[int]
    oldest: int


def _learn(learner: Learner, examples: Sequence[bytes]) -> None:
    for example in examples:
        learner.learn(decode_example(example))


class EnginePartition:
    """One partition of the log under the protocol; driven by its lane.

    Parameters
    ----------
    tp
        The partition of ``events``.
    points
        Called at named points with their name; tests end the process there.
    room
        For decoded profiles, shared with the worker's other partitions; without one, all that the limits allow.
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
        room: Room | None = None,
        tallies: Tallies | None = None,
    ) -> None:
        self._tp = tp
        self._settings = settings
        self._room = room or Room(settings.limits.profiles)
        self._store = store
        self._broker = broker
        self._points = points
        self._publisher: Publisher | None = None
        self._publishing: asyncio.Task[None] | None = None
        self._token, self._seq, self._topic = "", 0, ""
        self._pos, self._committed = Position(0), Position(0)
        self._offsets_at = 0.0
        self._since_snapshot = 0
        self._pseudonym = tombstones.pseudonyms(settings.key)
        self.killed = False
        self.done = 0
        self._oldest = 0
        self._inline: Learner | None = None
        self._tallies = tallies or Tallies()
        self._timings = self._tallies.timings["engine"]
        self.stages = Stages(self._timings)

    async def open(self) -> int:
        """Take the partition over and settle what earlier workers left; returns the offset to read from.

        Raises
        ------
        RefusedError
            Where log and state do not belong together.
        """
        settings, store, p = self._settings, self._store, self._tp.partition
        taken = await store.take(p)
        self._points("taken")
        publisher = self._broker.publisher(f"{self._tp.topic}-{p}")
        self._publisher = publisher  # first, so that one that does not start is given up as well
        await publisher.start()
        # Only now: a commit whose outcome nobody knew is settled by the start of the next producer of its id.
        known = await self._broker.committed(self._tp, publisher)
        meta = taken.meta
        committed = max(known or Position(0), (meta and meta.pub) or Position(0))
        extent = await self._broker.log(self._tp)
        identity = f"{extent.identity}, {settings.clock} clock"
        self._pos = self._checked(meta, committed, extent.start, extent.end, identity)
        self._token, self._seq, self._topic = taken.token, meta.seq if meta else 0, identity
        self._committed = committed
        pending = outbox.decode(taken.outbox)
        if pending.end is not None:
            await self._publish(pending.outputs, pending.end, self._seq)
        built = await build(settings, store, self._broker, p, meta.state if meta else b"")
        self.stepper, self._inline, self._adoption = built.stepper, built.learner, built.adoption
        self.stepper.counts = self._tallies.counts
        self._tallies.opened[self._tp] += 1
        self._room.enter(self._tp)
        if self._inline is not None:
            models, examples = await store.learned(p)
            if models is not None:
                await asyncio.to_thread(self._inline.restore, models, settings.key)
            await asyncio.to_thread(_learn, self._inline, examples)
            self._since_snapshot = len(examples)
        self._watch = ModelWatch(self.stepper.engine.scorer.models)
        self._offsets_at = time.monotonic()
        log.info("opened", partition=p, offset=self._pos.offset, committed=committed.offset, commits=self._seq)
        return self._pos.offset

    def _checked(self, meta: Meta | None, committed: Position, start: int, end: int, identity: str) -> Position:
        """Where to go on from, if log and state belong together."""
        where = f"{self._tp.topic}[{self._tp.partition}]"
        pos = meta.pos if meta is not None else Position(start)
        if meta is not None and meta.topic != identity:
            raise RefusedError(
                where,
                f"a log {identity}, the state belongs to {meta.topic}",
                "bring the topic and the clock back, or start anew under another name: rapport worker --app NAME",
            )
        if meta is None and committed > Position(0) and start > 0:
            raise RefusedError(
                where,
                f"no state, and a log that begins at {start}",
                "restore the state store from a copy that is not older than the log's retention",
            )
        # the embedded broker, which has no transactions, tells too small an end
        if pos.offset < start or (pos.offset > end and self._broker.transactions):
            raise RefusedError(
                where,
                f"a log from {start} to {end}, state at {pos.offset}",
                "restore the state store from a copy that is not older than the log's retention, and the log with it",
            )
        return pos

    async def process(self, records: Sequence[ConsumerRecord]) -> None:
        """Step and commit the records of a batch, in as many commits as its limits ask for.

        Raises
        ------
        FencedError, ReopenError
            The lease is lost, or must be taken anew.
        """
        most = self._settings.limits.records
        self._tallies.batches["engine"].add(len(records))
        for first in range(0, len(records), most):
            with self.stages("decode"):
                lines = [read(record) for record in records[first : first + most]]
            while lines:
                cut = await self._cut(lines)
                lines = lines[cut.done :]
                await self._commit(cut)

    async def _cut(self, lines: Sequence[Line]) -> Cut:
        stepper = self.stepper
        first = lines[0].event
        if isinstance(first, ModelPublished):
            await self._adopt(first)
        until, missing = stepper.reach(lines), stepper.missing(lines)
        self._tallies.asked += stepper.asked
        self._tallies.missed += len(missing)
        if missing or (stepper.next_due is not None and stepper.next_due <= until):
            with self.stages("load"):
                erased = [self._pseudonym(customer) for customer in missing] if stepper.remembers else ()
                most = self._settings.limits.timers
                loaded = await self._store.load(self._tp.partition, until, most, missing, erased)
                stepper.take(loaded)
        else:
            stepper.take(None)
        decider = stepper.engine.decider
        decider.killed = self.killed or self._settings.engine.campaigns.policy.kill
        # what was sent already is stepped as it was then: its triggers were not late
        repeated = self._pos < self._committed
        decider.read_at = 0 if repeated or self._settings.clock == "event" else round(time.time() * 1000)
        n = self._pos.n if lines[0].record.offset == self._pos.offset else 0
        with self.stages("step"):
            cut = stepper.cut(lines, n)
        self.stages.count += cut.done
        self._oldest = lines[0].record.timestamp if lines[0].record.timestamp_type == BROKERS_TIME else 0
        self._watch.look()
        self._points("stepped")
        return cut

    async def _adopt(self, published: ModelPublished) -> None:
        """From this point of the log on, the engine scores with this version; never with an earlier one."""
        name, version = published.model, published.version
        if self._adoption is None or not self._adoption.wants(published):
            return
        kept = await self._store.model(name, version)
        data = kept.data if kept is not None else None
        if not await asyncio.to_thread(self._adoption.take, name, version, data):
            log.warning("model version not kept", model=name, version=version)
            self.stepper.counts["model_missing"] += 1
            return
        self._tallies.changed[name] = time.time()

    async def _commit(self, cut: Cut) -> None:
        with self.stages("publish, waited for"):
            await self._settled()
        settings = self._settings
        models, examples = None, cut.examples
        if self._inline is not None:
            self._since_snapshot += len(examples)
            # the write-ahead log names customers
            if self._since_snapshot >= settings.limits.examples or (cut.erased and self._since_snapshot):
                with self.stages("snapshot"):  # a forest takes seconds: other lanes go on meanwhile, this one waits
                    models, examples = await asyncio.to_thread(self._inline.snapshot, settings.key), []
                self._since_snapshot = 0
        outputs = cut.emitter.outputs
        encoding = time.perf_counter()
        stored = tombstones.stored(cut.profiles, self._pseudonym, self.stepper.engine.erasure_ms)
        commit = Commit(
            token=self._token,
            seq=self._seq,
            pos=cut.pos,
            state=msgspec.msgpack.encode(cut.state),
            topic=self._topic,
            profiles=stored.profiles,
            timers=cut.timers,
            outbox=outbox.encode(cut.pos, outputs),
            examples=examples,
            models=models,
            tombstones=stored.tombstones,
            clock=cut.state.clock,
        )
        self.stages.add("encode", time.perf_counter() - encoding)
        with self.stages("commit"):
            verdict = await self._store.commit(self._tp.partition, commit)
        if verdict is Verdict.FENCED:
            raise FencedError(str(self._tp.partition))
        if verdict is Verdict.ROLLED_BACK:
            raise ReopenError("the state store has lost commits")
        self._points("committed")
        self._seq += 1
        self.done += 1
        self._pos = cut.pos
        self._tallies.records[self._tp] += cut.done
        self.stepper.trim(self._room.share)
        if outputs or time.monotonic() - self._offsets_at > OFFSETS_EVERY_S:
            since = Since(cut.emitter.arrivals, self._oldest)
            self._publishing = asyncio.create_task(self._publish(outputs, cut.pos, self._seq, since))

    async def _publish(self, outputs: list[outbox.Output], end: Position, seq: int, since: Since | None = None) -> None:
        assert self._publisher is not None
        news = outbox.unpublished(outputs, self._committed)
        if end > self._committed:
            started = time.perf_counter()
            await self._publisher.publish(news, {self._tp: end})
            self._timings.add("transaction", time.perf_counter() - started)
            self._committed = end
            self._published(news, since)
        self._offsets_at = time.monotonic()
        self._points("published")
        await self._store.published(self._tp.partition, self._token, seq, self._committed)

    def _published(self, news: list[outbox.Output], since: Since | None) -> None:
        """Count what went out, and how long it took."""
        tallies, now = self._tallies, time.time() * 1000
        tallies.outputs.update(output.topic for output in news)
        if since is None or not news:
            return
        if since.oldest:
            tallies.log_latency.add(max(0.0, now - since.oldest) / 1000)
        if self._settings.clock == "wall":
            for arrived in since.arrivals:
                tallies.latency.add(max(0.0, now - arrived) / 1000)

    async def _settled(self) -> None:
        """The previous batch's outputs are on their topics; anything else opens the partition anew."""
        task, self._publishing = self._publishing, None
        if task is not None:
            await task

    @property
    def models(self) -> Mapping[str, OnlineModel]:
        """Those that it learns itself; none where the learner does."""
        return self._inline.models if self._inline is not None else {}

    async def idle(self) -> None:
        """Nothing to read: what was stepped is published, and its offset with it."""
        await self._settled()
        self.stepper.trim(self._room.share)  # others may have come meanwhile
        if self._pos > self._committed:
            await self._publish([], self._pos, self._seq)

    async def close(self) -> None:
        """Let go of the partition: the outbox is safe, whoever opens next publishes it."""
        task, self._publishing = self._publishing, None
        publisher, self._publisher = self._publisher, None
        if self._room.leave(self._tp):
            self.stepper.cache.clear()
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        if publisher is not None:
            await publisher.stop()

    async def finish(self) -> None:
        """Before a planned end: publish what is committed."""
        with contextlib.suppress(Exception):
            await self._settled()
