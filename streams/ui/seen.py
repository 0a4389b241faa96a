"""What was seen of the topics, in bounded memory: the latest decisions, counts by minute and by day, refusals."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.base import DAY_MS, MINUTE_MS
from schemas.dead_letters import DeadLetter
from schemas.decisions import Conversion, Decision

from ..dead_letters import Tally

RING = 10_000
MINUTES = 1_440
DAYS = 90
LETTERS = 200
REASONS = 100
ARRIVALS = 20_000
LATENCIES = 500


class Read(NamedTuple):
    """Records of the topics, decoded; each with when it was written, milliseconds UTC, 0 where nobody can tell.

    Parameters
    ----------
    arrivals
        When events came into the log: id -> milliseconds UTC.
    """

    decisions: list[tuple[int, Decision]]
    conversions: list[tuple[int, Conversion]]
    letters: list[tuple[int, DeadLetter]]
    arrivals: dict[str, int]


class Row(NamedTuple):
    """A decision in the ring: its number since the start, and when it was written, milliseconds UTC."""

    number: int
    at: int
    decision: Decision


@dataclass
class Minute:
    """Counts of one minute of the wall's clock.

    Parameters
    ----------
    events
        That came into the raw topics; None where nobody looked.
    latencies
        From the log to the decision, milliseconds; the first ``LATENCIES`` of the minute.
    """

    number: int
    events: int | None = None
    arms: Counter[str] = field(default_factory=Counter)
    goals: int = 0
    letters: int = 0
    latencies: list[int] = field(default_factory=list)


class Minutes:
    """The last day, minute by minute.

    >>> minutes = Minutes()
    >>> minutes.of(120_000).goals += 1
    >>> minutes.of(120_001).goals, [minute.number for minute in minutes]
    (1, [2])
    """

    def __init__(self) -> None:
        self._kept: dict[int, Minute] = {}

    def of(self, at: int) -> Minute:
        """The minute of a moment, milliseconds UTC; what is older than a day, or of no known time, is counted nowhere."""
        if not at:
            return Minute(0)
        number = at // MINUTE_MS
        found = self._kept.get(number)
        if found is None:
            found = Minute(number)
            if self._kept and number <= max(self._kept) - MINUTES:
                return found
            self._kept[number] = found
            for old in [one for one in self._kept if one <= number - MINUTES]:
                del self._kept[old]
        return found

    def __iter__(self) -> Iterator[Minute]:
        return iter(sorted(self._kept.values(), key=lambda minute: minute.number))


@dataclass
class Seen:
    """All that the dashboard knows of decisions, goals and refusals.

    Attributes
    ----------
    days
        Campaign -> day of the decision's own time -> arms and ``goal:`` arms; the last ``DAYS`` days.
    totals
        Campaign -> the same over all that was read.
    stopped
        Campaign -> reason -> how often it was stopped at a moment at which another decision was made.
    """

    ring: deque[Row] = field(default_factory=deque)
    minutes: Minutes = field(default_factory=Minutes)
    days: dict[str, dict[int, Counter[str]]] = field(default_factory=dict)
    totals: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    stopped: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    letters: deque[DeadLetter] = field(default_factory=lambda: deque(maxlen=LETTERS))
    reasons: dict[str, Tally] = field(default_factory=dict)
    latencies: deque[int] = field(default_factory=lambda: deque(maxlen=LATENCIES))
    last_at: int = 0
    number: int = 0
    letter_count: int = 0
    _by_id: dict[str, Row] = field(default_factory=dict)
    _arrivals: dict[str, int] = field(default_factory=dict)

    def take(self, read: Read) -> None:
        """Take in what was read."""
        for event, at in read.arrivals.items():
            self._arrivals[event] = at
        while len(self._arrivals) > ARRIVALS:
            del self._arrivals[next(iter(self._arrivals))]
        for at, decision in read.decisions:
            self._decided(at, decision)
        for at, conversion in read.conversions:
            self._converted(at, conversion)
        for at, letter in read.letters:
            self._refused(at, letter)

    def get(self, decision: str) -> Row | None:
        """A decision in the ring by its id."""
        return self._by_id.get(decision)

    def after(self, number: int) -> Iterable[Row]:
        """Rows with a higher number, the newest first."""
        found = []
        for row in reversed(self.ring):
            if row.number <= number:
                break
            found.append(row)
        return found

    def _decided(self, at: int, decision: Decision) -> None:
        self.number += 1
        row = Row(self.number, at, decision)
        self.ring.append(row)
        self._by_id[decision.id] = row
        if len(self.ring) > RING:
            old = self.ring.popleft()
            if self._by_id.get(old.decision.id) is old:
                del self._by_id[old.decision.id]
        minute = self.minutes.of(at)
        minute.arms[decision.arm] += 1
        if (arrived := self._arrivals.get(decision.source)) is not None and at >= arrived > 0:
            self.latencies.append(at - arrived)
            if len(minute.latencies) < LATENCIES:
                minute.latencies.append(at - arrived)
        self.last_at = max(self.last_at, decision.issued_at)
        self._count(decision.campaign, decision.issued_at, decision.arm)
        for campaign, reason in decision.suppressed.items():
            self.stopped[campaign][reason] += 1

    def _converted(self, at: int, conversion: Conversion) -> None:
        self.minutes.of(at).goals += 1
        self.last_at = max(self.last_at, conversion.occurred_at)
        self._count(conversion.campaign, conversion.occurred_at, f"goal:{conversion.arm}")

    def _refused(self, at: int, letter: DeadLetter) -> None:
        self.minutes.of(at).letters += 1
        self.letter_count += 1
        self.letters.append(letter)
        reason = letter.reason if letter.reason in self.reasons or len(self.reasons) < REASONS else "others"
        self.reasons.setdefault(reason, Tally()).add(letter)

    def _count(self, campaign: str, at: int, what: str) -> None:
        self.totals[campaign][what] += 1
        days, day = self.days.setdefault(campaign, {}), at // DAY_MS
        days.setdefault(day, Counter())[what] += 1
        while len(days) > DAYS:
            del days[min(days)]
