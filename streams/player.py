"""Plays recorded events into the raw topics: the bytes as they are, at the pace and with the times they have."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from datetime import UTC, tzinfo
from types import TracebackType
from typing import Any, Literal, Self

import msgspec
from kafka import KafkaProducer  # type: ignore[import-untyped]  # it ships no types
from kafka.errors import (  # type: ignore[import-untyped]  # it ships no types
    InvalidTimestampError,
    KafkaError,
    KafkaTimeoutError,
)

from schemas.base import MINUTE_MS
from schemas.limits import DEFAULTS
from schemas.routing import RAW_TOPICS, glance

from .connection import KafkaConnection
from .errors import BrokerError
from .event_files import EventFiles, Record
from .line_files import Progress
from .probe import probe

Clock = Literal["event", "wall"]
MAX_SPEED = 0.0
PATIENCE_S = 9.0
DELIVERY_S = 20.0
LINGER_MS = 20
BATCH_BYTES = 128 * 1024
WINDOW_BYTES = 256 * 1024
WINDOWS = 64
NAP_S = 0.5
LONGEST = 2 * DEFAULTS.max_bytes
"""Bytes sent of a record; the intake refuses a longer one anyway, and a broker need not take it."""


class Player:
    """Sends raw records into the raw topics, and with the event clock the ticks that tell how far time has come.

    Records of one key stay in their order, in one partition. A tick is a record without key, ``{"type": "tick",
    "occurred_at": <ms>}``, on every partition of every raw topic, behind all records up to its time.

    Parameters
    ----------
    kafka
        Where the broker is; it must know the raw topics.
    prefix
        Stands before the names of the raw topics.
    clock
        ``event``: a record's timestamp is the time it carries itself, and ticks are written. ``wall``: it is now, and
        ticks are for others to write.
    tick_ms
        Event time from one tick to the next, milliseconds.
    only_topic
        One raw topic for all records, whatever they are; ticks go to all topics even so.
    compression
        ``gzip``, which also plays faster, or empty for none.
    zone
        Of times without an offset.
    patience_s
        How long to wait for a broker that does not answer at the start, or for the last acknowledgements.
    now, sleep
        The wall's clock, in seconds.

    Attributes
    ----------
    sent
        Records sent, by raw topic.
    unreadable
        Records that showed neither customer nor time; they went to clickstream, where the intake refuses them.
    ticks
        How often time was told.
    at
        The latest event time sent, milliseconds UTC; 0 before the first.

    Raises
    ------
    BrokerError
        Where the broker is away, or a raw topic does not exist.
    """

    def __init__(
        self,
        kafka: KafkaConnection,
        *,
        prefix: str = "",
        clock: Clock = "event",
        tick_ms: int = 5 * MINUTE_MS,
        only_topic: str = "",
        compression: str = "gzip",
        zone: tzinfo = UTC,
        patience_s: float = PATIENCE_S,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.sent: Counter[str] = Counter()
        self.unreadable = 0
        self.ticks = 0
        self.at = 0
        self._kafka = kafka
        self._clock = clock
        self._tick_ms = tick_ms
        self._only_topic = only_topic
        self._zone = zone
        self._patience_s = patience_s
        self._now = now
        self._sleep = sleep
        self._ticked: int | None = None
        self._failure: Exception | None = None
        self._closed = False
        self._window: deque[Any] = deque()
        self._window_bytes = 0
        self._names = {topic: prefix + topic for topic in RAW_TOPICS}
        self._producer = self._started(compression)
        try:
            self._partitions = {topic: self._count(name) for topic, name in self._names.items()}
        except BaseException:
            self._producer.close(0)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def play(self, lines: Iterable[bytes], speed: float = MAX_SPEED) -> None:
        """Send raw records, in order, and ticks with them; the last tick is at the last event's time.

        Parameters
        ----------
        speed
            How many times as fast as the wall event time runs; 0 is as fast as the broker takes it.

        Raises
        ------
        BrokerError
            Where the broker does not acknowledge a record.
        """
        self._play((Record(raw, glance(raw, self._zone)) for raw in lines), speed)

    def play_files(self, files: EventFiles, speed: float = MAX_SPEED, on_progress: Progress | None = None) -> None:
        """The same for files; ``on_progress`` is called with the bytes read."""
        self._play(files.read(on_progress), speed)

    def send(self, raw: bytes) -> None:
        """Send one record now, without a tick."""
        self._send(Record(raw, glance(raw, self._zone)))

    def tick(self, at: int) -> None:
        """Tell every partition of every raw topic that all up to ``at`` (milliseconds UTC) has been sent."""
        value = msgspec.json.encode({"type": "tick", "occurred_at": at})
        # A time that lies ahead goes into the value only: brokers refuse records from the future.
        stamp = min(at, self.at) if self.at else at
        for topic, partitions in self._partitions.items():
            for partition in partitions:
                self._hand_over(topic, value, None, partition, stamp)
        self.ticks += 1
        self._ticked = max(at, self._ticked or 0)

    def flush(self) -> None:
        """Return once everything sent has been acknowledged.

        Raises
        ------
        BrokerError
            Where that takes too long, or fails.
        """
        self._check()
        try:
            self._producer.flush(self._patience_s + DELIVERY_S)
        except KafkaError as error:
            raise self._refused(error) from error
        self._window.clear()
        self._check()

    def close(self) -> None:
        """Flush and disconnect; closing twice does no harm."""
        try:
            if not self._closed:
                self.flush()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Disconnect at once; what has not been acknowledged may be lost."""
        self._closed = True
        try:
            self._producer.close(0)
        except KafkaError:
            # It waited for what nobody will acknowledge, and left its thread running.
            self._producer._sender.force_close()

    def _started(self, compression: str) -> KafkaProducer:
        probe(self._kafka, self._patience_s)
        try:
            return KafkaProducer(
                **self._kafka.kafka_python(),
                # Idempotent, so that a repeated batch neither doubles a record nor overtakes another.
                enable_idempotence=True,
                acks="all",
                compression_type=compression or None,
                linger_ms=LINGER_MS,
                batch_size=BATCH_BYTES,
                allow_auto_create_topics=False,
                bootstrap_timeout_ms=int(self._patience_s * 1000),
                max_block_ms=int(self._patience_s * 1000),
                delivery_timeout_ms=int(DELIVERY_S * 1000),
                request_timeout_ms=int(DELIVERY_S * 1000) // 3,
                reconnect_backoff_max_ms=1000,
                metrics_enabled=False,
            )
        except KafkaError as error:
            found = f"no broker that answers within {self._patience_s:g} s"
            if not isinstance(error, KafkaTimeoutError):
                found += f" ({type(error).__name__})"
            remedy = "start it, or name another with --kafka HOST:PORT or RAPPORT_KAFKA"
            raise BrokerError(self._kafka.address, found, remedy) from error

    def _count(self, name: str) -> list[int]:
        try:
            return sorted(self._producer.partitions_for(name))
        except KafkaError as error:
            remedy = "create the topics first: rapport topics create; or name their --prefix"
            raise BrokerError(name, f"no such topic on {self._kafka.address}", remedy) from error

    def _play(self, records: Iterable[Record], speed: float) -> None:
        pace: tuple[int, float] | None = None  # the first event's time, and the wall's at that moment
        for record in records:
            at = record.seen.at
            if at is not None and at > self.at:
                if speed and pace is None:
                    pace = at, self._now()
                self._reach(at, pace, speed)
            self._send(record)
        if self._clock == "event" and self.at and self.at != self._ticked:
            self.tick(self.at)
        self.flush()

    def _reach(self, at: int, pace: tuple[int, float] | None, speed: float) -> None:
        """Let time come to ``at``: the ticks that lie before it, each in its turn, then the wait for ``at`` itself."""
        if self._clock == "event":
            step = self._tick_ms
            last = (at - 1) // step * step
            if self._ticked is None:
                self._ticked = last
            elif pace is not None:
                for tick in range(self._ticked // step * step + step, last + 1, step):
                    self._wait(tick, pace, speed)
                    self.tick(tick)
            elif last > self._ticked:
                self.tick(last)
        if pace is not None:
            self._wait(at, pace, speed)

    def _wait(self, at: int, pace: tuple[int, float], speed: float) -> None:
        due = pace[1] + (at - pace[0]) / 1000 / speed
        while (left := due - self._now()) > 0:
            self._check()
            self._sleep(min(left, NAP_S))

    def _send(self, record: Record) -> None:
        raw, seen = record
        topic = self._only_topic or seen.topic
        if seen.key is None and seen.at is None:
            self.unreadable += 1
        if seen.at is not None and seen.at > self.at:
            self.at = seen.at
        # Without a key the first partition, so that the same file gives the same topics.
        partition = self._partitions[topic][0] if seen.key is None else None
        self._hand_over(topic, raw[:LONGEST], seen.key, partition, seen.arrived or self.at)
        self.sent[topic] += 1

    def _hand_over(self, topic: str, value: bytes, key: bytes | None, partition: int | None, stamp: int) -> None:
        self._check()
        timestamp = stamp if self._clock == "event" and stamp else None
        try:
            future = self._producer.send(
                self._names[topic], value, key=key, partition=partition, timestamp_ms=timestamp
            ).add_errback(self._failed)
        except KafkaError as error:
            raise self._refused(error) from error
        # The producer's own buffer knows no bound: so wait for what was sent a while ago.
        self._window_bytes += len(value)
        if self._window_bytes >= WINDOW_BYTES:
            self._window_bytes = 0
            self._window.append(future)
            if len(self._window) > WINDOWS:
                self._await(self._window.popleft())

    def _await(self, future: Any) -> None:
        try:
            future.get(self._patience_s + DELIVERY_S)
        except KafkaError as error:
            raise self._refused(error) from error

    def _failed(self, error: Exception) -> None:
        """Called on the producer's thread."""
        if self._failure is None:
            self._failure = error

    def _check(self) -> None:
        if self._failure is not None:
            raise self._refused(self._failure) from self._failure

    def _refused(self, error: Exception) -> BrokerError:
        found = f"{type(error).__name__} after {self.sent.total():,} records"
        remedy = "check the broker, then play again: what it has already is counted once, by its id"
        if isinstance(error, KafkaTimeoutError):
            found = f"no acknowledgement within {DELIVERY_S:g} s, after {self.sent.total():,} records"
        elif isinstance(error, InvalidTimestampError):
            found = f"a refusal of the events' times, after {self.sent.total():,} records"
            remedy = "let the raw topics take them (message.timestamp.after.max.ms), or play with --clock wall"
        return BrokerError(self._kafka.address, found, remedy)
