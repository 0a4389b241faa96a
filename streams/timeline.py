"""One customer's life as entries in the order in which the engine saw it: pure, from steps and records to entries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from models.draft import Step
from models.profile.journey import STAGES
from models.profile.profile import Profile, Score
from models.profile.tombstone import is_tombstone
from schemas.base import Event
from schemas.control import TimerDue
from schemas.decisions import Conversion, Decision, Suppressed
from schemas.identity import HandedOver, Linked

Kind = Literal["event", "timer", "stage", "score", "decision", "suppressed", "goal", "linked", "erased"]
KINDS: tuple[Kind, ...] = ("event", "timer", "stage", "score", "decision", "suppressed", "goal", "linked", "erased")
SCORE_STEP = 0.05
"""A score is told again once it has moved this far, in probability."""


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened to a customer, or that the engine did about it.

    Parameters
    ----------
    at
        Milliseconds UTC: when it occurred; of what the engine did, partition time.
    kind
        What sort of thing; one of ``KINDS``.
    customer
        Whose it was: the customer asked for, or a device that became it.
    what
        The event's type, the timer's kind, the stage, the model's target, the campaign, or the other identity.
    note
        ``repeat`` or ``late`` of an event; the stage before; empty otherwise.
    record
        The event, decision, suppression or conversion itself, where there is one.
    p, version
        Of a score: the probability, and the labels that its model had learned; -1 where a rule answered.
    """

    at: int
    kind: Kind
    customer: str
    what: str
    note: str = ""
    record: Event | Decision | Suppressed | Conversion | None = None
    p: float | None = None
    version: int | None = None


class Timeline:
    """Collects the entries of a customer and of the devices that became it.

    Parameters
    ----------
    customers
        Their ids, the one asked for and its devices.

    Attributes
    ----------
    entries
        In the order in which the engine saw them. An erasure takes away what came before it.
    """

    def __init__(self, customers: Iterable[str]) -> None:
        self.customers = frozenset(customers)
        self.entries: list[Entry] = []
        self._told: dict[tuple[str, str], Score] = {}

    def step(self, event: Event, before: Profile | None, step: Step) -> None:
        """Note one step of the engine, if it is one of theirs; of a timer only what came of it, and the timer."""
        if event.customer not in self.customers or (step.messages and self._comes_again(step)):
            return
        after = step.profile
        if after.erased_at and is_tombstone(after):
            self._erase(after)
            return
        own = self._of_profile(event, before, after)
        own += [self.decision(one) for one in step.decisions]
        own += [self.suppressed(one) for one in step.suppressed]
        own += [self.goal(one) for one in step.conversions]
        if not isinstance(event, TimerDue):
            self.entries.append(self.event(event, _note(step)))
        elif own:
            self.entries.append(Entry(at=event.due, kind="timer", customer=event.customer, what=event.kind))
        self.entries += own

    @staticmethod
    def event(event: Event, note: str = "") -> Entry:
        """The entry of an event of the log; who became whom has a kind of its own."""
        if isinstance(event, HandedOver):
            return Entry(at=event.occurred_at, kind="linked", customer=event.customer, what=event.origin, note="from")
        if isinstance(event, Linked):
            return Entry(at=event.occurred_at, kind="linked", customer=event.customer, what=event.user, note="to")
        name = str(event.__struct_config__.tag)
        return Entry(at=event.occurred_at, kind="event", customer=event.customer, what=name, note=note, record=event)

    @staticmethod
    def decision(one: Decision) -> Entry:
        """The entry of a decision."""
        return Entry(at=one.issued_at, kind="decision", customer=one.customer, what=one.campaign, record=one)

    @staticmethod
    def suppressed(one: Suppressed) -> Entry:
        """The entry of what was suppressed."""
        return Entry(at=one.at, kind="suppressed", customer=one.customer, what=one.campaign, record=one)

    @staticmethod
    def goal(one: Conversion) -> Entry:
        """The entry of a goal reached."""
        return Entry(at=one.occurred_at, kind="goal", customer=one.customer, what=one.campaign, record=one)

    def _comes_again(self, step: Step) -> bool:
        """Whether a device only forwarded the event to a user whose life this is."""
        return "forwarded" in step.counts and all(one.customer in self.customers for one in step.messages)

    def _erase(self, after: Profile) -> None:
        """All that came before goes, here as in the state."""
        kept = [one for one in self.entries if one.customer != after.customer]
        erased = Entry(at=after.erased_at, kind="erased", customer=after.customer, what="erased")
        if erased not in self.entries:
            self.entries = [*kept, erased]

    def _of_profile(self, event: Event, before: Profile | None, after: Profile) -> list[Entry]:
        found = []
        old, new = before.journey.stage if before else -1, after.journey.stage
        if new != old and new >= 0:
            note = STAGES[old] if old >= 0 else ""
            found.append(
                Entry(at=after.clock, kind="stage", customer=event.customer, what=STAGES[new], note=note),
            )
        for score in after.scores:
            last = self._told.get((event.customer, score.name))
            if last is None or abs(score.p - last.p) >= SCORE_STEP or (score.version < 0) != (last.version < 0):
                self._told[event.customer, score.name] = score
                found.append(
                    Entry(
                        at=score.at,
                        kind="score",
                        customer=event.customer,
                        what=score.name,
                        p=round(score.p, 6),
                        version=score.version,
                    )
                )
        return found


def of_log(events: Iterable[Event], records: Iterable[Decision | Conversion], profile: Profile | None) -> list[Entry]:
    """The entries of a customer of whom only the records are at hand: events, decisions, goals, and the last stages.

    Parameters
    ----------
    events
        The log's, in its order.
    records
        From the topic of decisions.
    profile
        As it is now: its journey remembers the last twelve stages.
    """
    found = [Timeline.event(event) for event in events]
    found += [Timeline.decision(one) if isinstance(one, Decision) else Timeline.goal(one) for one in records]
    if profile is not None:
        before = ""
        for stage, at in profile.journey.history:
            found.append(Entry(at=at, kind="stage", customer=profile.customer, what=STAGES[stage], note=before))
            before = STAGES[stage]
        if profile.erased_at:
            found = [one for one in found if one.at > profile.erased_at]
            found.append(Entry(at=profile.erased_at, kind="erased", customer=profile.customer, what="erased"))
    return sorted(found, key=lambda one: (one.at, KINDS.index(one.kind)))


def _note(step: Step) -> str:
    if "duplicate" in step.counts:
        return "repeat"
    if "after_erasure" in step.counts:
        return "of the erased past"
    if "forwarded" in step.counts:
        return "forwarded"
    return "late" if "late" in step.counts else ""
