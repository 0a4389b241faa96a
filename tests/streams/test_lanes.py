"""A lane: what it is handed it works on in order, and what came while it was busy as one batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from streams.errors import BrokerError
from streams.lanes import AHEAD, Batch, Lane

TP = TopicPartition("events", 0)


def record(offset: int) -> ConsumerRecord:
    return ConsumerRecord("events", 0, offset, 0, 0, None, b"x", -1, 0, 1, ())


class Gated:
    """Work that goes through a gate with every batch; where ``fails``, the first batch ends in an error."""

    def __init__(self, fails: bool = False) -> None:
        self.gate = asyncio.Event()
        self.began: asyncio.Queue[list[int]] = asyncio.Queue()
        self.worked: list[list[int]] = []
        self.finished = False
        self.done = 0
        self._fails = fails

    async def open(self) -> int:
        return sum(map(len, self.worked))

    async def process(self, records: Sequence[ConsumerRecord]) -> None:
        offsets = [one.offset for one in records]
        self.began.put_nowait(offsets)
        await self.gate.wait()
        if self._fails:
            self._fails = False
            raise BrokerError("a transaction", "no answer", "wait")
        self.worked.append(offsets)
        self.done += 1

    async def idle(self) -> None:
        """Nothing to do."""

    async def finish(self) -> None:
        self.finished = True

    async def close(self) -> None:
        """Nothing to let go of."""


def offer(lane: Lane, *sizes: int) -> None:
    """Hand over batches of these sizes, each where the one before ended."""
    for size in sizes:
        start = lane.next
        lane.offer(Batch(lane.lease, start, start + size, [record(start + n) for n in range(size)]))


async def opened(lane: Lane) -> None:
    while not lane.open:
        await asyncio.sleep(0)


@pytest.fixture
async def work() -> Gated:
    return Gated()


@pytest.fixture
async def lane(work: Gated) -> AsyncIterator[Lane]:
    made = Lane(TP, work, 1.0, lambda error: None)
    await opened(made)
    yield made
    await made.stop()


async def test_what_came_while_it_was_busy_is_one_batch(lane: Lane, work: Gated) -> None:
    offer(lane, 2)
    assert await work.began.get() == [0, 1]
    offer(lane, 1, 3, 2)
    work.gate.set()
    assert await work.began.get() == [2, 3, 4, 5, 6, 7]
    await lane.still()
    assert work.worked == [[0, 1], [2, 3, 4, 5, 6, 7]]
    assert lane.processed == lane.next == 8


async def test_it_takes_ahead_so_much_and_no_more(lane: Lane, work: Gated) -> None:
    offer(lane, 1)
    await work.began.get()
    offer(lane, AHEAD - 1)
    assert lane.ready
    offer(lane, 1)
    assert not lane.ready
    work.gate.set()
    await lane.still()
    assert lane.ready


async def test_at_its_end_it_does_what_it_was_handed_and_takes_no_more(lane: Lane, work: Gated) -> None:
    offer(lane, 1)
    await work.began.get()
    offer(lane, 1, 1)
    ending = asyncio.create_task(lane.stop(10.0))
    await asyncio.sleep(0)
    offer(lane, 1)
    work.gate.set()
    await ending
    assert work.worked == [[0], [1, 2]]
    assert work.finished


async def test_an_idle_lane_ends_at_once(lane: Lane, work: Gated) -> None:
    await asyncio.wait_for(lane.stop(10.0), 5.0)
    assert work.finished


async def test_after_a_failure_nothing_of_before_is_left() -> None:
    work = Gated(fails=True)
    lane = Lane(TP, work, 1.0, lambda error: None)
    await opened(lane)
    offer(lane, 2)
    await work.began.get()
    offer(lane, 2)
    first = lane.lease
    work.gate.set()
    while lane.lease == first:
        await asyncio.sleep(0.01)
    assert lane.seek
    assert lane.next == 0
    lane.offer(Batch(first, 0, 1, [record(0)]))  # fetched under the lease before
    offer(lane, 3)
    assert await work.began.get() == [0, 1, 2]
    await lane.still()
    assert work.worked == [[0, 1, 2]]
    await lane.stop()
