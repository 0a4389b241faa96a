"""Sending refused records again, byte for byte, to where they came from.

A record that is sent again goes back to its partition with its key, headers and timestamp, and with two headers more:
``rapport-redriven``, its first origin, from which ids are derived, so that sending it twice counts once; and
``rapport-arrived``, when it first arrived, for raw topics get their timestamps from the broker.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kafka.errors import (  # type: ignore[import-untyped]  # it ships no types
    InvalidTimestampError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from schemas.dead_letters import DeadLetter

from . import clients, log_reader
from .connection import KafkaConnection
from .log_reader import Origin, Progress, Record
from .topic_plan import TopicPlan

REDRIVEN = "rapport-redriven"
ARRIVED = "rapport-arrived"

# What is wrong with one record only, and must not keep the others from being sent.
_REFUSALS = (InvalidTimestampError, MessageSizeTooLargeError, RecordListTooLargeError)

_ORIGIN = re.compile(r"([A-Za-z0-9._-]{1,249})\[([0-9]{1,9})\]@([0-9]{1,18})", re.ASCII)


def origin(text: str) -> Origin | None:
    """An origin from its text; None for one that is not of the log, such as a line of a file.

    >>> origin("clickstream[0]@7"), origin("shop.jsonl:7")
    (Origin(topic='clickstream', partition=0, offset=7), None)
    """
    found = _ORIGIN.fullmatch(text)
    return Origin(found[1], int(found[2]), int(found[3])) if found else None


@dataclass
class Candidates:
    """Refused records that may be sent again.

    Parameters
    ----------
    letters
        By origin: the last letter of each record.
    elsewhere
        Letters whose origin is no raw topic of this installation.
    """

    letters: dict[Origin, DeadLetter] = field(default_factory=dict)
    elsewhere: int = 0


def candidates(letters: Iterable[DeadLetter], plan: TopicPlan) -> Candidates:
    """The records of letters, each once, in a raw topic of the plan: whatever a letter claims, nothing else is touched."""
    raw = {topic.name for topic in plan.raw()}
    found = Candidates()
    for letter in letters:
        at = origin(letter.origin)
        if at is None or at.topic not in raw:
            found.elsewhere += 1
        else:
            found.letters[at] = letter
    return found


def content(connection: KafkaConnection, letter: DeadLetter, plan: TopicPlan) -> Record | None:
    """The record that a letter speaks of; None where it is gone or was never in the log."""
    found = candidates([letter], plan)
    with clients.reader(connection) as consumer:
        return next(_refused(consumer, found.letters), None)


@dataclass
class Redriven:
    """What sending again came to.

    Parameters
    ----------
    sent
        Acknowledged by the broker, by raw topic.
    refused
        Not taken by the broker, as it takes no record of that size or time any more.
    gone
        No longer in their topics.
    """

    sent: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    gone: int = 0

    @property
    def done(self) -> int:
        """All that were found."""
        return self.sent.total() + self.refused


def redrive(
    connection: KafkaConnection,
    letters: Mapping[Origin, DeadLetter],
    progress: Progress | None = None,
) -> Redriven:
    """Send refused records to their raw topics again; doing so twice is harmless.

    Raises
    ------
    BrokerError
        Where no broker answers, or one does not acknowledge; what was sent until then stays sent.
    """
    result = Redriven()
    waiting: deque[Any] = deque()
    with clients.reader(connection) as consumer, clients.sender(connection) as producer:
        for record in _refused(consumer, letters):
            try:
                waiting.append(_again(producer, record))
            except _REFUSALS:
                result.refused += 1
            if len(waiting) >= log_reader.AT_ONCE:
                _await(waiting, result)
                if progress is not None:
                    progress(result.done, len(letters))
        _await(waiting, result)
    result.gone = len(letters) - result.done
    if progress is not None:
        progress(len(letters), len(letters))
    return result


def _again(producer: Any, record: Record) -> Any:
    return producer.send(
        record.origin.topic,
        # The client writes no record that is empty altogether; an empty value is refused for the same reason.
        b"" if record.value is None and record.key is None else record.value,
        key=record.key,
        headers=_headers(record),
        partition=record.origin.partition,
        timestamp_ms=record.timestamp if record.timestamp >= 0 else None,
    )


def _await(waiting: deque[Any], result: Redriven) -> None:
    while waiting:
        future = waiting.popleft()
        try:
            result.sent[future.get(3 * clients.ANSWER_S).topic] += 1
        except _REFUSALS:
            result.refused += 1


def _headers(record: Record) -> list[tuple[str, bytes]]:
    """A record's own, and where it comes from; one that was sent again before keeps its first origin."""
    headers = [(name, value or b"") for name, value in record.headers]  # the client writes no null
    names = {name for name, _ in headers}
    if REDRIVEN not in names:
        headers.append((REDRIVEN, str(record.origin).encode()))
        headers.append((ARRIVED, str(record.timestamp).encode()))
    return headers


def _refused(consumer: Any, letters: Mapping[Origin, DeadLetter]) -> Iterator[Record]:
    """The records of letters that are still there, by partition and offset."""
    by_partition: dict[tuple[str, int], list[int]] = defaultdict(list)
    for place in sorted(letters):
        by_partition[place.topic, place.partition].append(place.offset)
    for (topic, number), offsets in by_partition.items():
        for record in log_reader.at(consumer, topic, number, offsets):
            if _is_that(record, letters[record.origin]):
                yield record


def _is_that(record: Record, letter: DeadLetter) -> bool:
    """Whether it is the record that was refused: another lies there, and came later, once a topic was made anew."""
    came_before = not letter.received_at or record.timestamp <= letter.received_at
    return came_before and len(record.value or b"") == letter.size
