"""From a click to what became of its trigger, through a real broker and store: the way of a whole installation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from examples.subscriber import subscribe
from models.policy.reading import read
from models.profile import profile as profiles
from schemas.base import HOUR_MS, MINUTE_MS
from schemas.codec import encode_event
from schemas.decisions import Decision
from schemas.outcomes import Outcome
from streams import embedded, topics
from streams.environment import from_environment
from streams.player import Player
from streams.redis_store import RedisStore
from streams.settings import StreamSettings
from streams.topic_plan import TopicPlan
from streams.worker import Worker
from tests.support import START, add

CAMPAIGNS = """
[policy]
consent = "allow"
quiet_hours = {start = "23:00", end = "23:01"}
[[campaign]]
id = "cart"
signal = "cart_left"
topic = "nudges"
mode = "live"
holdout = 0.0
max_age = "30d"
actions = [{id = "mail", channel = "email"}]
"""


class Running:
    """An installation with one worker in this process."""

    def __init__(self, kafka: str, redis: str) -> None:
        self.connection = from_environment({}, kafka=kafka, redis=redis)
        self.player = Player(self.connection.kafka)
        self.store = RedisStore(self.connection.redis.client())
        settings = StreamSettings(engine=read(CAMPAIGNS, "campaigns"), clock="event", transactions=False, session_s=3.0)
        self.worker = Worker(self.connection, settings)
        self.task = asyncio.create_task(self.worker.run())

    async def cart_left(self, customer: str, at: int) -> None:
        """The customer puts something into a cart, and an hour and a half goes by."""
        event = add(at, customer)
        await asyncio.to_thread(self.player.send, encode_event(event))
        await asyncio.to_thread(self.player.tick, at + 90 * MINUTE_MS)
        await asyncio.to_thread(self.player.flush)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    with embedded.start(tmp_path) as servers:
        connection = from_environment({}, kafka=servers.kafka, redis=servers.redis)
        await asyncio.to_thread(
            topics.create, connection.kafka, TopicPlan(partitions=1, raw_partitions=1, clock="event")
        )
        one = Running(servers.kafka, servers.redis)
        yield one
        one.worker.stop()
        await asyncio.wait_for(one.task, 30)
        one.player.close()
        await one.store.close()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    """Wait for a condition of the world outside."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_an_outcome_reaches_the_profile_and_the_kill_switch_stops_triggers(running: Running) -> None:
    delivered: list[Decision] = []

    def deliver(trigger: Decision) -> Outcome:
        delivered.append(trigger)
        return "unsubscribed"

    service = asyncio.create_task(
        subscribe(running.connection.kafka.aiokafka(), deliver, lambda trigger: trigger.issued_at + MINUTE_MS)
    )
    await running.cart_left("u:1", START)

    async def unsubscribed() -> bool:
        data = await running.store.load(0, 0, 1, ["u:1"])
        found = data.profiles.get("u:1")
        return found is not None and ("email", False) in profiles.decode(found).contact.consents

    await until(unsubscribed)
    assert [trigger.customer for trigger in delivered] == ["u:1"]

    await running.store.kill(True)
    await asyncio.sleep(1.0)  # what it promises: within a second
    await running.cart_left("u:2", START + 10 * HOUR_MS)

    async def stepped() -> bool:
        return await position(running) >= await end_of_log(running)

    await until(stepped)
    await running.store.kill(False)
    await asyncio.sleep(1.0)
    await running.cart_left("u:3", START + 20 * HOUR_MS)

    async def third() -> bool:
        return len(delivered) > 1

    await until(third)
    assert [trigger.customer for trigger in delivered] == ["u:1", "u:3"]
    service.cancel()
    with suppress(asyncio.CancelledError):
        await service


async def position(running: Running) -> int:
    lanes = {lane.tp.topic: lane for lane in running.worker.app.lanes}
    return lanes["events"].processed if "events" in lanes else -1


async def end_of_log(running: Running) -> int:
    """The end of the log once all raw topics are in it."""
    lanes = {lane.tp.topic: lane for lane in running.worker.app.lanes}
    async with AIOKafkaConsumer(**running.connection.kafka.aiokafka()) as reader:
        for topic in running.worker.settings.raw:
            tp = lanes[topic].tp
            if (await reader.end_offsets([tp]))[tp] > lanes[topic].processed:
                return 1 << 62
        tp = lanes["events"].tp
        ends: dict[object, int] = await reader.end_offsets([tp])
        return ends[tp]
