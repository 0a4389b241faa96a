"""The watchdog: what hangs is found and ends the process, what waits or works is left alone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from streams import watchdog
from streams.lanes import Batch, Lane
from streams.watchdog import LOOKS, LaneWatch, LoopWatch, StalledError

TP = TopicPartition("events", 0)
RECORD = ConsumerRecord("events", 0, 0, 0, 0, None, None, None, -1, -1, ())
MANY = range(3 * LOOKS)


class Work:
    """Work that can be made to hang while it opens or processes, or to fail while it opens."""

    def __init__(self, hangs: str = "", fails: bool = False) -> None:
        self.done = 0
        self.reached = asyncio.Event()
        self._hangs = hangs
        self._fails = fails

    async def _hang(self, where: str) -> None:
        if self._hangs == where:
            self.reached.set()
            await asyncio.Event().wait()

    async def open(self) -> int:
        """Take the partition over."""
        await self._hang("open")
        if self._fails:
            raise ConnectionError("nobody there")
        return 0

    async def process(self, records: Sequence[ConsumerRecord]) -> None:
        """Work on a batch."""
        await self._hang("process")
        self.reached.set()

    async def idle(self) -> None:
        """Nothing to do."""

    async def finish(self) -> None:
        """Nothing to finish."""

    async def close(self) -> None:
        """Nothing to let go of."""


class Driven:
    """A lane that drives such work."""

    def __init__(self) -> None:
        self.lanes: list[Lane] = []

    async def __call__(self, work: Work, batches: int = 1) -> Lane:
        """A lane that has been opened, if it can be, and was handed so many batches of one record each."""
        lane = Lane(TP, work, 1.0, lambda error: None)
        self.lanes.append(lane)
        if not work._fails and work._hangs != "open":
            while not lane.open:
                await asyncio.sleep(0)
            for at in range(batches):
                lane.offer(Batch(lane.lease, at, at + 1, (RECORD,)))
        if not work._fails and batches:
            await work.reached.wait()
        return lane


@pytest.fixture
async def driven() -> AsyncIterator[Driven]:
    made = Driven()
    yield made
    for lane in made.lanes:
        await lane.stop()


@pytest.mark.parametrize(("where", "named"), [("open", "_opened"), ("process", "_hang")])
async def test_a_lane_that_hangs_is_found_and_says_where(driven: Driven, where: str, named: str) -> None:
    lane = await driven(Work(hangs=where))
    watch = LaneWatch()
    looks = [watch.look([lane]) for _ in MANY]
    assert looks[: LOOKS + 1] == [None] * (LOOKS + 1)
    assert looks[LOOKS + 1] is lane
    assert any(step.endswith(named) for step in lane.where())


async def test_a_lane_without_work_is_left_alone(driven: Driven) -> None:
    lane = await driven(Work(), batches=0)
    watch = LaneWatch()
    assert [watch.look([lane]) for _ in MANY] == [None] * len(MANY)


async def test_a_long_batch_that_goes_on_is_left_alone(driven: Driven) -> None:
    work = Work(hangs="process")
    lane = await driven(work)
    watch = LaneWatch()
    for look in MANY:
        assert watch.look([lane]) is None
        work.done += look % LOOKS == 0  # a commit within the batch, now and then


async def test_a_lane_that_waits_for_broker_or_store_is_left_alone(driven: Driven) -> None:
    lane = await driven(Work(fails=True), batches=0)
    watch = LaneWatch()
    for _ in range(4):
        turns = lane.turns
        assert [watch.look([lane]) for _ in range(LOOKS)] == [None] * LOOKS
        while lane.turns == turns:
            await asyncio.sleep(0.01)


async def test_a_partition_that_went_is_forgotten(driven: Driven) -> None:
    lane = await driven(Work(hangs="process"))
    watch = LaneWatch()
    assert [watch.look([lane]) for _ in range(LOOKS)] == [None] * LOOKS
    watch.look([])
    assert watch.look([lane]) is None


async def test_what_hangs_is_told(driven: Driven) -> None:
    told: list[StalledError] = []
    await LaneWatch(0.1).watch([await driven(Work(hangs="process"))], told.append)
    assert "events/0: found no progress for 0.1 s at offset 0; start the worker again" in str(told[0])


def ended(script: str) -> subprocess.CompletedProcess[str]:
    """A process with a loop under watch."""
    text = f"import asyncio, time\nfrom streams.watchdog import LoopWatch\n{script}"
    return subprocess.run(
        [sys.executable, "-c", text],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(watchdog.__file__).parents[1],
    )


def test_a_loop_that_stands_still_ends_the_process() -> None:
    found = ended(
        """
async def main():
    with LoopWatch(0.3) as watch:
        asyncio.create_task(watch.beat(asyncio.Event()))
        await asyncio.sleep(0.1)
        time.sleep(50)
asyncio.run(main())
"""
    )
    assert found.returncode == watchdog.EXIT_CODE
    assert "an event loop that stands still for 0.3 s" in found.stdout + found.stderr
    assert "time.sleep(50)" in found.stdout + found.stderr or "in main" in found.stdout + found.stderr


def test_an_end_that_does_not_come_ends_the_process() -> None:
    found = ended(
        """
async def main():
    with LoopWatch(30, 0.3) as watch:
        stop = asyncio.Event()
        stop.set()
        await watch.beat(stop)
        await asyncio.sleep(50)
asyncio.run(main())
"""
    )
    assert found.returncode == watchdog.EXIT_CODE
    assert "no end after 0.3 s" in found.stdout + found.stderr


async def test_a_loop_that_runs_is_left_alone() -> None:
    told: list[str] = []
    gone_on = threading.Event()
    with LoopWatch(0.2, end=told.append) as watch:
        beating = asyncio.create_task(watch.beat(asyncio.Event()))
        until = time.monotonic() + 1.0  # five times as long as it may stand still
        while time.monotonic() < until:
            await asyncio.sleep(0.001)
        gone_on.set()
        beating.cancel()
    assert (told, gone_on.is_set()) == ([], True)
