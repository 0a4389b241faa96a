"""What the dashboard knows at this moment, kept up to date in the background, and who is told when it changes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ..customer_live import Installation
from ..redis_store import RedisStore
from ..stepping import State
from ..topic_plan import Clock
from .effects import Effects
from .following import Follower, Progress
from .funnel import Funnel, sampled
from .learned import Learned
from .seen import Read, Seen

SAMPLES = 1_800
STORE_S = 1.0
ANSWER_S = 3.0
"""How long the store may take to answer, seconds."""
FUNNEL_S = 15.0
EFFECTS_S = 4.0
UNREAD = 40
"""Batches that wait to be read for effects, at most."""
MODELS_S = 5.0
BEAT_S = 1.0
PAGES = ("stream", "funnel", "triggers", "models", "campaigns")


class Sample(NamedTuple):
    """One look at the topics.

    Parameters
    ----------
    at
        Milliseconds UTC, of the wall.
    raw
        Records in the raw topics so far, those that are gone included.
    behind
        Records that wait to be read, of all topics.
    rate
        Events a second into the raw topics since the look before; None at the first.
    time_behind
        Event time between the first event that the engine has not read and the last, milliseconds; of the worst partition.
    """

    at: int
    raw: int
    behind: int
    rate: float | None
    time_behind: int


@dataclass(frozen=True)
class Stored:
    """What the state store says.

    Parameters
    ----------
    trouble
        Why it says nothing; empty where it does.
    clocks
        Partition -> partition time, milliseconds UTC.
    customers
        Profiles in it.
    """

    trouble: str = ""
    killed: bool = False
    clocks: Mapping[int, int] = field(default_factory=dict)
    customers: int = 0

    @property
    def clock(self) -> int:
        """The engine's time: that of the partition that is least far; 0 before the first event."""
        return min(self.clocks.values(), default=0)


class Board:
    """The state behind all pages.

    Parameters
    ----------
    place
        Which installation.
    clock
        Of its workers.
    """

    def __init__(self, place: Installation, clock: Clock = "wall") -> None:
        self.place = place
        self.clock = clock
        self.seen = Seen()
        self.progress = Progress(trouble="not read yet")
        self.samples: deque[Sample] = deque(maxlen=SAMPLES)
        self.stored = Stored(trouble="not asked yet")
        self.funnel: Funnel | None = None
        self.learned = Learned(place.settings.engine.model_specs(), place.key)
        self.effects = Effects()
        self._unread: list[Read] = []
        self._reading = asyncio.Lock()
        self.versions = dict.fromkeys(PAGES, 0)
        # the library's own ten tries would hide for a minute that the store is away
        self.redis: Redis = place.connection.redis.client(
            retry=Retry(NoBackoff(), 0), socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S
        )
        self.store = RedisStore(self.redis, place.app)
        self._stopping = False
        self._changed = asyncio.Event()
        self._known = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._follower: Follower | None = None

    def start(self) -> None:
        """Begin to read."""
        place = self.place
        loop = asyncio.get_running_loop()
        self._follower = Follower(place.connection, place.app, place.prefix, self.clock, loop, self.take)
        self._follower.start()
        self._tasks = [
            asyncio.create_task(self._every(STORE_S, self._look_at_store)),
            asyncio.create_task(self._every(MODELS_S, self._look_at_models)),
            asyncio.create_task(self._every(EFFECTS_S, self._look_at_effects)),
            asyncio.create_task(self._every(FUNNEL_S, self._look_at_funnel)),
        ]

    async def stop(self) -> None:
        """Let go of everything."""
        self._stopping = True
        if self._follower is not None:
            await self._follower.stop()
        left = set(self._tasks)
        while left:
            for task in left:
                task.cancel()  # the client of the store can lose one that meets its own time limit
            _, left = await asyncio.wait(left, timeout=STORE_S)
        await self.store.close()

    async def take(self, read: Read, progress: Progress) -> None:
        """Take in what the follower read."""
        before, self.progress = self.progress, progress
        self.seen.take(read)
        if read.decisions or read.conversions:
            self._unread.append(read)
            if len(self._unread) >= UNREAD:
                await self._look_at_effects()
        if read.decisions or read.conversions:
            self._touch("triggers", "campaigns", "stream")
        if read.letters or progress.trouble != before.trouble:
            self._touch("stream")
        if self.partitions:
            self._known.set()
        if progress.at != before.at:
            self._sample(progress)
            self._touch("stream")

    def _sample(self, progress: Progress) -> None:
        now = round(time.time() * 1000)
        raw = sum(spot.end for spot, _ in progress.spots if spot.stage == "intake")
        behind = sum(spot.unread or 0 for spot, _ in progress.spots)
        last = self.samples[-1] if self.samples else None
        rate = None
        if last is not None and now > last.at and raw >= last.raw:
            rate = (raw - last.raw) * 1000 / (now - last.at)
            minute = self.seen.minutes.of(now)
            minute.events = (minute.events or 0) + raw - last.raw
        time_behind = max((spot.behind_ms or 0 for spot, _ in progress.spots if spot.stage == "engine"), default=0)
        self.samples.append(Sample(now, raw, behind, rate, time_behind))

    def _touch(self, *pages: str) -> None:
        for page in pages:
            self.versions[page] += 1
        self._changed.set()

    async def changes(self) -> AsyncIterator[dict[str, Any]]:
        """What pages are told: versions of what each shows, and the state of the sources; at least one a second."""
        while True:
            yield self.head()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), BEAT_S)
            await asyncio.sleep(BEAT_S / 4)  # what changes together is told together
            self._changed.clear()

    def head(self) -> dict[str, Any]:
        """The state of the sources in short."""
        last = self.samples[-1] if self.samples else None
        return {
            "now": round(time.time() * 1000),
            "clock": self.stored.clock,
            "killed": self.stored.killed,
            "kafka": self.progress.trouble,
            "store": self.stored.trouble,
            "read": self.progress.read,
            "total": self.progress.total,
            "rate": last.rate if last else None,
            "behind": last.behind if last else None,
            "versions": self.versions,
        }

    async def _every(self, seconds: float, look: Any) -> None:
        while not self._stopping:
            try:
                await look()
            except (RedisError, OSError) as error:
                await self._lost(error)
            await asyncio.sleep(seconds)

    async def _lost(self, error: Exception) -> None:
        address = self.place.connection.redis.address
        trouble = f"{address}: no answer ({type(error).__name__})"
        if trouble != self.stored.trouble:
            self.stored = replace(self.stored, trouble=trouble)
            self._touch(*PAGES)

    @property
    def partitions(self) -> int:
        """Of the log, as far as it is known."""
        return sum(spot.stage == "engine" for spot, _ in self.progress.spots)

    async def _look_at_store(self) -> None:
        killed = await self.store.killed()
        clocks, customers = {}, 0
        for number in range(self.partitions):
            state: Any = await self.redis.hget(self.store.key(number, "meta"), "state")
            if state:
                clocks[number] = msgspec.msgpack.decode(state, type=State).clock
            customers += await self.redis.hlen(self.store.key(number, "profiles"))
        found = Stored("", killed, clocks, customers)
        if (found.killed, found.trouble) != (self.stored.killed, self.stored.trouble):
            self._touch(*PAGES)
        self.stored = found

    async def kill(self, on: bool) -> None:
        """Turn the kill switch; workers heed it within a second."""
        await self.store.kill(on)
        self.stored = replace(self.stored, killed=on)
        self._touch(*PAGES)

    async def _look_at_effects(self) -> None:
        async with self._reading:
            reads, self._unread = self._unread, []
            if reads:
                await asyncio.to_thread(self.effects.update, reads, max(self.stored.clock, self.seen.last_at))
                self._touch("campaigns")

    async def _look_at_models(self) -> None:
        await self._known.wait()
        if await self.learned.look(self.store, self.redis, self.partitions):
            self._touch("models")

    async def _look_at_funnel(self) -> None:
        await self._known.wait()
        self.funnel = await sampled(self.redis, self.store, self.partitions)
        self._touch("funnel")
