"""Stepping a batch of the log: profiles and timers in, the changes of one commit out. No IO but the store's load."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import msgspec
from aiokafka.structs import ConsumerRecord
from msgspec import Struct

from models.engine import Engine
from models.learning.learner import Learner
from models.partition import Partition
from models.policy.ledger import Ledger
from models.profile import profile as profiles
from models.profile.profile import Profile
from models.profile.tombstone import is_tombstone, named
from schemas.base import Event
from schemas.codec import decode_event
from schemas.control import ModelPublished, Tick, TimerDue
from schemas.dead_letters import dead_letter
from schemas.errors import SchemaError

from .emitting import Emitter, encode_example
from .repeats import Repeats
from .settings import Limits
from .store import Loaded, Position


class State(Struct, frozen=True, array_like=True):
    """What a partition knows besides profiles and timers.

    Parameters
    ----------
    erased_until
        From then on (partition time, milliseconds UTC) no tombstone counts any more; 0 where nobody was erased.
    senders
        See ``repeats.py``.
    """

    clock: int = 0
    marks: dict[str, int] = {}
    ledger: bytes = b""
    models: dict[str, int] = {}
    erased_until: int = 0
    senders: dict[str, tuple[int, int]] = {}


class Cut(NamedTuple):
    """What one commit holds.

    Parameters
    ----------
    pos
        Everything before it is done.
    done
        How many records of the batch are done as a whole.
    erased
        Whether a customer was erased: nothing of it may be left anywhere in the store.
    """

    pos: Position
    done: int
    state: State
    profiles: dict[str, Profile]
    timers: dict[tuple[str, str], int]
    emitter: Emitter
    examples: list[bytes]
    erased: bool


class Line(NamedTuple):
    """A record of the log, read: its event, or why it is none."""

    record: ConsumerRecord
    event: Event | None
    error: SchemaError | None


def read(record: ConsumerRecord) -> Line:
    """Read a record of the log; what is no event goes to the dead letters."""
    try:
        return Line(record, decode_event(record.value or b""), None)
    except SchemaError as error:
        return Line(record, None, error)


class Stepper:
    """Steps the records of one partition; keeps what it knows of it from batch to batch.

    Parameters
    ----------
    engine, learner
        The engine, and with inline learning the learner whose models it reads.
    sources
        The ways in that partition time waits for.
    emitter
        Makes an empty emitter for a commit.
    clock
        Which ticks count; the other kind is refused.
    """

    def __init__(
        self,
        engine: Engine,
        learner: Learner | None,
        sources: Sequence[str],
        emitter: Callable[[], Emitter],
        limits: Limits,
        clock: Literal["event", "wall"] = "wall",
    ) -> None:
        self._clock = clock
        self.engine = engine
        self._learner = learner
        self._emitter = emitter
        self._limits = limits
        self.partition = Partition(sources=sources)
        self.cache: dict[str, Profile] = {}
        self.versions: dict[str, int] = {}
        self.repeats = Repeats()
        self.next_due: int | None = 0
        self.erased_until = 0
        self._erased = False
        self._tombstones: list[str] = []
        self.counts: Counter[str] = Counter()
        self.steps = 0
        self.asked = 0

    def restore(self, data: bytes) -> State:
        """Go on from a stored state; an empty one is the beginning."""
        state = msgspec.msgpack.decode(data, type=State) if data else State()
        self.partition.restore(state.clock, ())
        for source in self.partition.marks:
            self.partition.marks[source] = state.marks.get(source, 0)
        if state.ledger:
            self.engine.decider.ledger.restore(state.ledger)
        else:
            self.engine.decider.ledger.restore(Ledger().snapshot())
        self.versions = dict(state.models)
        self.erased_until = state.erased_until
        self.repeats = Repeats(state.senders)
        self.cache.clear()
        self.next_due = 0
        return state

    def reach(self, lines: Sequence[Line]) -> int:
        """The time up to which timers may fall due within these records, milliseconds UTC."""
        partition = self.partition
        marks = dict(partition.marks)
        until = min(marks.values()) if marks else partition.clock
        for line in lines:
            if line.event is not None and not (isinstance(line.event, Tick) and line.event.clock != self._clock):
                until = max(until, partition.reach(line.event) if marks else line.event.occurred_at)
        partition.marks.update(marks)
        return until

    def missing(self, lines: Sequence[Line]) -> list[str]:
        """Customers whose profiles are not at hand."""
        customers = [
            line.event.customer
            for line in lines
            if line.event is not None and not isinstance(line.event, (Tick, ModelPublished))
        ]
        self.asked = len(customers)
        cache = self.cache
        return list(dict.fromkeys(customer for customer in customers if customer not in cache))

    @property
    def remembers(self) -> bool:
        """Whether there may be tombstones in the store that count."""
        return self.erased_until > self.partition.clock

    def take(self, loaded: Loaded | None) -> None:
        """Take over what was loaded for a batch; None where nothing was needed."""
        partition = self.partition
        if loaded is None:
            partition.restore(partition.clock, ())
            return
        horizon = loaded.timers[-1] if loaded.more else None
        partition.restore(partition.clock, loaded.timers, horizon)
        self.next_due = loaded.next_due
        for customer, data in loaded.profiles.items():
            if customer not in self.cache:
                self.cache[customer] = named(profiles.decode(data), customer)

    def cut(self, lines: Sequence[Line], n: int) -> Cut:
        """Step records until a limit is reached.

        Parameters
        ----------
        lines
            At least one.
        n
            Outputs of the first record that earlier commits hold.
        """
        limits, partition, emitter = self._limits, self.partition, self._emitter()
        changed: dict[str, Profile] = {}
        timers: dict[tuple[str, str], int] = {}
        examples: list[bytes] = []
        stop_at = time.monotonic() + limits.seconds
        for index, line in enumerate(lines):
            offset = line.record.offset
            first = n if index == 0 else 0
            emitter.start(offset, first)
            if not first and self.repeats.known(line.record.headers):
                self.counts["repeat"] += 1
                continue
            if line.event is None:
                self._dead(line, emitter)
                continue
            if isinstance(line.event, Tick) and line.event.clock != self._clock:
                self.counts["tick_of_another_clock"] += 1
                continue
            if isinstance(line.event, ModelPublished):
                if index:  # its version is loaded between two cuts
                    return self._close(Position(offset, 0), index, changed, timers, emitter, examples)
                continue
            for event, now in partition.plan((line.event,)):
                customer = event.customer
                before = self.cache.pop(customer, None)  # so that the first in the cache is the one touched longest ago
                step = self.engine.step(event, before, now, partition.clock)
                self.steps += 1
                self.cache[customer] = changed[customer] = step.profile
                if step.profile.erased_at:
                    self._note_erased(before, step.profile)
                if isinstance(event, TimerDue):
                    key = (customer, event.kind)
                    timers[key] = next((due for kind, due in step.profile.timers if kind == event.kind), 0)
                if step.timers:
                    partition.apply(customer, step)
                    for kind, due in step.timers:
                        timers[customer, kind] = due
                for what, count in step.counts.items():
                    self.counts[what] += count
                emitter.step(step, step.profile.clock, event.received_at)
                if self._learner is not None:
                    for example in step.examples:
                        self._learner.learn(example)
                        examples.append(encode_example(example))
                full = len(emitter.outputs) >= limits.outputs or emitter.bytes >= limits.output_bytes
                if full or time.monotonic() > stop_at:
                    if event is line.event:
                        self.repeats.read(line.record.headers)
                        return self._close(Position(offset + 1), index + 1, changed, timers, emitter, examples)
                    return self._close(Position(offset, emitter.n), index, changed, timers, emitter, examples)
            if partition.horizon is not None and partition.short_of(partition.reach(line.event)):
                return self._close(Position(offset, emitter.n), index, changed, timers, emitter, examples)
            self.repeats.read(line.record.headers)
        last = lines[-1].record.offset
        return self._close(Position(last + 1), len(lines), changed, timers, emitter, examples)

    def _note_erased(self, before: Profile | None, after: Profile) -> None:
        if before is None or before.erased_at != after.erased_at:
            self._erased = True
            self.erased_until = max(self.erased_until, after.erased_at + self.engine.erasure_ms)
        self._tombstones.append(after.customer)

    def _dead(self, line: Line, emitter: Emitter) -> None:
        record, error = line.record, line.error
        assert error is not None
        origin = f"{record.topic}[{record.partition}]@{record.offset}"
        emitter.dead(
            dead_letter(error, record.value or b"", origin, max(0, record.timestamp)), max(0, record.timestamp)
        )
        self.counts[f"dead|{error.reason}"] += 1

    def _close(
        self,
        pos: Position,
        done: int,
        changed: dict[str, Profile],
        timers: dict[tuple[str, str], int],
        emitter: Emitter,
        examples: list[bytes],
    ) -> Cut:
        # loaded and not fired, or set in this cut: the partition knows both
        if (earliest := self.partition.earliest) is not None:
            self.next_due = earliest if self.next_due is None else min(self.next_due, earliest)
        if self.partition.horizon is not None:
            self.next_due = 0  # there are more due than were loaded
        state = State(
            self.partition.clock,
            dict(self.partition.marks),
            self.engine.decider.ledger.snapshot(),
            self.versions,
            self.erased_until,
            self.repeats.seen,
        )
        erased, self._erased = self._erased, False
        return Cut(pos, done, state, changed, timers, emitter, examples, erased)

    def trim(self, most: int) -> None:
        """Once a cut is stored: drop the erased, and what was touched longest ago where there is a quarter too much.

        Parameters
        ----------
        most
            Profiles to keep.
        """
        for customer in self._tombstones:
            if (profile := self.cache.get(customer)) is not None and is_tombstone(profile):
                del self.cache[customer]
        self._tombstones.clear()
        if len(self.cache) > most + most // 4:
            for customer in list(self.cache)[: len(self.cache) - most]:
                del self.cache[customer]
