"""How far each stage is behind: in records, in seconds of event time, and until when it has caught up. No IO."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Stage = Literal["intake", "engine", "learner"]
STAGES: tuple[Stage, ...] = ("intake", "engine", "learner")
WINDOW_S = 30.0
NOBODY = ""
"""The group of a trigger topic that no consumer group reads."""


class Spot(NamedTuple):
    """One stage in one partition of its topic, at one moment.

    Parameters
    ----------
    position
        Offset of the record that it reads next; None where that is not known, or nothing was ever committed.
    start, end
        First offset, and the one behind the last.
    unread
        Records from the position on, the markers of transactions among them; exactly 0 where there is no record. None
        where it is not known.
    oldest, newest
        Event time of the first unread record, and of the last one, milliseconds UTC; None where there is none.
    waiting_ms
        How long the first unread record has been there by the broker's clock; None where senders set the timestamps.
    lost
        Records that retention removed before they were read.
    """

    stage: Stage
    topic: str
    partition: int
    position: int | None
    start: int
    end: int
    unread: int | None
    oldest: int | None = None
    newest: int | None = None
    waiting_ms: int | None = None
    lost: int = 0

    @property
    def behind_ms(self) -> int | None:
        """Event time between the first unread record and the last one, milliseconds; None where it is not known.

        >>> Spot("engine", "events", 0, 5, 0, 9, 4, oldest=1000, newest=61_000).behind_ms
        60000
        """
        if self.unread == 0:
            return 0
        if self.oldest is None or self.newest is None:
            return None
        return max(0, self.newest - self.oldest)


class Expired(NamedTuple):
    """Triggers of one topic that one consumer group has not read.

    Parameters
    ----------
    group
        ``NOBODY`` where no group reads the topic.
    unread
        Records that the group has not read, on all partitions.
    expired
        Those of them that are no longer valid, by campaign.
    more
        Whether there are too many to look at all: ``expired`` is then the least that it can be.
    oldest
        When the first of them was decided, milliseconds UTC; None where there is none.
    """

    group: str
    topic: str
    unread: int
    expired: Mapping[str, int]
    more: bool = False
    oldest: int | None = None

    @property
    def gone(self) -> int:
        """All that are no longer valid."""
        return sum(self.expired.values())


class Look(NamedTuple):
    """All stages at one moment.

    Parameters
    ----------
    at
        Seconds of a clock that only goes forward.
    now
        Milliseconds UTC: the wall's clock, or while history is played the time that the log has come to.
    notes
        What could not be seen, and what to do about it.
    """

    at: float
    now: int
    spots: tuple[Spot, ...]
    triggers: tuple[Expired, ...] = ()
    notes: tuple[str, ...] = ()


class Pace(NamedTuple):
    """Records a second that come in, and that are done."""

    arrives: float
    done: float

    def catches_up_s(self, unread: int) -> float | None:
        """Seconds until nothing is unread at this pace; None where it does not become less.

        What comes in within a second is no backlog.

        >>> Pace(10.0, 30.0).catches_up_s(100), Pace(10.0, 10.0).catches_up_s(100), Pace(9.0, 9.0).catches_up_s(0)
        (5.0, None, 0.0)
        """
        if unread <= self.arrives:
            return 0.0
        gain = self.done - self.arrives
        return unread / gain if gain > 0 else None


@dataclass
class Course:
    """Looks one after the other, and the pace within the last ``window_s`` seconds.

    >>> def look(at, position, end):
    ...     return Look(at, 0, (Spot("engine", "events", 0, position, 0, end, end - position),))
    >>> course = Course()
    >>> course.add(look(0.0, 0, 100)); course.add(look(2.0, 60, 120))
    >>> course.pace(course.last.spots[0])
    Pace(arrives=10.0, done=30.0)
    """

    window_s: float = WINDOW_S
    _looks: deque[Look] = field(default_factory=deque)

    def add(self, look: Look) -> None:
        """One more, later than the ones before."""
        self._looks.append(look)
        while len(self._looks) > 2 and self._looks[1].at <= look.at - self.window_s:
            self._looks.popleft()

    @property
    def last(self) -> Look:
        """The latest."""
        return self._looks[-1]

    def pace(self, spot: Spot) -> Pace | None:
        """Of a stage in a partition; None before there are two looks at it."""
        first = next((one for one in self._looks[0].spots if one[:3] == spot[:3]), None)
        seconds = self._looks[-1].at - self._looks[0].at
        if first is None or seconds <= 0:
            return None
        # where nothing was ever committed, reading begins at the first record
        before = first.start if first.position is None else first.position
        after = spot.start if spot.position is None else spot.position
        return Pace(max(0, spot.end - first.end) / seconds, max(0, after - before) / seconds)

    def catches_up_s(self, spot: Spot) -> float | None:
        """Seconds until a stage has caught up in a partition; None where it does not, or that is not known."""
        if not spot.unread:
            return 0.0 if spot.unread == 0 else None
        pace = self.pace(spot)
        return None if pace is None else pace.catches_up_s(spot.unread)


class Total(NamedTuple):
    """A topic's partitions together: sums of records and paces, the worst of times.

    Parameters
    ----------
    unread, behind_ms, waiting_ms
        As of ``Spot``; None where no partition tells it.
    catches_up_s
        When the last of them has caught up, seconds; None where one does not, or nothing is known of one.
    """

    stage: Stage
    topic: str
    partitions: int
    unread: int | None
    lost: int
    behind_ms: int | None
    waiting_ms: int | None
    pace: Pace | None
    catches_up_s: float | None


def totals(course: Course) -> list[Total]:
    """By stage and topic, in the order of the stages."""
    groups: dict[tuple[Stage, str], list[Spot]] = {}
    for spot in course.last.spots:
        groups.setdefault((spot.stage, spot.topic), []).append(spot)
    return [_total(stage, topic, spots, course) for (stage, topic), spots in groups.items()]


def _total(stage: Stage, topic: str, spots: list[Spot], course: Course) -> Total:
    known = [pace for spot in spots if (pace := course.pace(spot)) is not None]
    unread = [spot.unread for spot in spots if spot.unread is not None]
    ends = [end for spot in spots if (end := course.catches_up_s(spot)) is not None]
    return Total(
        stage,
        topic,
        len(spots),
        sum(unread) if unread else None,
        sum(spot.lost for spot in spots),
        _most(spot.behind_ms for spot in spots),
        _most(spot.waiting_ms for spot in spots),
        Pace(sum(pace.arrives for pace in known), sum(pace.done for pace in known)) if known else None,
        max(ends) if len(ends) == len(spots) else None,
    )


def _most(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


class Limits(NamedTuple):
    """What is too much; None for no bound.

    Parameters
    ----------
    events
        Records of one topic that are not done.
    seconds
        Of event time behind, or of waiting, in any partition.
    expired
        Triggers that were no longer valid before a subscriber read them.
    """

    events: int | None = None
    seconds: float | None = None
    expired: int | None = None


def passed(all_: Collection[Total], triggers: Iterable[Expired], limits: Limits) -> list[str]:
    """Which bounds are passed, in words.

    >>> total = Total("engine", "events", 1, 70, 0, 90_000, None, None, None)
    >>> passed([total], [], Limits(events=50, seconds=100))
    ['engine: 70 records of events are not done, more than 50']
    """
    said = []
    for one in all_:
        if limits.events is not None and one.unread is not None and one.unread > limits.events:
            said.append(f"{one.stage}: {one.unread:,} records of {one.topic} are not done, more than {limits.events:,}")
        seconds = max(one.behind_ms or 0, one.waiting_ms or 0) / 1000
        if limits.seconds is not None and seconds > limits.seconds:
            said.append(f"{one.stage}: {seconds:,.0f} s behind in {one.topic}, more than {limits.seconds:g}")
    count = sum(one.gone for one in triggers)
    if limits.expired is not None and count > limits.expired:
        said.append(f"{count:,} triggers expired before they were read, more than {limits.expired:,}")
    return said
