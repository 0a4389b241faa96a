"""What workers left behind, and a browser without a face that asks the dashboard of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from aiohttp import CookieJar
from aiohttp.test_utils import TestClient, TestServer
from kafka import KafkaProducer  # type: ignore[import-untyped]  # it ships no types

from models.profile import profile as profiles
from models.profile.profile import Profile
from schemas.codec import encode_conversion, encode_dead_letter, encode_decision, encode_event
from schemas.control import TimerDue
from schemas.dead_letters import DeadLetter
from schemas.decisions import Conversion, Decision
from schemas.events import AnyEvent
from streams import log_reader, topics
from streams.clients import reader
from streams.connection import Connection, KafkaConnection
from streams.customer_live import Installation
from streams.embedded import Broker, Valkey
from streams.emitting import encode_example
from streams.environment import redis_from_environment
from streams.redis_store import key
from streams.run import Run
from streams.stepping import State
from streams.topic_plan import TopicPlan
from streams.ui.app import application
from streams.ui.auth import Auth
from streams.ui.guard import CSRF_HEADER, site
from tests.support import busy, stream

TOKEN = "a-token-of-some-length"
WAIT_S = 60.0
Client = TestClient[Any, Any]


class Lived:
    """What workers left in the topics and the store of one partition."""

    def __init__(self, broker: Broker, valkey: Valkey) -> None:
        self.place = Installation(
            Connection(KafkaConnection((broker.address,)), redis_from_environment({}, valkey.url)), settings=busy()
        )
        self.decisions: list[Decision] = []
        self.conversions: list[Conversion] = []
        self.examples: list[bytes] = []
        self.customers: list[str] = []
        written: list[tuple[str, str, bytes]] = []

        def log(event: Any, before: Profile | None, step: Any) -> None:
            self.examples += map(encode_example, step.examples)
            self.customers.append(event.customer)
            if not isinstance(event, TimerDue):
                written.append(("events", event.customer, encode_event(cast("AnyEvent", event))))

        def decided(one: Decision) -> None:
            self.decisions.append(one)
            written.append(("decisions", one.customer, encode_decision(one)))

        def converted(one: Conversion) -> None:
            self.conversions.append(one)
            written.append(("decisions", one.customer, encode_conversion(one)))

        self.run = Run(busy(), decided, converted, on_step=log)
        self.run.drain(stream(5, 1500))
        decided(msgspec.structs.replace(self.decisions[-1], id="stopped", suppressed={"cart": "cap_campaign"}))
        letter = DeadLetter(
            origin="clickstream[0]@7",
            reason="not_json",
            field="$",
            found="<b>x</b>",
            remedy="send JSON",
            received_at=9,
            size=1,
        )
        written += [("dead-letters", "clickstream[0]@7", encode_dead_letter(letter))] * 3
        topics.create(self.place.connection.kafka, TopicPlan(partitions=1, raw_partitions=1, clock="event"))
        producer = KafkaProducer(bootstrap_servers=broker.address, enable_idempotence=False)
        for topic, name, value in written:
            producer.send(topic, value, name.encode(), partition=0)
        producer.close()
        with self.place.connection.redis.sync_client() as store:
            for customer, profile in self.run.profiles.items():
                store.hset(key("rapport", 0, "profiles"), customer, profiles.encode(profile))
            store.rpush(key("rapport", 0, "wal"), *self.examples)
            state = msgspec.msgpack.encode(State(clock=self.run.partition.clock))
            store.hset(key("rapport", 0, "meta"), "state", state)

    def records(self, topic: str) -> Iterator[log_reader.Record]:
        """What lies in a topic."""
        with reader(self.place.connection.kafka) as consumer:
            yield from log_reader.whole(consumer, topic)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@asynccontextmanager
async def served(place: Installation) -> AsyncIterator[Client]:
    """A browser that has not logged in."""
    port = free_port()
    app = application(place, Auth(TOKEN, asyncio.get_running_loop().time), site(port))
    async with TestClient(TestServer(app, port=port), cookie_jar=CookieJar(unsafe=True)) as client:
        yield client


async def log_in(client: Client) -> dict[str, str]:
    """Log in; returns the headers of a change."""
    answer = await client.post("/login", data={"token": TOKEN}, headers=origin(client), allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/stream")
    page = await (await client.get("/stream")).text()
    token = page.partition('name="csrf" content="')[2].partition('"')[0]
    assert len(token) > 20
    return {**origin(client), CSRF_HEADER: token}


def origin(client: Client) -> dict[str, str]:
    """The header that a browser sends of the site's own pages."""
    return {"Origin": f"http://{client.host}:{client.port}"}


async def until(client: Client, path: str, enough: Callable[[Any], bool]) -> Any:
    """What a page is told, once it is enough; the live stream says when to look again."""
    async with asyncio.timeout(WAIT_S):
        live = await client.get("/api/live")
        try:
            async for line in live.content:
                if line.startswith(b"data: "):
                    found = await (await client.get(path)).json()
                    if enough(found):
                        return found
        finally:
            live.close()
    raise AssertionError(path)
