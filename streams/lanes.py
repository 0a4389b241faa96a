"""A lane for every assigned partition: its own task, its lease, and what it may be handed.

Only open lanes are fetched for. A batch belongs to the lease it was fetched under and starts where the one before ended;
anything else is dropped and fetched again.

What comes while a lane is busy it works on as one batch afterwards: a transaction costs the same whatever it holds. So a
lane takes what was fetched even while it is busy, and the fetch never waits for it: aiokafka has one under way for each
broker, and none goes out while records of any partition are not taken.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord
from redis.exceptions import RedisError

from .errors import AccessError, BrokerError, StreamError
from .publishers import within
from .refusals import refusal

log = structlog.get_logger(__name__)

AHEAD = 2_000
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
IDLE_S = 0.5
OPEN_S = 60.0
STOP_S = 6.0
TRANSIENT = (KafkaError, RedisError, OSError, BrokerError, TimeoutError)


class FencedError(Exception):
    """Another worker has taken the partition."""


class ReopenError(Exception):
    """The partition must be opened anew."""


class Batch(NamedTuple):
    """Records of one partition from one fetch.

    Parameters
    ----------
    lease
        Number of the lease under which they were fetched.
    start, end
        Position of the consumer before and after: offsets, between which control records leave gaps.
    """

    lease: int
    start: int
    end: int
    records: Sequence[ConsumerRecord]


class Work(Protocol):
    """What a lane drives, one call at a time: intake, engine or learner on one partition.

    Attributes
    ----------
    done
        Changes with everything that is done, within a batch too: a sign of life.
    """

    done: int

    async def open(self) -> int:
        """Take the partition over; the offset to read from."""

    async def process(self, records: Sequence[ConsumerRecord]) -> None:
        """Work on a batch; all of it is committed, or an error raised."""

    async def idle(self) -> None:
        """Called now and then while there is nothing to read."""

    async def finish(self) -> None:
        """Commit what is done, before a planned end."""

    async def close(self) -> None:
        """Let go."""


class Lane:
    """One assigned partition and its task, which alone drives the work.

    Attributes
    ----------
    turns
        How often it has been opened, or has tried to.
    processed
        The offset behind the last batch that is done.
    """

    def __init__(
        self, tp: TopicPartition, work: Work, session_s: float, crash: Callable[[BaseException], None]
    ) -> None:
        self.tp = tp
        self.work = work
        self.open = False
        self.lease = 0
        self.next = 0
        self.seek = False
        self.turns = 0
        self.processed = 0
        self._ahead: list[ConsumerRecord] = []
        self._woken = asyncio.Event()
        self._session_s = session_s
        self._crash = crash
        self._busy = False
        self._still = asyncio.Event()
        self._still.set()
        self._last = False
        self._finishing = False
        self._task = asyncio.create_task(self._run(), name=f"lane {tp.topic}/{tp.partition}")

    @property
    def ready(self) -> bool:
        """Whether it may be handed another batch."""
        return self.open and not self._last and len(self._ahead) < AHEAD

    @property
    def drained(self) -> bool:
        """Whether everything that was handed over is done."""
        return self.open and not self._ahead and not self._busy

    @property
    def progress(self) -> tuple[int, int, int]:
        """Changes with every turn, batch, and part of a batch."""
        return self.turns, self.processed, self.work.done

    def where(self) -> list[str]:
        """What it awaits, the outermost first: ``file:line name``."""
        found: list[str] = []
        awaited: object = self._task.get_coro()
        while (frame := getattr(awaited, "cr_frame", None)) is not None:
            found.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}")
            awaited = getattr(awaited, "cr_await", None)
        return found

    def offer(self, batch: Batch) -> None:
        """Hand over a batch; one that does not fit is fetched again."""
        if not self.open or batch.lease != self.lease or self._last:
            return
        if batch.start != self.next:
            self.seek = True
            return
        self.next = batch.end
        if batch.records:
            self._still.clear()
            self._ahead += batch.records
            self._woken.set()

    async def _run(self) -> None:
        wait, told = FIRST_WAIT_S, ""
        while not self._last:
            self.turns += 1
            try:
                await self._opened()
                if told:
                    log.info("goes on", topic=self.tp.topic, partition=self.tp.partition)
                wait, told = FIRST_WAIT_S, ""
                await self._work()
            except FencedError:
                log.warning("fenced: another worker has it", topic=self.tp.topic, partition=self.tp.partition)
                wait = self._session_s
            except ReopenError as error:
                log.warning("opens anew", topic=self.tp.topic, partition=self.tp.partition, because=str(error))
            except (*TRANSIENT, AccessError) as error:
                if (refused := refusal(error)) is not None:
                    await self._shut()  # before the end, which cancels
                    self._crash(refused)
                    return
                because = f"{type(error).__name__}: {error}"
                if not told:  # once an outage, not once a try
                    log.warning("waits", topic=self.tp.topic, partition=self.tp.partition, because=because)
                    told = because
            except asyncio.CancelledError:
                raise
            except StreamError as error:
                if str(error) != told:
                    log.error("refuses to open", topic=self.tp.topic, partition=self.tp.partition, because=str(error))
                    told = str(error)
                wait = max(wait, 2.0)
            except Exception as error:  # noqa: BLE001  # nobody knows what state it is in: the process ends before it commits
                self._crash(error)
                return
            finally:
                await self._shut()
            if self._last:
                return
            await asyncio.sleep(wait)
            wait = min(LONGEST_WAIT_S, wait * 2)

    async def _opened(self) -> None:
        self.next = await within(OPEN_S, f"opening {self.tp.topic}/{self.tp.partition}", self.work.open())
        self.processed = self.next
        self.lease += 1
        self.seek = True
        self.open = True

    async def _work(self) -> None:
        while self._ahead or not self._finishing:
            if self._ahead:
                await self._process()
                continue
            self._still.set()
            self._woken.clear()
            try:
                await asyncio.wait_for(self._woken.wait(), IDLE_S)
            except TimeoutError:
                await self.work.idle()
        await self.work.finish()

    async def _process(self) -> None:
        records, self._ahead, end = self._ahead, [], self.next
        self._busy = True
        try:
            await self.work.process(records)
            self.processed = end
        finally:
            self._busy = False

    async def _shut(self) -> None:
        self.open = False
        self._ahead = []
        self._still.set()
        with contextlib.suppress(Exception):
            await self.work.close()

    async def still(self) -> None:
        """Returns once nothing is being worked on."""
        await self._still.wait()

    async def stop(self, finish_s: float = 0.0) -> None:
        """End the lane; with ``finish_s``, what it was handed is done first, for so long at most (seconds)."""
        self._last = True
        if finish_s and self.open:
            self._finishing = True
            self._woken.set()
            await asyncio.wait({self._task}, timeout=finish_s)
        self._task.cancel()
        # not wait_for, which would wait on for a task that does not let itself be cancelled
        _, late = await asyncio.wait({self._task}, timeout=STOP_S)
        if late:
            log.error("does not end", topic=self.tp.topic, partition=self.tp.partition)


class Lanes:
    """All lanes of a worker.

    Parameters
    ----------
    make
        Makes the work of a partition; None for a topic that is nobody's.
    crash
        Ends the process with an error.
    """

    def __init__(
        self,
        make: Callable[[TopicPartition], Work],
        session_s: float,
        crash: Callable[[BaseException], None],
    ) -> None:
        self._make = make
        self._session_s = session_s
        self._crash = crash
        self._ended = False
        self._lanes: dict[TopicPartition, Lane] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Lane]:
        return iter(list(self._lanes.values()))

    def of(self, tp: TopicPartition) -> Lane | None:
        """The lane of a partition."""
        return self._lanes.get(tp)

    def reconcile(self, assigned: Iterable[TopicPartition]) -> None:
        """After a rebalance: keep what stayed, open what is new, close what went. No IO."""
        if self._ended:
            return
        wanted = set(assigned)
        for tp in [tp for tp in self._lanes if tp not in wanted]:
            task = asyncio.create_task(self._lanes.pop(tp).stop())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        for tp in sorted(wanted):
            lane = self._lanes.get(tp)
            if lane is not None:
                lane.seek = True  # the consumer forgot its position with the old assignment
            else:
                self._lanes[tp] = Lane(tp, self._make(tp), self._session_s, self._crash)

    def ready(self) -> set[TopicPartition]:
        """Partitions that may be fetched from."""
        return {tp for tp, lane in self._lanes.items() if lane.ready}

    async def still(self, seconds: float) -> None:
        """Wait until nothing is being worked on, for so long at most."""
        waiting = [asyncio.ensure_future(lane.still()) for lane in self._lanes.values()]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=seconds)
            for one in late:
                one.cancel()

    async def stop(self, finish_s: float) -> None:
        """End all lanes for good, while the consumer is still a member; what they were handed is done first.

        Parameters
        ----------
        finish_s
            For so long at most, seconds.
        """
        self._ended = True
        lanes, self._lanes = list(self._lanes.values()), {}
        await asyncio.gather(*(lane.stop(finish_s) for lane in lanes), *self._closing, return_exceptions=True)
