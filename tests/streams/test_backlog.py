"""What waited too long in a backlog sends nothing; where time is played there is no such thing."""

from __future__ import annotations

import time
from typing import Literal

import pytest
from aiokafka import TopicPartition

from models.policy.reading import read
from schemas.base import HOUR_MS, MINUTE_MS, Event
from schemas.codec import encode_event
from streams.checkpoint import EnginePartition
from streams.settings import StreamSettings
from streams.store import MemoryStore, Position
from streams.tallies import Tallies
from tests.streams.fakes import FakeBroker
from tests.support import order

TP = TopicPartition("events", 0)
CAMPAIGN = """
[policy]
consent = "allow"

[[campaign]]
id = "c"
signal = "ordered"
topic = "offers"
mode = "live"
holdout = 0.0
max_age = "1h"
actions = [{id = "mail", channel = "email"}]
"""


class Shop:
    """A log of orders that arrived the moment they were placed, and a campaign that thanks for each."""

    def __init__(self, clock: Literal["wall", "event"]) -> None:
        self.broker, self.store = FakeBroker(), MemoryStore()
        self.tallies = Tallies()
        self.settings = StreamSettings(engine=read(CAMPAIGN), raw=(), clock=clock, key=b"key")

    def ordered(self, at: int) -> None:
        event: Event = order(at, f"u:{at}")
        self.broker.append(encode_event(event), at, event.customer.encode())  # type: ignore[arg-type]  # of the union

    async def work(self) -> EnginePartition:
        """A worker opens the partition and steps what is there."""
        work = EnginePartition(TP, self.settings, self.store, self.broker, tallies=self.tallies)
        start = await work.open()
        await work.process(self.broker.events[start:])
        await work.idle()
        return work

    @property
    def sent(self) -> int:
        return len(self.broker.sent["offers"])


@pytest.mark.parametrize(("clock", "sent"), [("wall", 1), ("event", 3)])
async def test_what_waited_longer_than_max_age_is_stale(clock: Literal["wall", "event"], sent: int) -> None:
    shop, now = Shop(clock), round(time.time() * 1000)
    for age in (5 * HOUR_MS, 2 * HOUR_MS, MINUTE_MS):
        shop.ordered(now - age)
    work = await shop.work()
    assert shop.sent == sent
    assert work.stepper.counts["suppressed|c|stale"] == 3 - sent


async def test_a_triggers_latency_counts_from_its_arrival_and_by_the_wall_alone() -> None:
    for clock, count in (("wall", 1), ("event", 0)):
        shop = Shop("wall" if clock == "wall" else "event")
        shop.ordered(round(time.time() * 1000) - 2 * MINUTE_MS)
        await shop.work()
        assert shop.tallies.outputs["offers"] == 1
        assert shop.tallies.latency.cumulative()[-1] == ("+Inf", count)
        if count:
            assert shop.tallies.latency.sum >= 120
            assert dict(shop.tallies.latency.cumulative())["60"] == 0


async def test_what_was_sent_already_is_stepped_as_it_was_then() -> None:
    """The store lost everything, hours later: the contact is in the profile again, for the caps to count."""
    shop, now = Shop("wall"), round(time.time() * 1000)
    shop.ordered(now - 2 * HOUR_MS)
    shop.broker.offsets[TP] = Position(1)
    work = await shop.work()
    assert work.stepper.counts["decided|c|treated"] == 1
    assert shop.sent == 0, "it is not sent again"
    assert (shop.tallies.outputs.total(), shop.tallies.latency.cumulative()[-1][1]) == (0, 0)
