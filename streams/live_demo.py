"""The demonstration on the stream: a simulated shop plays into the raw topics and answers the triggers that come out."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from kafka import KafkaConsumer  # type: ignore[import-untyped]  # it ships no types

from models.simulator.config import DAY_MS, ShopConfig
from models.simulator.shop import Shop
from schemas.base import HOUR_MS
from schemas.codec import decode_decision
from schemas.decisions import Decision

from .connection import KafkaConnection, RedisConnection
from .player import Player
from .redis_store import key
from .stepping import State

TRIGGERS = ("offers", "nudges", "recommendations", "leads", "replies")
CATCH_UP_S = 60.0


@dataclass
class LiveShop:
    """A shop on one side of the stream, a subscriber on the other.

    Parameters
    ----------
    kafka, redis
        The broker, and the state store: it tells how far the engine has come.
    shop
        The shop's known truth.
    days_per_second
        Simulated days to a second of the wall.
    app
        The installation's name.
    """

    kafka: KafkaConnection
    redis: RedisConnection
    shop: ShopConfig
    days_per_second: float
    app: str = "rapport"
    sent: int = 0
    latest: deque[Decision] = field(default_factory=lambda: deque(maxlen=20))
    triggers: Counter[str] = field(default_factory=Counter)
    repeats: int = 0
    first_after_s: float | None = None

    def __post_init__(self) -> None:
        self.world = Shop(self.shop)
        self._seen: set[str] = set()
        self._store: Any = self.redis.sync_client()

    def live(self) -> Iterator[int]:
        """Let the shop live through its days; yields its time (milliseconds UTC) after each hour, and once all is in.

        Each hour's events go to the raw topics with a tick; the triggers that have come out meanwhile reach the shop,
        where customers open, click, buy or unsubscribe because of them: more events.
        """
        config, started = self.shop, time.monotonic()
        until = config.start_ms + config.days * DAY_MS
        reader = KafkaConsumer(
            *TRIGGERS,
            **self.kafka.kafka_python(),
            group_id=None,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        try:
            with Player(self.kafka) as player:
                incoming: list[Decision] = []
                while self.world.now_ms < until:
                    at = min(until, self.world.now_ms + HOUR_MS)
                    for raw in self.world.advance(at, incoming):
                        player.send(raw)
                        self.sent += 1
                    player.tick(at)
                    due = started + (at - config.start_ms) / DAY_MS / self.days_per_second
                    incoming = self._arrived(reader, max(0.0, due - time.monotonic()), started)
                    yield at
                player.flush()
            self._drain(reader, started)
            yield until  # what came only now is shown too
        finally:
            reader.close()
            self._store.close()

    def _drain(self, reader: Any, started: float) -> None:
        """Until the engine has come to the shop's present and all that it sent is here, and a moment longer."""
        until = time.monotonic() + CATCH_UP_S
        while (self._working() or _behind(reader)) and time.monotonic() < until:
            self._arrived(reader, 0.1, started)
        self._arrived(reader, 0.5, started)

    def _working(self) -> bool:
        """Whether the engine is behind the shop's present, or has outputs that are not on their topics yet."""
        return self._reached() < self.world.now_ms or bool(self._store.exists(key(self.app, 0, "outbox")))

    def _reached(self) -> int:
        """Partition time as it is stored, milliseconds UTC."""
        stored = self._store.hget(key(self.app, 0, "meta"), "state")
        marks = msgspec.msgpack.decode(stored, type=State).marks if stored else {}
        return min(marks.values(), default=0)

    def _arrived(self, reader: Any, seconds: float, started: float) -> list[Decision]:
        until = time.monotonic() + seconds
        arrived: list[Decision] = []
        while True:
            left = until - time.monotonic()
            for records in reader.poll(timeout_ms=max(0, int(left * 1000))).values():
                for record in records:
                    decision = decode_decision(record.value)
                    if decision.id in self._seen:
                        self.repeats += 1
                        continue
                    self._seen.add(decision.id)
                    self.triggers[decision.campaign] += 1
                    self.latest.append(decision)
                    if not decision.membership:  # an audience is no message
                        arrived.append(decision)
            if arrived and self.first_after_s is None:
                self.first_after_s = time.monotonic() - started
            if left <= 0:
                return arrived


def _behind(reader: Any) -> bool:
    """Whether there may be triggers that were not read."""
    partitions = reader.assignment()
    return not partitions or any(
        (end := reader.highwater(partition)) is None or reader.position(partition) < end for partition in partitions
    )
