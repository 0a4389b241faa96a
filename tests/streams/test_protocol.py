"""The delivery protocol under everything that may go wrong: each output is on its topic once, and no state is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator
from copy import deepcopy
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeVar

import pytest
from aiokafka import TopicPartition
from hypothesis import HealthCheck, note
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from models.policy.reading import Settings, read
from schemas import clickstream as c
from schemas import identity
from schemas.base import DAY_MS, HOUR_MS, MINUTE_MS, Event
from schemas.codec import encode_decision, encode_event
from schemas.control import ModelPublished, tick
from streams import checkpoint, outbox
from streams.checkpoint import EnginePartition
from streams.errors import RefusedError
from streams.lanes import TRANSIENT, FencedError, ReopenError
from streams.outbox import Headers, Output
from streams.publishers import Publisher
from streams.settings import Limits, StreamSettings
from streams.store import Commit, MemoryStore, Meta, Position, Tombstone, Verdict
from tests.streams.fakes import FakeBroker, Fault
from tests.support import BUSY, START, Recorded, add, make, order, stream

T = TypeVar("T")

TP = TopicPartition("events", 0)
OFFSETS_EVERY_S = checkpoint.OFFSETS_EVERY_S
POINTS = ("taken", "stepped", "committed", "published")
PLENTY = Limits(seconds=600)
TIGHT = Limits(records=3, outputs=1, seconds=600, timers=1, profiles=1, examples=2)


class CrashError(Exception):
    """A worker's process ended."""


class FaultyStore(MemoryStore):
    """A store that can be rolled back and emptied, and loses replies."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[Any] = []
        self.faults: list[str] = []
        self.wrong: list[str] = []

    async def commit(self, partition: int, commit: Commit) -> Verdict:
        """Store a batch, or have the fault that is next."""
        await asyncio.sleep(0)
        fault = self.faults.pop() if self.faults else ""
        if fault == "refused":
            raise ConnectionError(fault)
        now = self._of(partition)
        before = replace(
            now,
            profiles=dict(now.profiles),
            timers=dict(now.timers),
            tombstones=dict(now.tombstones),
            examples=list(now.examples),
        )
        verdict = await self._store(partition, commit)
        if verdict is Verdict.OK:
            self.history.append(before)
            if before.token != commit.token:
                self.wrong.append("a fenced worker wrote")
            if before.meta is not None and commit.pos < before.meta.pos:
                self.wrong.append(f"the stored position went back from {before.meta.pos} to {commit.pos}")
        if fault == "lost":
            raise ConnectionError(fault)
        if fault == "again":
            verdict = await self._store(partition, commit)
        return verdict

    async def _store(self, partition: int, commit: Commit) -> Verdict:
        return await super().commit(partition, commit)

    async def published(self, partition: int, token: str, seq: int, pub: Position) -> None:
        """As it is, but not at once."""
        await asyncio.sleep(0)
        await super().published(partition, token, seq, pub)

    def roll_back(self) -> None:
        """Back to where the store was before its last commit."""
        self.partitions[0] = self.history.pop()

    def flush(self) -> None:
        """Everything is gone."""
        self.partitions.clear()
        self.history.clear()


class Worker:
    """A worker with one partition, driven as its lane does."""

    def __init__(self, world: World, limits: Limits) -> None:
        self.world = world
        self.crash_at: tuple[str, int] | None = None
        self.dead = False
        self.open = False
        self.next = 0
        self.started = 0
        settings = stream_settings(limits, world.broker.transactions)
        self.work = world.kind(TP, settings, world.store, world.broker, self._crash)

    def _crash(self, point: str) -> None:
        if self.dead:
            raise CrashError(point)
        if self.crash_at is not None and self.crash_at[0] == point:
            left = self.crash_at[1] - 1
            self.crash_at = (point, left)
            if left <= 0:
                self.dead, self.open = True, False
                raise CrashError(point)

    async def start(self) -> bool:
        """Open the partition; what goes wrong closes it."""
        try:
            self.next = await self.work.open()
        except (*TRANSIENT, CrashError) as error:
            await self._failed(error)
        else:
            self.open = True
            self.world.starts += 1
            self.started = self.world.starts
        return self.open

    async def process(self, size: int) -> bool:
        """Work on the next records of the log; where there are none, the idle moment."""
        batch = self.world.broker.events[self.next : self.next + size]
        try:
            if batch:
                await self.work.process(batch)
                self.next += len(batch)
            else:
                await self.work.idle()
        except (*TRANSIENT, FencedError, ReopenError, CrashError) as error:
            await self._failed(error)
        return self.open

    async def _failed(self, error: Exception) -> None:
        self.open = False
        if self.dead:
            self.kill()
        else:
            await self.work.close()

    def kill(self) -> None:
        """End the process, whatever it is at."""
        self.dead, self.open = True, False
        if self.work._publishing is not None:
            self.work._publishing.cancel()


@cache
def campaigns() -> Settings:
    """Tombstones are kept for days only, so that they run out, too."""
    return read(BUSY.replace("seed = 7", "seed = 7\nerasure_days = 2.5", 1))


def stream_settings(limits: Limits, transactions: bool = True) -> StreamSettings:
    return StreamSettings(
        engine=campaigns(), raw=(), clock="event", limits=limits, transactions=transactions, key=b"key"
    )


def record_of(output: Output) -> tuple[object, ...]:
    return output.position, output.key, output.value, output.at, output.headers, output.partition


class World:
    """A log, a store and any number of workers that all believe to own the one partition."""

    def __init__(
        self,
        kind: type[EnginePartition] = EnginePartition,
        store: type[FaultyStore] = FaultyStore,
        transactions: bool = True,
        broker: type[FakeBroker] = FakeBroker,
    ) -> None:
        self.kind = kind
        self.store = store()
        self.broker = broker(transactions)
        self.workers: list[Worker] = []
        self.starts = 0
        self._loop = asyncio.new_event_loop()

    def run(self, task: Coroutine[Any, Any, T]) -> T:
        """Run until that task ends; others stand still where they are then."""
        return self._loop.run_until_complete(task)

    def append(self, *events: Event | bytes) -> None:
        """Write events, or bytes that are none, to the log."""
        for event in events:
            if isinstance(event, bytes):
                self.broker.append(event, START)
            else:
                self.broker.append(encode_event(event), event.occurred_at, event.customer.encode())  # type: ignore[arg-type]  # of the union

    def worker(self, limits: Limits = PLENTY) -> Worker:
        """Another worker; not open."""
        worker = Worker(self, limits)
        self.workers.append(worker)
        return worker

    def opened(self, limits: Limits = PLENTY) -> Worker:
        """Another worker, which opens the partition."""
        worker = self.worker(limits)
        self.run(worker.start())
        return worker

    def tick(self, times: int = 50) -> None:
        """Let go on what runs in the background."""

        async def wait() -> None:
            for _ in range(times):
                await asyncio.sleep(0)

        self.run(wait())

    def finish(self, limits: Limits = PLENTY) -> Worker:
        """A last worker does what is left to do, and nothing goes wrong any more."""
        self.broker.faults.clear()
        self.broker.delays.clear()
        self.store.faults.clear()
        last = self.opened(limits)
        assert last.open
        done = -1
        while done < len(self.broker.events):  # the outputs to the log itself are read, too
            done = len(self.broker.events)
            while last.next < done:
                assert self.run(last.process(done))
            assert self.run(last.process(1))
        return last

    def check(self, limits: Limits = PLENTY) -> None:
        """The outcome is that of a run over the same log that nothing ever disturbed."""
        last = self.finish(limits)
        assert self.store.wrong == []
        assert self.broker.wrong == []
        wanted = undisturbed(tuple((r.value, r.timestamp, r.key, r.headers) for r in self.broker.events))
        given = self.broker.sent
        for topic in sorted({*given, *wanted.sent}):
            records = [record_of(one) for one in given.get(topic, [])]
            if not self.broker.transactions:
                records = list(dict.fromkeys(records))  # it may repeat, but neither lose nor change
            assert records == [record_of(one) for one in wanted.sent.get(topic, [])], topic
        assert once(given) or not self.broker.transactions
        kept, meta = self.store.partitions[0], wanted.meta
        assert kept.profiles == wanted.profiles
        assert kept.timers == wanted.timers
        assert kept.tombstones == wanted.tombstones
        assert (kept.meta is None) is (meta is None)
        if kept.meta is not None and meta is not None:
            assert (kept.meta.pos, kept.meta.topic) == (meta.pos, meta.topic)
            assert kept.meta.state == meta.state
            # A store that lost its tail need not hear again of what is published: the broker's offset says so.
            assert kept.meta.pub is None or kept.meta.pub <= meta.pos
        assert self.broker.offsets.get(TP, Position(0)) == Position(len(self.broker.events))
        assert kept.outbox == b""
        assert models(last) == wanted.models

    def close(self) -> None:
        """End what runs in the background."""
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self.run(gathered(tasks))
        for worker in self.workers:
            published = worker.work._publishing
            if published is not None and published.done() and not published.cancelled():
                published.exception()  # nobody asked for it
        self._loop.close()


class Outcome(NamedTuple):
    """What is there when everything is done."""

    sent: dict[str, list[Output]]
    profiles: dict[str, bytes]
    timers: dict[tuple[str, str], int]
    tombstones: dict[bytes, Tombstone]
    meta: Meta | None
    models: bytes


@lru_cache(16)
def undisturbed(events: tuple[tuple[bytes, int, bytes, Headers], ...]) -> Outcome:
    """The outcome of a log that is there as a whole, for one worker that nothing happens to."""
    world = World()
    try:
        for event in events:
            world.broker.append(*event)
        world.broker.loops = False
        last = world.finish()
        kept = world.store.partitions[0]
        return Outcome(dict(world.broker.sent), kept.profiles, kept.timers, kept.tombstones, kept.meta, models(last))
    finally:
        world.close()


async def gathered(tasks: Iterable[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def models(worker: Worker) -> bytes:
    learner = worker.work._inline
    assert learner is not None
    return learner.snapshot(b"key")


def once(sent: dict[str, list[Output]]) -> bool:
    """Whether no output is on a topic twice."""
    positions = [output.position for outputs in sent.values() for output in outputs]
    return len(positions) == len(set(positions))


@cache
def history(seed: int) -> list[Event]:
    """A few days of few customers, so that triggers, examples and timers come at once."""
    return stream(seed, 40, customers=5, days=6)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


# One thing at a time --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [
        Limits(seconds=-1),
        Limits(seconds=600, outputs=1),
        Limits(seconds=600, output_bytes=1),
        Limits(seconds=600, records=1),
        Limits(seconds=600, timers=1),
        Limits(seconds=600, profiles=1, records=3),
        Limits(seconds=600, examples=1),
        TIGHT,
    ],
    ids=["time", "outputs", "bytes", "records", "timers", "profiles", "examples", "all"],
)
@pytest.mark.parametrize("seed", [0, 5])
def test_where_a_batch_is_cut_changes_nothing(world: World, limits: Limits, seed: int) -> None:
    world.append(*history(seed), tick(START + 9 * DAY_MS))
    worker = world.opened(limits)
    while worker.next < len(world.broker.events):
        assert world.run(worker.process(7))
    world.check()


def test_timers_that_a_cut_left_over_fire_before_what_comes_next(world: World) -> None:
    """Both carts were loaded as due for one batch, and a commit ends between them."""
    at = START + 12 * HOUR_MS
    world.append(add(at, "u:1"), add(at, "u:2"), order(at, "u:3"))
    worker = world.opened(Limits(seconds=-1))
    assert world.run(worker.process(3))
    world.append(order(at + 6 * HOUR_MS, "u:3"))
    assert world.run(worker.process(1))
    world.check()


def test_the_stream_decides_what_a_run_over_a_file_decides(world: World) -> None:
    events = [event for event in stream(4, 120, customers=8, days=6) if not isinstance(event, identity.Linked)]
    world.append(*events)
    world.finish(TIGHT)
    told = [one.value for one in world.broker.sent["decisions"]]
    recorded = Recorded(campaigns()).feed(events)
    assert len(recorded.decisions) > 20
    assert [value for value in told if not value.startswith(b'{"kind":"conversion"')] == [
        encode_decision(one) for one in recorded.decisions
    ]


@pytest.mark.parametrize("limits", [PLENTY, Limits(seconds=600, outputs=2, timers=2)], ids=["plenty", "tight"])
@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("transactions", [True, False], ids=["transactions", "plain"])
def test_a_crash_anywhere(transactions: bool, point: str, times: int, limits: Limits) -> None:
    world = World(transactions=transactions)
    try:
        world.append(*history(2))
        for _ in range(4):
            worker = world.worker(limits)
            worker.crash_at = (point, times)
            if world.run(worker.start()):
                world.run(worker.process(15))
                world.tick()
        world.check()
    finally:
        world.close()


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.LOST, Fault.LATE])
@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("transactions", [True, False], ids=["transactions", "plain"])
def test_a_publish_that_fails(transactions: bool, fault: Fault, after: int) -> None:
    world = World(transactions=transactions)
    try:
        world.append(*history(2))
        world.broker.faults.extend([Fault.NONE] * after + [fault])
        worker = world.opened(TIGHT)
        assert not world.run(worker.process(100)), "it noticed"
        world.check()
    finally:
        world.close()


@pytest.mark.parametrize("fault", ["refused", "lost", "again"])
def test_a_commit_without_a_reply(world: World, fault: str) -> None:
    world.append(*history(2))
    worker = world.opened(TIGHT)
    world.store.faults.append(fault)
    assert world.run(worker.process(100)) is (fault == "again")
    assert worker.open or world.run(worker.start())
    world.check()


@pytest.mark.parametrize("commits", [1, 2, 7])
@pytest.mark.parametrize("transactions", [True, False], ids=["transactions", "plain"])
def test_a_store_that_lost_its_tail(transactions: bool, commits: int) -> None:
    world = World(transactions=transactions)
    world.append(*history(2))
    worker = world.opened(TIGHT)
    assert world.run(worker.process(30))
    world.tick()
    committed = world.broker.offsets[TP]
    for _ in range(commits):
        world.store.roll_back()
    assert not world.run(worker.process(30)), "it noticed"
    world.check(Limits(seconds=600, outputs=3))
    assert not repeated_before(world, committed)


@pytest.mark.parametrize("transactions", [True, False], ids=["transactions", "plain"])
def test_a_store_that_lost_everything(transactions: bool) -> None:
    world = World(transactions=transactions)
    world.append(*history(2))
    worker = world.opened(TIGHT)
    assert world.run(worker.process(30))
    world.tick()
    sent, committed = deepcopy(world.broker.sent), world.broker.offsets[TP]
    world.store.flush()
    assert not world.run(worker.process(30))
    world.check()
    assert not repeated_before(world, committed)
    assert all(world.broker.sent[topic][: len(outputs)] == outputs for topic, outputs in sent.items())


def repeated_before(world: World, committed: Position) -> list[Output]:
    """Outputs of records that were committed which are on a topic more than once."""
    counts = Counter((topic, one.position) for topic, outputs in world.broker.sent.items() for one in outputs)
    return [
        one
        for topic, outputs in world.broker.sent.items()
        for one in outputs
        if one.position < committed and counts[topic, one.position] > 1
    ]


def test_a_stale_worker_neither_commits_nor_publishes(world: World) -> None:
    world.append(*history(2))
    stale = world.opened(TIGHT)
    world.broker.delays.extend([1_000])
    assert world.run(stale.process(2))  # what it gives out is still on its way
    newer = world.opened(TIGHT)
    kept, sent = deepcopy(world.store.partitions), deepcopy(world.broker.sent)
    assert not world.run(stale.process(30))
    world.tick(2_000)
    assert (world.store.partitions, world.broker.sent) == (kept, sent)
    assert world.run(newer.process(30))
    world.check()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"identity": "events:2"}, "found a log events:2.*the state belongs to events:1"),
        ({"start": 41}, "found a log from 41 to 42, state at 30"),
        ({"events": []}, "found a log from 0 to 0, state at 30"),
    ],
)
def test_a_log_that_does_not_belong_to_the_state_is_refused(world: World, change: dict[str, Any], found: str) -> None:
    world.append(*history(2)[:42])
    while len(world.broker.events) < 42:
        world.append(b"")
    worker = world.opened()
    assert world.run(worker.process(30))
    for name, value in change.items():
        setattr(world.broker, name, value)
    with pytest.raises(RefusedError, match=found):
        world.opened()


def test_a_lost_state_is_refused_where_the_log_is_no_longer_whole(world: World) -> None:
    world.append(*history(2))
    assert world.run(world.opened().process(30))
    world.tick()
    world.store.flush()
    world.broker.start = 1
    with pytest.raises(RefusedError, match="found no state, and a log that begins at 1"):
        world.opened()


def test_a_publisher_that_does_not_start_is_stopped(world: World) -> None:
    world.broker.down = True
    assert not world.opened().open
    (publisher,) = world.broker.publishers
    assert publisher.stopped


# What the invariants are worth: each of these leaves out one step of the protocol, and is found out ----------------------


class Unfenced(FaultyStore):
    """Takes anybody's commits."""

    async def _store(self, partition: int, commit: Commit) -> Verdict:
        return await super()._store(partition, replace(commit, token=self._of(partition).token))


class Unsettled(EnginePartition):
    """Commits the next batch whatever became of the last one's outputs."""

    async def _settled(self) -> None:
        self._publishing = None


class Early(FakeBroker):
    """Tells what was committed before the publisher started."""

    def publisher(self, name: str) -> Publisher:
        self.early = dict(self.offsets)
        return super().publisher(name)

    async def committed(self, tp: TopicPartition, publisher: Publisher) -> Position | None:
        return self.early.get(tp)


def fails(world: World) -> bool:
    """Whether the invariants do not hold."""
    try:
        world.check()
    except AssertionError:
        return True
    finally:
        world.close()
    return False


@pytest.mark.parametrize("store", [FaultyStore, Unfenced])
def test_a_missing_fence_is_found_out(store: type[FaultyStore]) -> None:
    world = World(store=store)
    world.append(*(make(c.PageViewed, START + n, id=f"e{n}") for n in range(9)))
    stale, newer = world.opened(), world.opened()
    world.run(newer.process(2))
    world.run(stale.process(2))
    world.run(stale.process(2))
    assert fails(world) is (store is Unfenced)


@pytest.mark.parametrize("filtered", [True, False])
def test_a_missing_filter_is_found_out(filtered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not filtered:
        monkeypatch.setattr(outbox, "unpublished", lambda outputs, committed: list(outputs))
    world = World()
    world.append(*history(2))
    worker = world.opened(TIGHT)
    world.run(worker.process(30))
    world.tick()
    world.store.flush()
    assert fails(world) is not filtered


@pytest.mark.parametrize("kind", [EnginePartition, Unsettled])
def test_a_publish_that_nobody_awaits_is_found_out(kind: type[EnginePartition]) -> None:
    world = World(kind)
    world.append(*history(2))
    world.broker.faults.append(Fault.BEFORE)
    worker = world.opened(TIGHT)
    world.run(worker.process(30))
    assert fails(world) is (kind is Unsettled)


@pytest.mark.parametrize("broker", [FakeBroker, Early])
def test_an_offset_that_is_read_too_early_is_found_out(broker: type[FakeBroker]) -> None:
    world = World(broker=broker)
    world.append(*history(2))
    world.broker.faults.append(Fault.LATE)
    worker = world.opened(TIGHT)
    world.run(worker.process(30))
    assert fails(world) is (broker is Early)


# Any order of anything ------------------------------------------------------------------------------------------------

customers = st.sampled_from(["u:1", "u:2", "u:3", "a:1"])
steps = st.sampled_from([0, 0, 1, MINUTE_MS, 40 * MINUTE_MS, 6 * HOUR_MS, DAY_MS, 3 * DAY_MS])
limits = st.builds(
    Limits,
    records=st.integers(1, 6),
    outputs=st.integers(1, 4),
    output_bytes=st.sampled_from([1, 2_000, 1_000_000]),
    seconds=st.sampled_from([-1, 600, 600]),
    timers=st.integers(1, 4),
    profiles=st.integers(1, 4),
    examples=st.integers(1, 6),
)
indexes = st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2])  # of workers, the newest first; stale ones are among them
written = st.tuples(customers, steps, st.sampled_from([0, 0, 0, HOUR_MS]), st.integers(0, 11))
crashes = st.none() | st.none() | st.none() | st.tuples(st.sampled_from(POINTS[1:]), st.integers(1, 3))
store_faults = st.sampled_from(["", "", "", "", "", "", "refused", "lost", "again"])
publish_faults = st.sampled_from([Fault.NONE, Fault.NONE, Fault.NONE, Fault.BEFORE, Fault.LOST, Fault.LATE])


class Run(NamedTuple):
    """A worker's work on a batch, and what happens to it meanwhile."""

    worker: int
    size: int
    crash: tuple[str, int] | None
    store_fault: str
    publish_fault: Fault
    after: int
    delay: int
    settles: bool


runs = st.builds(
    Run,
    indexes,
    st.integers(1, 15),
    crashes,
    store_faults,
    publish_faults,
    st.integers(0, 2),
    st.sampled_from([0, 0, 3, 30]),
    st.booleans(),
)


class Protocol(RuleBasedStateMachine):
    """Any order of events, workers and faults."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.now = START + 12 * HOUR_MS

    @initialize(seed=st.integers(0, 7), limits=limits, offsets_every_s=st.sampled_from([-1.0, 5.0, 5.0]))
    def begin(self, seed: int, limits: Limits, offsets_every_s: float) -> None:
        checkpoint.OFFSETS_EVERY_S = offsets_every_s
        events = history(seed)
        self.now = events[-1].occurred_at
        self.world.append(*events)
        self.world.opened(limits)

    @rule(written=st.lists(written, min_size=1, max_size=4))
    def events(self, written: list[tuple[str, int, int, int]]) -> None:
        for customer, step, late, what in written:
            self.now += step
            self.world.append(self._record(customer, self.now - late, what))

    def _record(self, customer: str, at: int, what: int) -> Event | bytes:
        """One of each kind; every customer, and whatever else a log may hold."""
        events = self.world.broker.events
        number = f"{len(events)}"
        kinds: list[Event | bytes] = [
            add(at, customer, id=f"add-{number}"),
            add(at, customer, price="70", product="q", id=f"add-{number}"),
            order(at, customer, number=number, id=f"order-{number}"),
            make(c.PageViewed, at, customer, id=f"page-{number}"),
            make(c.ProductViewed, at, customer, id=f"product-{number}", product="p", category="hats"),
            make(identity.Linked, at, "a:1", id=f"link-{number}", user="u:1"),
            make(c.FormSubmitted, at, customer, id=f"form-{number}", contact=True, request=True),
            tick(at),
            b"{no event",
            make(ModelPublished, at, "m", id=f"model-{number}", model="buys", version=len(events)),
            events[-1].value,  # it is delivered twice
            make(identity.ErasureRequested, at, customer, id=f"erase-{number}"),
        ]
        return kinds[what]

    def _any(self, index: int) -> Worker | None:
        """A worker that thinks it has the partition."""
        there = [worker for worker in self.world.workers if worker.open]
        there.sort(key=lambda worker: worker.started)
        return there[-1 - index % len(there)] if there else None

    @rule(runs=st.lists(runs, min_size=1, max_size=4))
    def process(self, runs: list[Run]) -> None:
        world = self.world
        for run in runs:
            world.broker.faults.clear()
            worker = self._any(run.worker) or world.opened()
            world.broker.faults.extend([Fault.NONE] * run.after + [run.publish_fault])
            world.broker.delays.append(run.delay)
            world.store.faults[:] = [run.store_fault]
            worker.crash_at = run.crash
            note(f"worker {world.workers.index(worker)} at {worker.next}")
            world.run(worker.process(run.size))
            if run.settles:
                world.tick()

    @rule(index=indexes, limits=limits, crash=st.none() | st.none() | st.sampled_from(POINTS))
    def another(self, index: int, limits: Limits, crash: str | None) -> None:
        """Another one opens, while the older ones know nothing of it."""
        worker = self.world.worker(limits)
        if crash:
            worker.crash_at = (crash, 1)
        self.world.run(worker.start())

    @rule(index=indexes)
    def opens_again(self, index: int) -> None:
        closed = [worker for worker in self.world.workers if not worker.open and not worker.dead]
        if closed:
            self.world.run(closed[-1 - index % len(closed)].start())

    @rule(index=indexes, size=st.integers(1, 15), limits=limits)
    def at_once(self, index: int, size: int, limits: Limits) -> None:
        """One opens while the other works."""
        worker, other = self._any(index), self.world.worker(limits)

        async def both() -> None:
            tasks = [other.start()]
            if worker is not None:
                tasks.insert(index % 2, worker.process(size))
            await asyncio.gather(*tasks)

        self.world.run(both())

    @rule(index=indexes, limits=limits)
    def rebalance(self, index: int, limits: Limits) -> None:
        """A planned one: the old worker finishes and lets go."""
        worker = self._any(index)
        if worker is not None:
            worker.open = False
            self.world.run(worker.work.finish())
            self.world.run(worker.work.close())
        self.world.opened(limits)

    @rule(index=indexes)
    def power_cut(self, index: int) -> None:
        worker = self._any(index)
        if worker is not None:
            worker.kill()

    @precondition(lambda self: self.world.store.history)
    @rule(commits=st.sampled_from([1, 1, 1, 2, 4]), all_of_it=st.integers(0, 9))
    def store_loses(self, commits: int, all_of_it: int) -> None:
        """Its last commits, now and then everything."""
        if all_of_it == 9:
            self.world.store.flush()
        for _ in range(min(commits, len(self.world.store.history))):
            self.world.store.roll_back()

    def teardown(self) -> None:
        try:
            self.world.check()
        finally:
            self.world.close()
            checkpoint.OFFSETS_EVERY_S = OFFSETS_EVERY_S


Protocol.TestCase.settings = hypothesis_settings(
    max_examples=40, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
TestProtocol = Protocol.TestCase
