"""Intake: records of a raw topic become canonical events in the log, or dead letters. A function of the record.

Where it is, is committed with what it writes. The store is told as well, a moment later: a broker that was killed may come
back with older offsets of a group, or none, and say so without an error.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

import structlog
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord
from msgspec.structs import force_setattr

from schemas.control import tick, tick_at
from schemas.intake import Intake

from ..broker import Broker
from ..emitting import Emitter
from ..errors import ends_early
from ..places import Place
from ..publishers import Publisher
from ..redriving import ARRIVED, REDRIVEN
from ..settings import StreamSettings
from ..stages import Stages
from ..store import Position, Store
from ..tallies import Tallies

log = structlog.get_logger(__name__)

MARGIN_MS = 500
MILLIS_DIGITS = 15


class IntakePartition:
    """One partition of a raw topic.

    Parameters
    ----------
    tp
        The partition.
    polled
        Gives the last stable offset as of the last fetch, and when that was (milliseconds UTC).
    tallies
        The worker's numbers.
    """

    def __init__(
        self,
        tp: TopicPartition,
        settings: StreamSettings,
        store: Store,
        broker: Broker,
        polled: Callable[[TopicPartition], tuple[int, int]],
        tallies: Tallies | None = None,
    ) -> None:
        self._tp = tp
        self._settings = settings
        self._store = store
        self._broker = broker
        self._polled = polled
        self._intake = Intake(settings.intake)
        self._via = f"{tp.topic.removeprefix(settings.prefix)}/{tp.partition}"
        self._publisher: Publisher | None = None
        self._partitions = 0
        self._next = 0
        self._place: Place | None = None
        self._ticked = 0
        self._tick_after = 0.0
        self.done = 0
        self._tallies = tallies or Tallies()
        self.counts: Counter[str] = self._tallies.intake
        self.stages = Stages(self._tallies.timings["intake"])

    async def open(self) -> int:
        """Fence the predecessor, then read from what is committed; from the beginning where nothing is.

        Raises
        ------
        RefusedError
            Where more was taken in than the topic holds.
        """
        publisher = self._broker.publisher(f"{self._tp.topic}-{self._tp.partition}")
        self._publisher = publisher
        await publisher.start()
        committed = await self._broker.committed(self._tp, publisher)
        extent = await self._broker.log(self._tp)
        self._partitions = await self._broker.partitions(self._settings.topic("events"))
        source = f"{extent.identity}, partition {self._tp.partition}"
        if self._place is None or self._place.source != source:
            self._place = Place(self._store, source)
        told, known = committed.offset if committed is not None else 0, await self._place.last()
        if known > extent.end and self._broker.transactions:
            raise ends_early(
                self._tp.topic, self._tp.partition, extent.end, f"of which everything up to {known} was taken in"
            )
        self._next = max(told, known, extent.start)  # where it is older than the log, retention has taken it
        log.info(
            "takes in",
            topic=self._tp.topic,
            partition=self._tp.partition,
            offset=self._next,
            committed=told,
            known=known,
        )
        self._tallies.opened[self._tp] += 1
        return self._next

    async def process(self, records: Sequence[ConsumerRecord]) -> None:
        """Decode, and publish events, dead letters and offset as one."""
        assert self._publisher is not None
        assert self._place is not None
        most = self._settings.limits.records
        self._tallies.batches["intake"].add(len(records))
        for first in range(0, len(records), most):
            part = records[first : first + most]
            emitter = Emitter(self._settings.prefix, "rapport/intake", examples=False)
            with self.stages("intake: decode"):
                for record in part:
                    self._read(record, emitter)
            self._next = part[-1].offset + 1
            with self.stages("intake: publish"):
                await self._publisher.publish(emitter.outputs, {self._tp: Position(self._next)})
            self._place.passed(self._next)
            self.stages.count += len(part)
            self._tallies.records[self._tp] += len(part)
            self._tallies.outputs.update(output.topic for output in emitter.outputs)
            self.done += 1

    def _read(self, record: ConsumerRecord, emitter: Emitter) -> None:
        emitter.start(record.offset, 0)
        raw = record.value or b""
        if self._settings.clock == "event" and len(raw) < 100 and (at := tick_at(raw)) is not None:
            for partition in range(self._partitions):
                emitter.event(tick(at, "event", self._via), partition)
            return
        origin = f"{self._tp.topic}[{self._tp.partition}]@{record.offset}"
        arrival = record.timestamp if record.timestamp is not None and record.timestamp >= 0 else None
        for name, value in record.headers or ():
            if name == REDRIVEN:
                origin = value.decode("utf-8", "replace")[:200]  # so that ids are those of the first try
            elif name == ARRIVED and value.isdigit() and len(value) < MILLIS_DIGITS:
                arrival = int(value)
        read = self._intake.read(raw, arrival, origin)
        self.counts["records"] += 1
        for letter in read.letters:
            self.counts[f"dead|{letter.reason}"] += 1
            emitter.dead(letter, arrival or 0)
        for event in read.events:
            force_setattr(event, "via", self._via)  # nobody else holds it yet
            emitter.event(event)
        if read.notes:
            self.counts.update(read.notes)

    async def idle(self) -> None:
        """With the wall clock: all that came until the last fetch is in the log, so time has come this far."""
        if self._settings.clock != "wall" or time.monotonic() < self._tick_after:
            return
        stable, at = self._polled(self._tp)
        now = at - MARGIN_MS
        if stable < 0 or stable > self._next + 1 or now <= self._ticked or self._publisher is None:
            return
        # of no record, and not to be taken for one
        emitter = Emitter(self._settings.prefix, "rapport/intake", examples=False)
        for partition in range(self._partitions):
            emitter.event(tick(now, "wall", self._via), partition)
        await self._publisher.publish(emitter.outputs, {self._tp: Position(self._next)})
        self._ticked = now
        self._tick_after = time.monotonic() + self._settings.tick_s

    async def finish(self) -> None:
        """Every batch was published as a whole."""

    async def close(self) -> None:
        """Let go of the producer, once the store knows how far it came."""
        if self._place is not None:
            await self._place.settled()
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            await publisher.stop()
