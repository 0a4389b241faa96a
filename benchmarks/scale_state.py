"""A partition of the log with any number of customers in Valkey, and visits of theirs: what the cost of a step is measured on.

Everything but the number of customers is the same: a customer's own rate of records, its visits (five records in two and a
half minutes), its timers. So with a hundred times the customers a hundredth of the time passes in as many records, and as
many timers fall due in it.
"""

from __future__ import annotations

import time
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from random import Random

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord
from msgspec.structs import replace

from benchmarks.limits_load import lines
from benchmarks.speed import records
from models.profile.profile import Profile, encode
from schemas.base import DAY_MS, SECOND_MS
from schemas.codec import encode_event
from schemas.intake import Intake
from streams.checkpoint import EnginePartition
from streams.commands.examples import example_settings
from streams.environment import redis_from_environment
from streams.redis_store import RedisStore
from streams.run import Run
from streams.settings import StreamSettings
from streams.store import Commit, Position
from streams.tallies import Tallies
from tests.streams.fakes import FakeBroker

PATTERN_RECORDS = 40_000
A_DAY = 0.6
VISIT, APART_MS = 5, 30 * SECOND_MS
ZIPF = 1.1
CHUNK = 5_000
BATCH = 1_000
STAGES = ("decode", "load", "step", "encode", "commit", "publish, waited for", "snapshot")


def grown() -> tuple[Run, list[Profile]]:
    """A run over the simulated shop: trained models, and its known customers with their timers, which are patterns."""
    run, intake = Run(example_settings()), Intake()
    raws = records(PATTERN_RECORDS)
    run.drain(event for n, raw in enumerate(raws) for event in intake.read(raw, None, f"x:{n}").events)
    return run, [profile for profile in run.profiles.values() if profile.customer[0] == "u"]


def drawer(customers: int, law: str) -> Callable[[Random], int]:
    """Draws customers by ``zipf`` (exponent 1.1) or ``uniform``."""
    if law == "uniform":
        return lambda random: random.randrange(customers)
    weights = list(accumulate((rank + 1) ** -ZIPF for rank in range(customers)))
    return lambda random: bisect(weights, random.random() * weights[-1])


class Visits:
    """Says whose the next record is: some visits are open at a time, and each has five records.

    Parameters
    ----------
    draw
        Whose the next visit is.
    open_
        Visits at a time.
    """

    def __init__(self, draw: Callable[[Random], int], open_: int) -> None:
        self._draw, self._open = draw, open_
        self._left: list[list[int]] = []

    def __call__(self, random: Random) -> str:
        while len(self._left) < self._open:
            self._left.append([self._draw(random), random.randint(1, VISIT) if self._left else VISIT])
        at = random.randrange(len(self._left))
        visit = self._left[at]
        visit[1] -= 1
        if not visit[1]:
            self._left[at] = self._left[-1]
            self._left.pop()
        return str(visit[0])


class State:
    """One partition with so many customers; driven as a lane drives it, with everything but Kafka real.

    Parameters
    ----------
    redis
        Where its state goes.
    run, patterns
        As ``grown`` gives them.
    products
        Of which records are.
    """

    def __init__(
        self, redis: str, customers: int, run: Run, patterns: Sequence[Profile], products: int = 2_000
    ) -> None:
        self.customers, self._run, self._patterns, self._products = customers, run, patterns, products
        self.name = f"scale-{customers}-{products}"
        self._client = redis_from_environment({}, redis).client()
        self._store = RedisStore(self._client, self.name)
        self.settings = StreamSettings(app=self.name, raw=(), engine=example_settings(), clock="event")
        self._broker = FakeBroker(loops=False)
        self._tp = TopicPartition("events", 0)
        self._tallies = Tallies()
        self.work = EnginePartition(self._tp, self.settings, self._store, self._broker, tallies=self._tallies)
        self.clock = run.partition.clock
        self.filled: dict[str, float] = {}
        self._seed = 0
        self._visits: dict[str, Visits] = {}

    async def fill(self) -> None:
        """Store customers and models, and open the partition."""
        before, began = await self._used(), time.perf_counter()
        token = (await self._store.take(0)).token
        identity = f"{(await self._broker.log(self._tp)).identity}, {self.settings.clock} clock"
        size = timers = 0
        for seq, first in enumerate(range(0, self.customers, CHUNK)):
            made, due = {}, {}
            for number in range(first, min(first + CHUNK, self.customers)):
                pattern, customer = self._patterns[number % len(self._patterns)], f"u:{number}"
                made[customer] = encode(replace(pattern, customer=customer))
                due.update({(customer, kind): at for kind, at in pattern.timers})
                size += len(made[customer])
            timers += len(due)
            models = self._run.learner.snapshot(b"") if not seq else None
            commit = Commit(token, seq, Position(0), b"", identity, profiles=made, timers=due, models=models)
            await self._store.commit(0, commit)
        used = await self._used() - before
        self.filled = {
            "profile_bytes_a_customer": round(size / self.customers, 1),
            "timers_a_customer": round(timers / self.customers, 2),
            "store_bytes_a_customer": round(used / self.customers, 1),
            "seconds": round(time.perf_counter() - began, 1),
        }
        await self.work.open()
        await self._warm()

    async def _warm(self) -> None:
        """As many decoded profiles in memory as a worker keeps, those that are drawn most often."""
        most = min(self.customers, self.settings.limits.profiles)
        for first in range(0, most, CHUNK):
            who = [f"u:{number}" for number in range(first, min(first + CHUNK, most))]
            self.work.stepper.take(await self._store.load(0, 0, 1, who))
        self.work.stepper.next_due = 0

    async def _used(self) -> int:
        return int((await self._client.info("memory"))["used_memory"])

    def batch(self, law: str, count: int) -> list[ConsumerRecord]:
        """The next so many records, customers drawn by ``law``."""
        a_day = self.customers * A_DAY
        span = round(count / a_day * DAY_MS)
        if law not in self._visits:
            self._visits[law] = Visits(drawer(self.customers, law), max(1, round(APART_MS * a_day / DAY_MS)))
        self._seed += 1
        made = lines(count, self._visits[law], self._seed, self.clock, max(1, span), self._products)
        self.clock += span
        return list(self._written(made))

    def _written(self, made: Iterator[bytes]) -> Iterator[ConsumerRecord]:
        intake = Intake()
        for number, raw in enumerate(made):
            # ids are of one batch: another's are other events
            value = raw.replace(b'"messageId": "m', b'"messageId": "m%d-' % self._seed, 1)
            for event in intake.read(value, None, f"s{self._seed}:{number}").events:
                self._broker.append(encode_event(event), event.occurred_at)
                yield self._broker.events[-1]

    async def measured(self, law: str, batches: int) -> list[dict[str, float]]:
        """Work on so many batches; of each the microseconds a step by stage, steps, and what was not in memory."""
        found, tallies = [], self._tallies
        for _ in range(batches):
            records = self.batch(law, BATCH)
            before, steps = dict(self.work.stages.seconds), self.work.stepper.steps
            asked, missed, began = tallies.asked, tallies.missed, time.perf_counter()
            cpu = time.process_time()
            await self.work.process(records)
            took, cpu, done = time.perf_counter() - began, time.process_time() - cpu, self.work.stepper.steps - steps
            stages = {
                stage: 1e6 * (self.work.stages.seconds[stage] - before.get(stage, 0.0)) / done
                for stage in STAGES
                if self.work.stages.seconds[stage]
            }
            found.append(
                {
                    **stages,
                    "all": 1e6 * took / done,
                    "processor": 1e6 * cpu / done,
                    "steps_a_record": done / len(records),
                    "missed": (tallies.missed - missed) / max(1, tallies.asked - asked),
                }
            )
            self._broker.events.clear()
            self._broker.sent.clear()
        return found

    async def close(self) -> None:
        """Let go, and remove what is stored."""
        await self.work.close()
        for kind in ("meta", "outbox", "profiles", "timers", "wal", "models", "tombstones", "kept-until"):
            await self._client.unlink(self._store.key(0, kind))
        await self._store.close()
