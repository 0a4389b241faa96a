"""A seeded load on the raw topics: customers who look, fill carts and buy, and what senders do wrong on request."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random
from typing import Any
from zlib import crc32

from kafka.errors import KafkaError  # type: ignore[import-untyped]  # it ships no types

from schemas.base import DAY_MS, HOUR_MS
from streams import clients
from streams.connection import KafkaConnection

START_MS = 1_700_000_000_000 // DAY_MS * DAY_MS
RAW = ("clickstream", "transactions")
TICK_S = 0.2
SPEED = 3600.0
RECENT = 100
OVERSIZE = 300 * 1024
KINDS = ("poison", "oversize", "duplicate", "late", "future")
"""What can be mixed in; each has a share of the records, 0 to 1, and may come in a burst."""


@dataclass
class Load:
    """Writes records at a steady rate from a thread of its own, and ticks with them.

    Parameters
    ----------
    rate
        Records a second.
    speed
        Milliseconds of event time that pass in a millisecond.
    customers, devices
        How many users and anonymous devices there are; a device is linked to one user, once.
    """

    connection: KafkaConnection
    prefix: str
    raw_partitions: int
    seed: int
    rate: float
    speed: float = SPEED
    customers: int = 10_000
    devices: int = 1_500
    share: dict[str, float] = field(default_factory=dict)
    mixed: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._bursts: deque[tuple[str, int]] = deque()
        self._recent: deque[tuple[str, bytes, bytes]] = deque(maxlen=RECENT)
        self._linked: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._now = START_MS
        self._number = 0
        self.error: BaseException | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def burst(self, kind: str, count: int) -> None:
        """Let the next ``count`` records be of one kind."""
        self._bursts.append((kind, count))

    def stop(self) -> None:
        """End; all that was sent is acknowledged, or counted as failed."""
        self._stop.set()
        self._thread.join(90)
        assert not self._thread.is_alive(), "the load does not end"
        if self.error is not None:
            raise self.error

    def preload(self, count: int) -> None:
        """Write so many records as fast as the broker takes them, in place of a steady load."""
        with clients.sender(self.connection) as producer:
            for number in range(count):
                self._now = START_MS + int(1000 * number / self.rate * self.speed)
                self._one(producer)
                if number % max(1, int(self.rate * TICK_S)) == 0:
                    self._tick(producer)
            self._tick(producer)
            producer.flush(60)

    def _run(self) -> None:
        try:
            with clients.sender(self.connection) as producer:
                started, ticked = time.monotonic(), 0.0
                due = 0.0  # records
                while not self._stop.is_set():
                    elapsed = time.monotonic() - started
                    self._now = START_MS + int(1000 * elapsed * self.speed)
                    # a suspended broker must not be answered with a flood afterwards
                    due = min(due + 0.02 * self.rate, 50.0)
                    while due >= 1:
                        self._one(producer)
                        due -= 1
                    if elapsed - ticked >= TICK_S:
                        ticked = elapsed
                        self._tick(producer)
                    time.sleep(max(0.0, 0.02 - (time.monotonic() - started - elapsed)))
                self._tick(producer)
                producer.flush(60)
        except BaseException as error:  # noqa: BLE001  # raised again by ``stop``, in the thread that waits
            self.error = error

    def _tick(self, producer: Any) -> None:
        value = b'{"type":"tick","occurred_at":%d}' % self._now
        for topic in RAW:
            for partition in range(self.raw_partitions):
                self._send(producer, topic, None, value, partition)

    def _kind(self) -> str:
        while self._bursts:
            kind, left = self._bursts.popleft()
            if left > 1:
                self._bursts.appendleft((kind, left - 1))
            if left > 0:
                return kind
        roll = self._random.random()
        for kind, share in self.share.items():
            if roll < share:
                return kind
            roll -= share
        return ""

    def _one(self, producer: Any) -> None:
        kind = self._kind()
        if kind:
            self.mixed[kind] += 1
        if kind == "duplicate" and self._recent:
            topic, key, value = self._random.choice(self._recent)
        else:
            topic, key, record = self._record()
            if kind == "late":
                record["occurred_at"] -= self._random.randrange(HOUR_MS, 3 * DAY_MS)
            elif kind == "future":
                record["occurred_at"] += self._random.randrange(DAY_MS, 400 * DAY_MS)
            elif kind == "oversize":
                record["padding"] = "x" * OVERSIZE
            value = json.dumps(record, separators=(",", ":")).encode()
            if kind == "poison":
                value = self._poison(record, value)
            elif kind != "oversize":
                self._recent.append((topic, key, value))
        self._send(producer, topic, key, value, crc32(key) % self.raw_partitions)
        self.sent += 1

    def _poison(self, record: dict[str, Any], value: bytes) -> bytes:
        return self._random.choice(
            [
                b"\xff\xfe not even text",
                value[: len(value) // 2],
                b"[" * 5_000,
                b'{"type":"no_such_thing","customer":"u:1"}',
                value.replace(b'"customer"', b'"costumer"'),
                value.replace(b'"customer":"', b'"customer":"x'),
                b"",
            ]
        )

    def _record(self) -> tuple[str, bytes, dict[str, Any]]:
        random = self._random
        device = random.random() < 0.15
        number = int((self.devices if device else self.customers) * random.random() ** 2)
        customer = f"a:{number}" if device else f"u:{number}"
        at = self._now - random.randrange(2_000)
        self._number += 1
        record: dict[str, Any] = {"id": f"{self.seed}-{self._number}", "customer": customer, "occurred_at": at}
        product = f"p{random.randrange(200)}"
        roll = random.random()
        topic = "clickstream"
        if device and number not in self._linked and roll < 0.1:
            self._linked.add(number)
            record |= {"type": "linked", "user": f"u:{number * 7 % self.customers}"}
        elif roll < 0.35:
            record |= {"type": "page_viewed"}
        elif roll < 0.7:
            record |= {"type": "product_viewed", "product": product}
        else:
            topic, price = "transactions", f"{random.randrange(500, 9_000) / 100:.2f}"
            item = {"product": product, "price": price, "quantity": random.randrange(1, 4)}
            if roll < 0.92:
                record |= {"type": "cart_changed", "item": item, "currency": "EUR"}
            else:
                total = {"amount": price, "currency": "EUR"}
                record |= {"type": "order_completed", "order": f"o{self._number}", "total": total, "items": [item]}
        return topic, customer.encode(), record

    def _send(self, producer: Any, topic: str, key: bytes | None, value: bytes, partition: int) -> None:
        try:
            producer.send(self.prefix + topic, value, key=key, partition=partition, timestamp_ms=self._now).add_errback(
                self._lost
            )
        except KafkaError as error:
            self._lost(error)

    def _lost(self, error: Exception) -> None:
        """The broker did not take it, so it is no input: what counts is what the raw topics hold."""
        self.failed += 1
