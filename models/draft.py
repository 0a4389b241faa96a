"""The working copy of one step: the parts of a profile while an event changes them, and what the step gives out."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from schemas.base import Event
from schemas.decisions import Conversion, Decision, Suppressed

from .learning.learner import Example
from .profile.pending import Pending
from .profile.profile import Profile, Score


class Signal(Struct, frozen=True):
    """Something a campaign can act on: its name, and the facts that come with it."""

    name: str
    facts: Mapping[str, float] = {}


class Step(Struct, frozen=True):
    """What one event led to; nothing of it has been done yet.

    Parameters
    ----------
    profile
        The profile from now on.
    decisions
        All decisions: those of arm ``treated`` are the triggers.
    conversions
        Goals reached within an attribution window.
    examples
        Labelled examples for the learner.
    timers
        Changes of timers: (kind, due), with due 0 where one was taken away.
    messages
        Events for other customers of the log (a profile handed over, a straggler forwarded).
    counts
        What was counted: suppressions as ``suppressed|campaign|reason``, repairs, stages entered.
    suppressed
        Campaigns that act on what happened and sent nothing, and what stopped them.
    """

    profile: Profile
    decisions: tuple[Decision, ...] = ()
    conversions: tuple[Conversion, ...] = ()
    examples: tuple[Example, ...] = ()
    timers: tuple[tuple[str, int], ...] = ()
    messages: tuple[Event, ...] = ()
    counts: Mapping[str, int] = {}
    suppressed: tuple[Suppressed, ...] = ()

    @property
    def triggers(self) -> tuple[Decision, ...]:
        """The decisions that go out."""
        return tuple(d for d in self.decisions if d.arm == "treated")


class Draft:
    """A profile taken apart for one step.

    Parameters
    ----------
    profile
        The profile before the step.
    event
        The event.
    now
        Partition time, milliseconds UTC.
    """

    __slots__ = (
        "_heads",
        "activity",
        "basket",
        "before",
        "categories",
        "changed",
        "channels",
        "clock",
        "contact",
        "conversions",
        "counts",
        "decisions",
        "delay_ms",
        "erased_at",
        "event",
        "examples",
        "journey",
        "late",
        "linked",
        "marks",
        "messages",
        "mixed",
        "moments",
        "now",
        "orders",
        "origins",
        "pendings",
        "price_log",
        "sampled",
        "scores",
        "seen",
        "session",
        "signals",
        "suppressed",
        "timers",
        "trend",
        "views",
    )

    def __init__(self, profile: Profile, event: Event, now: int) -> None:
        self.before = profile
        self.event = event
        self.now = now
        self.clock = now
        self.take(profile)
        self.seen = profile.seen
        self.timers: dict[str, int] | None = None
        self._heads: dict[str, list[str]] | None = None
        self.linked = profile.linked
        self.erased_at = profile.erased_at
        self.late = profile.late
        self.mixed = profile.mixed
        self.delay_ms = profile.delay_ms
        self.origins = profile.origins
        self.moments: set[str] = set()
        self.signals: list[Signal] = []
        self.decisions: list[Decision] = []
        self.conversions: list[Conversion] = []
        self.examples: list[Example] = []
        self.messages: list[Event] = []
        self.changed: dict[str, int] = {}
        self.counts: dict[str, int] | None = None
        self.suppressed: tuple[Suppressed, ...] = ()

    def take(self, profile: Profile) -> None:
        """Take over what is known of the person: not the window of ids, the timers, or the marks."""
        self.activity = profile.activity
        self.session = profile.session
        self.basket = profile.basket
        self.orders = profile.orders
        self.categories = profile.categories
        self.channels = profile.channels
        self.price_log = profile.price_log
        self.journey = profile.journey
        self.contact = profile.contact
        self.scores: tuple[Score, ...] = profile.scores
        self.trend = profile.trend
        self.pendings: tuple[Pending, ...] = profile.pendings
        self.sampled = profile.sampled
        self.views = profile.views
        self.marks = profile.marks

    def count(self, what: str) -> None:
        """Count something for the operators."""
        if self.counts is None:
            self.counts = {}
        self.counts[what] = self.counts.get(what, 0) + 1

    def due(self, kind: str) -> int:
        """When the timer of ``kind`` falls due, 0 where it is not set."""
        if self.timers is not None:
            return self.timers.get(kind, 0)
        for name, due in self.before.timers:
            if name == kind:
                return due
        return 0

    def kinds(self, head: str) -> list[str]:
        """The kinds of timers that are set now and read ``head@...``: 500 campaigns may each ask for theirs."""
        if self._heads is None:
            self._heads = {}
            for kind in self.timers if self.timers is not None else (kind for kind, _ in self.before.timers):
                self._heads.setdefault(kind.rpartition("@")[0], []).append(kind)
        return list(self._heads.get(head, ()))

    def set_timer(self, kind: str, due: int) -> None:
        """Set the timer of ``kind``, in place of an earlier one; 0 takes it away."""
        if self.due(kind) == due:
            return
        if self.timers is None:
            self.timers = dict(self.before.timers)
        if self._heads is not None and bool(due) != (kind in self.timers):
            among = self._heads.setdefault(kind.rpartition("@")[0], [])
            among.append(kind) if due else among.remove(kind)
        if due:
            self.timers[kind] = due
        else:
            self.timers.pop(kind, None)
        self.changed[kind] = due

    def view(self) -> Profile:
        """The profile as it stands now."""
        return Profile(
            self.before.customer,
            self.before.version,
            self.clock,
            self.activity,
            self.session,
            self.basket,
            self.orders,
            self.categories,
            self.channels,
            self.price_log,
            self.journey,
            self.contact,
            self.seen,
            self.before.timers if self.timers is None else tuple(self.timers.items()),
            self.scores,
            self.trend,
            self.pendings,
            self.sampled,
            self.linked,
            self.erased_at,
            self.late,
            self.mixed,
            self.delay_ms,
            self.origins,
            self.views,
            self.marks,
        )

    def step(self) -> Step:
        """Close the step."""
        return Step(
            self.view(),
            tuple(self.decisions),
            tuple(self.conversions),
            tuple(self.examples),
            tuple(self.changed.items()),
            tuple(self.messages),
            self.counts or {},
            self.suppressed,
        )
