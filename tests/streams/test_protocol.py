"""The delivery protocol under everything that may go wrong: each output is on its topic once, and no state is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from copy import deepcopy
from functools import cache
from typing import Any, TypeVar

import msgspec
import pytest
from aiokafka import TopicPartition
from hypothesis import HealthCheck, note
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from models.policy.reading import Settings
from schemas import clickstream as c
from schemas import identity
from schemas.base import DAY_MS, HOUR_MS, MINUTE_MS, Event
from schemas.codec import encode_decision, encode_event
from schemas.control import ModelPublished, tick
from streams import checkpoint
from streams.checkpoint import EnginePartition
from streams.lanes import TRANSIENT, FencedError, ReopenError
from streams.outbox import Output
from streams.settings import Limits, StreamSettings
from streams.stepping import Cut
from streams.store import Commit, MemoryStore, Position, Verdict
from tests.streams.fakes import Fault, FakeBroker
from tests.support import START, Recorded, add, busy, make, order, stream

T = TypeVar("T")

TP = TopicPartition("events", 0)
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
        before = deepcopy(self._of(partition))
        verdict = await super().commit(partition, commit)
        if verdict is Verdict.OK:
            self.history.append(before)
            if before.token != commit.token:
                self.wrong.append("a fenced worker wrote")
            if before.meta is not None and commit.pos < before.meta.pos:
                self.wrong.append(f"the stored position went back from {before.meta.pos} to {commit.pos}")
        if fault == "lost":
            raise ConnectionError(fault)
        if fault == "again":
            verdict = await super().commit(partition, commit)
        return verdict

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
    return busy()


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
    ) -> None:
        self.kind = kind
        self.store = store()
        self.broker = FakeBroker(transactions)
        self.workers: list[Worker] = []
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
        undisturbed = World()
        undisturbed.broker.loops = False
        undisturbed.broker.events = list(self.broker.events)
        calm = undisturbed.finish()
        try:
            given, wanted = self.broker.sent, undisturbed.broker.sent
            for topic in sorted({*given, *wanted}):
                assert [record_of(one) for one in given[topic]] == [record_of(one) for one in wanted[topic]], topic
            assert once(given)
            kept, right = self.store.partitions[0], undisturbed.store.partitions[0]
            assert kept.profiles == right.profiles
            assert kept.timers == right.timers
            assert kept.meta is None or right.meta is None or kept.meta[1:] == right.meta[1:]
            assert (kept.meta is None) is (right.meta is None)
            assert kept.outbox == b""
            assert models(last) == models(calm)
        finally:
            undisturbed.close()

    def close(self) -> None:
        """End what runs in the background."""
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self.run(gathered(tasks))
        for worker in self.workers:
            if (task := worker.work._publishing) is not None and task.done() and not task.cancelled():
                task.exception()  # it was never asked for
        self._loop.close()


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
sizes = st.integers(1, 12)
indexes = st.integers(0, 20)


class Protocol(RuleBasedStateMachine):
    """Any order of events, workers and faults."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.now = START + 12 * HOUR_MS
        self.last: Event | None = None

    @initialize(seed=st.integers(0, 7), limits=limits)
    def _begin(self, seed: int, limits: Limits) -> None:
        events = history(seed)
        self.now = events[-1].occurred_at
        self.world.append(*events)
        self.world.opened(limits)

    def _write(self, event: Event) -> None:
        self.last = event
        self.world.append(event)

    @rule(customer=customers, step=steps, late=st.sampled_from([0, 0, 0, HOUR_MS]), what=st.integers(0, 6))
    def event(self, customer: str, step: int, late: int, what: int) -> None:
        self.now += step
        at = self.now - late
        number = f"{len(self.world.broker.events)}"
        events: list[Event] = [
            add(at, customer, id=f"add-{number}"),
            add(at, customer, price="70", product="q", id=f"add-{number}"),
            order(at, customer, number=number, id=f"order-{number}"),
            make(c.PageViewed, at, customer, id=f"page-{number}"),
            make(c.ProductViewed, at, customer, id=f"product-{number}", product="p", category="hats"),
            make(identity.Linked, at, "a:1", id=f"link-{number}", user="u:1"),
            make(c.FormSubmitted, at, customer, id=f"form-{number}", contact=True, request=True),
        ]
        self._write(events[what])

    @rule(step=steps)
    def time(self, step: int) -> None:
        self.now += step
        self._write(tick(self.now))

    @rule()
    def unreadable(self) -> None:
        self.world.append(b"{no event")

    @rule(version=st.integers(1, 9))
    def version(self, version: int) -> None:
        self._write(
            make(ModelPublished, self.now, "m", id=f"m-{len(self.world.broker.events)}", model="buys", version=version)
        )

    @precondition(lambda self: self.last is not None)
    @rule()
    def repeated(self) -> None:
        assert self.last is not None
        self.world.append(self.last)

    def _any(self, index: int) -> Worker | None:
        """A worker that thinks it has the partition: the newest is the likeliest, stale ones are among them."""
        there = [worker for worker in self.world.workers if worker.open]
        if not there:
            return None
        return there[-1] if index > 8 else there[-1 - index % len(there)]

    @rule(limits=limits)
    def another(self, limits: Limits) -> None:
        self.world.opened(limits)

    @rule(limits=limits, point=st.sampled_from(POINTS))
    def another_that_crashes(self, limits: Limits, point: str) -> None:
        worker = self.world.worker(limits)
        worker.crash_at = (point, 1)
        self.world.run(worker.start())

    @rule(index=indexes)
    def opens_again(self, index: int) -> None:
        closed = [worker for worker in self.world.workers if not worker.open and not worker.dead]
        if closed:
            self.world.run(closed[-1 - index % len(closed)].start())

    @rule(index=indexes, size=sizes)
    def process(self, index: int, size: int) -> None:
        worker = self._any(index)
        if worker is not None:
            note(f"worker {self.world.workers.index(worker)} at {worker.next}")
            self.world.run(worker.process(size))

    @rule(index=indexes, size=sizes, point=st.sampled_from(POINTS[1:]), times=st.integers(1, 3))
    def crash(self, index: int, size: int, point: str, times: int) -> None:
        worker = self._any(index)
        if worker is not None:
            worker.crash_at = (point, times)
            self.world.run(worker.process(size))

    @rule(index=indexes)
    def power_cut(self, index: int) -> None:
        worker = self._any(index)
        if worker is not None:
            worker.kill()

    @rule(index=indexes, size=sizes, limits=limits)
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

    @rule(times=st.integers(1, 40))
    def background(self, times: int) -> None:
        self.world.tick(times)

    @rule(fault=st.sampled_from(["refused", "lost", "again"]))
    def store_fault(self, fault: str) -> None:
        self.world.store.faults.append(fault)

    @rule(fault=st.sampled_from([Fault.BEFORE, Fault.LOST, Fault.LATE]), after=st.integers(0, 2))
    def publish_fault(self, fault: Fault, after: int) -> None:
        self.world.broker.faults.extend([Fault.NONE] * after + [fault])

    @rule(delay=st.integers(1, 30))
    def slow(self, delay: int) -> None:
        self.world.broker.delays.append(delay)

    @precondition(lambda self: self.world.store.history)
    @rule()
    def roll_back(self) -> None:
        self.world.store.roll_back()

    @rule(sure=st.integers(0, 3))
    def flush(self, sure: int) -> None:
        if not sure:
            self.world.store.flush()

    def teardown(self) -> None:
        try:
            self.world.check()
        finally:
            self.world.close()


@cache
def history(seed: int) -> list[Event]:
    """A few days of few customers, so that triggers, examples and timers come at once."""
    return stream(seed, 40, customers=5, days=6)


Protocol.TestCase.settings = hypothesis_settings(
    max_examples=60, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
TestProtocol = Protocol.TestCase
