"""One run of the engine in this process: the seam driven over events in order, learning inline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from models.draft import Step
from models.engine import Engine
from models.errors import SnapshotError
from models.learning.learner import Example, Learner
from models.partition import Partition
from models.policy.campaigns import Campaigns
from models.policy.ledger import Ledger
from models.policy.reading import Settings
from models.profile import profile as profiles
from models.profile.profile import Profile
from models.profile.tombstone import is_tombstone, named, unexpired
from schemas.base import Event
from schemas.control import ModelPublished
from schemas.decisions import Conversion, Decision, Suppressed

from .adoption import Adoption
from .tombstones import encode, living, pseudonyms

FORMAT = 1


class State(Struct, frozen=True, array_like=True):
    """Everything a run needs to go on; of the erased what is stored of them. ``marks`` and ``versions`` only matter to a log."""

    format: int
    clock: int
    timers: list[tuple[int, str, str]]
    profiles: list[bytes]
    models: bytes
    ledger: bytes
    tombstones: list[tuple[bytes, bytes]] = []
    marks: dict[str, int] = {}
    versions: dict[str, int] = {}


@dataclass(frozen=True)
class Published:
    """Model versions that were learned elsewhere and come as records of the log.

    Parameters
    ----------
    kept
        Gives the snapshot that a record names, or None.
    missing
        Called where the engine would have taken a version over that is not there.
    key
        What snapshots are signed with.
    """

    kept: Callable[[ModelPublished], bytes | None]
    missing: Callable[[ModelPublished], None]
    key: bytes = b""


OnStep = Callable[[Event, Profile | None, Step], None]


class Run:
    """Engine, learner, partition and profiles, wired together.

    Parameters
    ----------
    settings
        Engine settings and campaigns, checked.
    on_decision, on_conversion, on_example
        Called for each, in order, as they arise.
    quiet
        True sends nothing: profiles and models are built, no campaign is considered (``rapport bootstrap``).
    deliver
        False leaves the messages between customers alone: a recorded log holds them as records of its own.
    sources
        As of ``Partition``.
    on_suppressed
        Called as ``on_decision``, before it.
    on_step
        Called first with each event, the profile before it (None where there was none) and its step.
    published
        Where model versions come from; None: the run learns by itself, right after each step.
    """

    def __init__(
        self,
        settings: Settings,
        on_decision: Callable[[Decision], None] | None = None,
        on_conversion: Callable[[Conversion], None] | None = None,
        on_example: Callable[[Example], None] | None = None,
        quiet: bool = False,
        deliver: bool = True,
        sources: Iterable[str] = (),
        published: Published | None = None,
        on_suppressed: Callable[[Suppressed], None] | None = None,
        on_step: OnStep | None = None,
    ) -> None:
        self.settings = settings
        self.learner = Learner(settings.engine.model_specs())
        campaigns = Campaigns() if quiet else settings.campaigns
        self.engine = Engine(settings.engine, campaigns, self.learner.models)
        self.partition = Partition(sources=sources)
        self.profiles: dict[str, Profile] = {}
        self.counts: Counter[str] = Counter()
        self.steps = 0
        self._tombstones: dict[bytes, bytes] = {}
        self._pseudonym = pseudonyms(b"")
        self.versions: dict[str, int] = {}
        self._deliver_messages = deliver
        self._published = published
        self._on_decision = on_decision
        self._on_conversion = on_conversion
        self._on_example = on_example
        self._on_suppressed = on_suppressed
        self._on_step = on_step

    def feed(self, events: Iterable[Event], until: int | None = None) -> Iterator[Step]:
        """Step over events in order, timers included; yields each step once its effects have been passed on.

        Parameters
        ----------
        until
            After the events, fire the timers due by then (milliseconds UTC).

        Raises
        ------
        SnapshotError
            Where a model version of the log does not fit the settings.
        """
        for event, now in self.partition.plan(self._without_versions(events), until):
            step = self._step(event, now)
            yield step
            if step.messages and self._deliver_messages:
                yield from self._deliver(step.messages, now)

    def drain(self, events: Iterable[Event], until: int | None = None) -> None:
        """``feed`` for its effects alone."""
        for _ in self.feed(events, until):
            pass

    def _without_versions(self, events: Iterable[Event]) -> Iterator[Event]:
        """Take model versions over when their turn comes: the partition asks for an event once all before it is done."""
        published = self._published
        adoption = Adoption(self.learner.models, published.key if published else b"", self.versions)
        for event in events:
            if not isinstance(event, ModelPublished):
                yield event
                continue
            if published is None or not adoption.wants(event):
                continue
            if not adoption.take(event.model, event.version, published.kept(event)):
                self.counts["model_missing"] += 1
                published.missing(event)

    def _deliver(self, messages: Iterable[Event], now: int) -> Iterator[Step]:
        """Step the customers that a step had messages for, and those that theirs are for."""
        for message in messages:
            step = self._step(message, now)
            yield step
            yield from self._deliver(step.messages, now)

    def _step(self, event: Event, now: int) -> Step:
        customer = event.customer
        profile = self.profiles.get(customer)
        if profile is None and self._tombstones:
            profile = self._erased(customer)
        step = self.engine.step(event, profile, now, self.partition.clock)
        if self._on_step is not None:
            self._on_step(event, profile, step)
        self.steps += 1
        self.profiles[customer] = step.profile
        if step.timers:
            self.partition.apply(customer, step)
        if step.counts:
            for what, count in step.counts.items():
                self.counts[what] += count
        for example in step.examples:
            if self._published is None:
                self.learner.learn(example)
            if self._on_example is not None:
                self._on_example(example)
        if self._on_suppressed is not None:
            for suppressed in step.suppressed:
                self._on_suppressed(suppressed)
        if self._on_decision is not None:
            for decision in step.decisions:
                self._on_decision(decision)
        if self._on_conversion is not None:
            for conversion in step.conversions:
                self._on_conversion(conversion)
        return step

    def _erased(self, customer: str) -> Profile | None:
        """The tombstone of a customer who was erased before the state was saved that this run goes on from."""
        data = self._tombstones.pop(self._pseudonym(customer), None)
        return named(profiles.decode(data), customer) if data is not None else None

    @property
    def customers(self) -> int:
        """How many customers have a profile; the erased have none."""
        return living(self.profiles.values())

    def snapshot(self, key: bytes = b"") -> bytes:
        """The whole state as bytes; models are signed with ``key``, and the erased are named by it.

        A run that was restored is saved with the same key.
        """
        pseudonym, clock, kept_ms = pseudonyms(key), self.partition.clock, self.engine.erasure_ms
        held, tombstones = [], dict(self._tombstones)
        for customer in sorted(self.profiles):
            profile = self.profiles[customer]
            if profile.erased_at and is_tombstone(profile):
                tombstones[pseudonym(customer)] = encode(profile)
            else:
                held.append(profiles.encode(profile))
        return msgspec.msgpack.encode(
            State(
                FORMAT,
                clock,
                self.partition.timers(),
                held,
                self.learner.snapshot(key),
                self.engine.decider.ledger.snapshot(),
                [
                    (name, data)
                    for name, data in sorted(tombstones.items())
                    if unexpired(profiles.decode(data), clock, kept_ms) is not None
                ],
                dict(self.partition.marks),
                self.versions,
            )
        )

    def restore(self, data: bytes, key: bytes = b"") -> None:
        """Go on from what ``snapshot`` wrote, under the same configuration.

        Raises
        ------
        SnapshotError
            Where the bytes are no state, or one of another format, key or configuration.
        """
        try:
            state = msgspec.msgpack.decode(data, type=State)
            held = [profiles.decode(one) for one in state.profiles]
            for _, tombstone in state.tombstones:
                profiles.decode(tombstone)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SnapshotError(
                f"{len(data)} bytes that are no saved state ({error}); was the file cut short?"
            ) from error
        if state.format != FORMAT:
            raise SnapshotError(f"saved state of format {state.format}; this version reads {FORMAT}: bootstrap again")
        Ledger().restore(state.ledger)  # all of it is checked before any of it is taken over
        self.learner.restore(state.models, key)
        self.engine.decider.ledger.restore(state.ledger)
        self.partition.restore(state.clock, state.timers)
        for source in self.partition.marks:
            self.partition.marks[source] = state.marks.get(source, 0)
        self.versions = dict(state.versions)
        self.profiles = {profile.customer: profile for profile in held}
        self._tombstones = dict(state.tombstones)
        self._pseudonym = pseudonyms(key)
