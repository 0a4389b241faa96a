"""Reading an installation's topics as they grow, in a thread of its own: the event loop never waits for the broker."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from kafka import TopicPartition  # type: ignore[import-untyped]  # it ships no types
from msgspec import Struct

from schemas.codec import decode_conversion, decode_dead_letter, decode_decision
from schemas.errors import SchemaError

from ..clients import reader
from ..connection import Connection
from ..errors import BrokerError, StreamError
from ..lag import Course, Expired, Spot
from ..lag_survey import Survey
from ..repeats import Repeats
from ..topic_plan import BROKERS_TIME, DEAD_LETTERS, DECISIONS, EVENTS, Clock, TopicPlan
from .seen import Read

POLL_MS = 250
AT_ONCE = 500
LAG_EVERY_S = 2.0
RETRY_S = 2.0
SAMPLED = 2_000
"""Records of ``events`` that are read past at most: further behind, the reading jumps to the end."""


class _Seen(Struct, frozen=True):
    id: str = ""
    type: str = ""


_event = msgspec.json.Decoder(_Seen)


@dataclass(frozen=True)
class Progress:
    """How the reading stands.

    Parameters
    ----------
    trouble
        Why nothing can be read; empty where it can.
    read, total
        Records of ``decisions`` and ``dead-letters`` read, and there to read.
    spots
        How far each stage is in each partition, and in how many seconds it will have caught up; None where it does not.
    expired
        Triggers that subscribers have not read.
    notes
        What could not be seen of that.
    at
        When it was looked up, seconds of the monotonic clock.
    """

    trouble: str = ""
    read: int = 0
    total: int = 0
    spots: tuple[tuple[Spot, float | None], ...] = ()
    expired: tuple[Expired, ...] = ()
    notes: tuple[str, ...] = ()
    at: float = 0.0


Take = Callable[[Read, Progress], Coroutine[Any, Any, None]]


@dataclass
class Follower:
    """Follows ``decisions``, ``dead-letters`` and the end of ``events``.

    Parameters
    ----------
    connection, app, prefix, clock
        Where the installation is, its name, and by which clock it lives.
    loop
        Where ``take`` runs; the thread waits for it, so that memory is bounded.
    take
        Called with what was read, and how the reading stands.
    """

    connection: Connection
    app: str
    prefix: str
    clock: Clock
    loop: asyncio.AbstractEventLoop
    take: Take
    _stopping: threading.Event = field(default_factory=threading.Event)
    _positions: dict[TopicPartition, int] = field(default_factory=dict)
    _repeats: dict[TopicPartition, Repeats] = field(default_factory=dict)
    _progress: Progress = field(default_factory=Progress)

    def start(self) -> None:
        """Begin, in a thread that does not outlive the process."""
        self._thread = threading.Thread(target=self._run, name="topics", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End within a poll's time."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, 5.0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with ExitStack() as stack:
                    tail = stack.enter_context(reader(self.connection.kafka))
                    survey = Survey(self.connection, TopicPlan(self.prefix), self.app, clock=self.clock)
                    self._follow(tail, stack.enter_context(survey))
            except StreamError as error:
                trouble = str(error)
            except Exception as error:  # noqa: BLE001  # a client of the broker may raise anything; it is shown, and tried again
                trouble = f"{self.connection.kafka.address}: {type(error).__name__}: {error}"
            else:
                continue
            self._progress = replace(self._progress, trouble=trouble)
            self._hand_over(Read([], [], [], {}))
            self._stopping.wait(RETRY_S)

    def _follow(self, tail: Any, survey: Survey) -> None:
        places = self._places(tail)
        tail.assign(places)
        beginnings, ends = tail.beginning_offsets(places), tail.end_offsets(places)
        for place in places:
            if place in self._positions:
                tail.seek(place, max(self._positions[place], beginnings[place]))
            elif place.topic == self.prefix + EVENTS:
                tail.seek_to_end(place)
            else:
                tail.seek(place, beginnings[place])
        asked, course = 0.0, Course()
        while not self._stopping.is_set():
            found = Read([], [], [], {})
            for place, records in tail.poll(timeout_ms=POLL_MS, max_records=AT_ONCE).items():
                self._read(place, records, ends[place], found)
                self._positions[place] = records[-1].offset + 1
            self._skip(tail, places)
            if time.monotonic() - asked > LAG_EVERY_S:
                asked = time.monotonic()
                look = survey.look()
                course.add(look)
                spots = tuple((spot, course.catches_up_s(spot)) for spot in look.spots)
                self._progress = replace(self._progress, spots=spots, expired=look.triggers, notes=look.notes, at=asked)
            elif not any(found):
                continue
            read, total = self._standing(tail, places, beginnings)
            self._progress = replace(self._progress, trouble="", read=read, total=total)
            self._hand_over(found)

    def _places(self, tail: Any) -> list[TopicPartition]:
        places = []
        for topic in (DECISIONS, DEAD_LETTERS, EVENTS):
            name = self.prefix + topic
            numbers = tail.partitions_for_topic(name)
            if not numbers:
                raise BrokerError(name, "no such topic", "rapport topics create, or name another --prefix")
            places += [TopicPartition(name, number) for number in sorted(numbers)]
        return places

    def _skip(self, tail: Any, places: list[TopicPartition]) -> None:
        """Of the log only its end matters here."""
        for place in places:
            if place.topic == self.prefix + EVENTS:
                end = tail.highwater(place)
                if end is not None and end - tail.position(place) > SAMPLED:
                    tail.seek(place, end - AT_ONCE)

    def _standing(
        self, tail: Any, places: list[TopicPartition], beginnings: dict[TopicPartition, int]
    ) -> tuple[int, int]:
        read = total = 0
        for place in places:
            if place.topic != self.prefix + EVENTS:
                at = tail.position(place)
                read += at - beginnings[place]
                total += max(at, tail.highwater(place) or 0) - beginnings[place]
        return read, total

    def _read(self, place: TopicPartition, records: list[Any], live: int, found: Read) -> None:
        """Decode; records from the offset ``live`` on came while they were watched."""
        topic = place.topic.removeprefix(self.prefix)
        repeats = self._repeats.setdefault(place, Repeats())
        for record in records:
            if record.value is None or repeats.known(record.headers):
                continue
            repeats.read(record.headers)
            at = _written(record, live)
            try:
                if topic == DEAD_LETTERS:
                    found.letters.append((at, decode_dead_letter(record.value)))
                elif topic == EVENTS:
                    self._arrived(record, at, found)
                elif b'"kind":"conversion"' in record.value:
                    found.conversions.append((at, decode_conversion(record.value)))
                else:
                    found.decisions.append((at, decode_decision(record.value)))
            except SchemaError:
                continue  # of a later version: the others are shown without it

    def _arrived(self, record: Any, at: int, found: Read) -> None:
        try:
            event = _event.decode(record.value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if event.type not in ("tick", "model_published"):
            found.arrivals[event.id] = at

    def _hand_over(self, found: Read) -> None:
        if self.loop.is_closed() or self._stopping.is_set():
            return
        handed = asyncio.run_coroutine_threadsafe(self.take(found, self._progress), self.loop)
        while not self._stopping.is_set():
            try:
                handed.result(0.5)
            except TimeoutError:
                continue
            return


def _written(record: Any, live: int) -> int:
    """When a record was written, milliseconds UTC; 0 where nobody can tell.

    The embedded broker keeps the times that senders claim, which is the time of played events: there it is when the record
    was read, if it was read as it came.
    """
    if record.timestamp_type == BROKERS_TIME:
        return int(record.timestamp)
    return round(time.time() * 1000) if record.offset >= live else 0
