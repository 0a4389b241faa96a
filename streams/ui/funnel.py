"""The funnel as the stored profiles tell it: how far present journeys came, how long it took, and how cohorts fared."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import msgspec
from redis.asyncio import Redis

from models.profile import profile as profiles
from models.profile.journey import PURCHASE, STAGES, Journey
from schemas.base import DAY_MS

from ..redis_store import RedisStore

MOST = 20_000
PAGE = 200
COHORTS = 60
WEEK = 7
GAPS = 5_000
"""Times from a stage to the next that are kept for the median."""


@dataclass
class Cohort:
    """Journeys that began on one day or in one week: how many, and how many of them reached a purchase."""

    began: int = 0
    bought: int = 0


@dataclass
class Funnel:
    """What a sample of profiles says.

    Attributes
    ----------
    customers
        Profiles in the store; ``read`` of them were read, and ``journeys`` are not those of devices that became a user.
    reached
        Present journeys that reached each stage, a later one included.
    standing
        Journeys that stand at each stage now.
    gaps
        Milliseconds from each stage to the next, for journeys that entered both.
    cohorts
        Day of a journey's beginning -> its cohort.
    entries
        Day -> entries into each stage, of all journeys that profiles remember.
    """

    customers: int = 0
    read: int = 0
    journeys: int = 0
    reached: list[int] = field(default_factory=lambda: [0] * len(STAGES))
    standing: list[int] = field(default_factory=lambda: [0] * len(STAGES))
    gaps: list[list[int]] = field(default_factory=lambda: [[] for _ in STAGES])
    cohorts: dict[int, Cohort] = field(default_factory=lambda: defaultdict(Cohort))
    entries: dict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, journey: Journey) -> None:
        """Count one journey.

        >>> funnel = Funnel()
        >>> funnel.add(Journey(2, (5, 6, 9, 0, 0, 0), ((0, 5), (1, 6), (2, 9))))
        >>> funnel.reached, funnel.standing, funnel.gaps[1]
        ([1, 1, 1, 0, 0, 0], [0, 0, 1, 0, 0, 0], [3])
        """
        if journey.stage < 0:
            return
        self.standing[journey.stage] += 1
        for stage in range(journey.stage + 1):
            self.reached[stage] += 1
        for stage, (here, there) in enumerate(zip(journey.entered, journey.entered[1:], strict=False)):
            if here and there >= here and len(self.gaps[stage]) < GAPS:
                self.gaps[stage].append(there - here)
        began = min((at for at in journey.entered if at), default=0)
        if began:
            cohort = self.cohorts[began // DAY_MS]
            cohort.began += 1
            cohort.bought += journey.stage >= PURCHASE
        for stage, at in journey.history:
            self.entries[at // DAY_MS][stage] += 1

    def medians(self) -> list[float | None]:
        """Median milliseconds from each stage to the next; None where none went on."""
        return [median(gaps) if gaps else None for gaps in self.gaps]

    def over_time(self) -> tuple[int, list[tuple[int, int, int]], list[tuple[int, list[int]]]]:
        """Days to a step (1, or 7 where there are many), cohorts as (first day, began, bought), and entries by step."""
        days = {*self.cohorts, *self.entries}
        step = 1 if not days or max(days) - min(days) < COHORTS else WEEK
        cohorts: dict[int, Cohort] = defaultdict(Cohort)
        for day, one in self.cohorts.items():
            cohorts[day // step].began += one.began
            cohorts[day // step].bought += one.bought
        entries: dict[int, Counter[int]] = defaultdict(Counter)
        for day, counts in self.entries.items():
            entries[day // step].update(counts)
        return (
            step,
            [(at * step, cohorts[at].began, cohorts[at].bought) for at in sorted(cohorts)[-COHORTS:]],
            [(at * step, [entries[at][stage] for stage in range(len(STAGES))]) for at in sorted(entries)[-COHORTS:]],
        )


async def sampled(redis: Redis, store: RedisStore, partitions: int) -> Funnel:
    """Read at most ``MOST`` profiles, evenly over the partitions; a hash hands its fields out in no order of theirs."""
    funnel = Funnel()
    for number in range(partitions):
        name = store.key(number, "profiles")
        funnel.customers += await redis.hlen(name)
        cursor, left = 0, -(-MOST // partitions)
        while left > 0:
            answer: Any = await redis.hscan(name, cursor, count=PAGE)
            cursor, page = answer
            left -= len(page)
            funnel.read += len(page)
            for journey in await asyncio.to_thread(_journeys, list(page.values())):
                funnel.journeys += 1
                funnel.add(journey)
            if not cursor:
                break
    return funnel


def _journeys(page: Iterable[bytes]) -> list[Journey]:
    """The journeys of stored profiles; a device that became its user has none of its own."""
    found = []
    for data in page:
        try:
            profile = profiles.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # of a later version
        if not profile.linked:
            found.append(profile.journey)
    return found
