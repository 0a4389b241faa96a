"""Dead letters of a running installation: reading them, finding the records they speak of, sending those again.

A dead letter says where a refused record lies and what was wrong with it; the record itself stays in its raw topic for
as long as that keeps it. Reading takes no part in any consumer group and sees committed records only.

A record that is sent again goes back to its partition byte for byte, with its key, headers and timestamp, and with two
headers more: ``rapport-redriven``, its first origin, from which ids are derived, so that sending it twice counts once;
and ``rapport-arrived``, when it first arrived, for raw topics get their timestamps from the broker.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kafka import TopicPartition  # type: ignore[import-untyped]  # it ships no types

from schemas.codec import decode_dead_letter
from schemas.dead_letters import DeadLetter
from schemas.errors import SchemaError

from . import clients
from .connection import KafkaConnection
from .errors import BrokerError, TopicError
from .topic_plan import DEAD_LETTERS, TopicPlan

REDRIVEN = "rapport-redriven"
ARRIVED = "rapport-arrived"

POLL_MS = 500
AT_ONCE = 500
NEAR = 1000
"""Offsets that are rather read past than jumped over."""

Progress = Callable[[int, int], None]
"""Called with how many are done, and of how many."""

_ORIGIN = re.compile(r"([A-Za-z0-9._-]{1,249})\[([0-9]{1,9})\]@([0-9]{1,18})", re.ASCII)


class Origin(NamedTuple):
    """Where a record lies in the log.

    >>> str(Origin("clickstream", 0, 7))
    'clickstream[0]@7'
    """

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


def origin(text: str) -> Origin | None:
    """An origin from its text; None for one that is not of the log, such as a line of a file.

    >>> origin("clickstream[0]@7"), origin("shop.jsonl:7")
    (Origin(topic='clickstream', partition=0, offset=7), None)
    """
    found = _ORIGIN.fullmatch(text)
    return Origin(found[1], int(found[2]), int(found[3])) if found else None


@dataclass(frozen=True)
class Wanted:
    """Which dead letters are meant; by default all.

    Parameters
    ----------
    reasons, origins
        Empty for any.
    since
        The earliest arrival, milliseconds UTC.
    """

    reasons: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    since: int = 0

    def takes(self, letter: DeadLetter) -> bool:
        """Whether this one is meant."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.origins or letter.origin in self.origins)
            and letter.received_at >= self.since
        )


class Letters:
    """The dead letters of an installation up to this moment, in their order.

    Parameters
    ----------
    progress
        Called with the records read.

    Attributes
    ----------
    unreadable
        Records of the topic that are no dead letters, so far.

    Raises
    ------
    TopicError
        While it is read: where there is no such topic.
    BrokerError
        While it is read: where no broker answers, or it stops answering.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        plan: TopicPlan,
        wanted: Wanted | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.unreadable = 0
        self._connection = connection
        self._topic = plan.name(DEAD_LETTERS)
        self._wanted = wanted or Wanted()
        self._progress = progress

    def __iter__(self) -> Iterator[DeadLetter]:
        with clients.reader(self._connection) as consumer:
            numbers = consumer.partitions_for_topic(self._topic)
            if not numbers:
                raise TopicError(
                    self._topic,
                    f"no such topic on {self._connection.address}",
                    "create the topics: rapport topics create; or name their --prefix",
                )
            for record in _all(consumer, [TopicPartition(self._topic, n) for n in sorted(numbers)], self._progress):
                try:
                    letter = decode_dead_letter(record.value or b"")
                except SchemaError:
                    self.unreadable += 1
                    continue
                if self._wanted.takes(letter):
                    yield letter


@dataclass
class Tally:
    """Dead letters of one reason: how many, and when the first and the last arrived (milliseconds UTC)."""

    count: int = 0
    first: int = 0
    last: int = 0
    remedy: str = ""

    def add(self, letter: DeadLetter) -> None:
        """Count one more."""
        at = letter.received_at
        self.first = min(self.first, at) if self.count else at
        if at >= self.last:
            self.last, self.remedy = at, letter.remedy
        self.count += 1


@dataclass(frozen=True)
class Summary:
    """Dead letters by reason, the most frequent first; and the latest of them."""

    tallies: Mapping[str, Tally]
    latest: tuple[DeadLetter, ...]

    @property
    def count(self) -> int:
        """All of them."""
        return sum(tally.count for tally in self.tallies.values())


def summary(letters: Iterable[DeadLetter], latest: int = 10) -> Summary:
    """Count letters by reason, and keep the ``latest`` that were written last."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    last: deque[DeadLetter] = deque(maxlen=latest)
    for letter in letters:
        tallies[letter.reason].add(letter)
        last.append(letter)
    ranked = sorted(tallies.items(), key=lambda item: (-item[1].count, item[0]))
    return Summary(dict(ranked), tuple(last))


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


def content(connection: KafkaConnection, letter: DeadLetter, plan: TopicPlan) -> Any | None:
    """The record that a letter speaks of, as the consumer gives it; None where it is gone or was never in the log."""
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
    gone
        No longer in their topics.
    """

    sent: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    gone: int = 0


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
    done = Redriven()
    waiting: deque[Any] = deque()
    with clients.reader(connection) as consumer, clients.sender(connection) as producer:
        for record in _refused(consumer, letters):
            waiting.append(
                producer.send(
                    record.topic,
                    record.value,
                    key=record.key,
                    headers=_headers(record),
                    partition=record.partition,
                    timestamp_ms=record.timestamp,
                )
            )
            if len(waiting) >= AT_ONCE:
                _await(waiting, done)
                if progress is not None:
                    progress(sum(done.sent.values()), len(letters))
        _await(waiting, done)
    done.gone = len(letters) - sum(done.sent.values())
    if progress is not None:
        progress(len(letters), len(letters))
    return done


def _await(waiting: deque[Any], done: Redriven) -> None:
    while waiting:
        done.sent[waiting.popleft().get(3 * clients.ANSWER_S).topic] += 1


def _headers(record: Any) -> list[tuple[str, bytes]]:
    """A record's own, and where it comes from; one that was sent again before keeps its first origin."""
    headers = list(record.headers)
    names = {name for name, _ in headers}
    if REDRIVEN not in names:
        headers.append((REDRIVEN, str(Origin(record.topic, record.partition, record.offset)).encode()))
        headers.append((ARRIVED, str(record.timestamp).encode()))
    return headers


def _refused(consumer: Any, letters: Mapping[Origin, DeadLetter]) -> Iterator[Any]:
    """The records of letters that are still there, by partition and offset."""
    by_partition: dict[TopicPartition, list[Origin]] = defaultdict(list)
    for at in sorted(letters):
        by_partition[TopicPartition(at.topic, at.partition)].append(at)
    for partition, origins in by_partition.items():
        # An unknown partition would be waited for.
        if partition.partition not in (consumer.partitions_for_topic(partition.topic) or ()):
            continue
        for record in _at(consumer, partition, [at.offset for at in origins]):
            letter = letters[Origin(record.topic, record.partition, record.offset)]
            if _is_that(record, letter):
                yield record


def _is_that(record: Any, letter: DeadLetter) -> bool:
    """Whether it is the record that was refused: another may lie there after a topic was made anew."""
    arrived = dict(record.headers).get(ARRIVED, str(record.timestamp).encode())
    size = len(record.value or b"")
    return size == letter.size and (not letter.received_at or arrived == str(letter.received_at).encode())


def _at(consumer: Any, partition: TopicPartition, offsets: list[int]) -> Iterator[Any]:
    """The records at ascending offsets of a partition, as far as they exist."""
    consumer.assign([partition])
    start = consumer.beginning_offsets([partition])[partition]
    end = consumer.end_offsets([partition])[partition]
    wanted = deque(offset for offset in offsets if start <= offset < end)
    while wanted:
        consumer.seek(partition, wanted[0])
        for record in _until(consumer, {partition: end}):
            while wanted and wanted[0] < record.offset:
                wanted.popleft()  # a marker, or of a transaction that was given up
            if wanted and wanted[0] == record.offset:
                wanted.popleft()
                yield record
            if not wanted or wanted[0] > record.offset + NEAR:
                break
        else:
            return


def _all(consumer: Any, partitions: list[TopicPartition], progress: Progress | None) -> Iterator[Any]:
    """All committed records of partitions, up to where they end now."""
    consumer.assign(partitions)
    start, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    total = sum(end[partition] - start[partition] for partition in partitions)
    for partition in partitions:
        consumer.seek(partition, start[partition])
    for number, record in enumerate(_until(consumer, end), 1):
        if progress is not None and number % AT_ONCE == 0:
            progress(number, total)
        yield record


def _until(consumer: Any, end: Mapping[TopicPartition, int]) -> Iterator[Any]:
    """What is assigned, from its positions to ``end``; offsets without a record, as markers have, are passed over."""
    heard = time.monotonic()
    left = {partition for partition, last in end.items() if consumer.position(partition) < last}
    while left:
        before = {partition: consumer.position(partition) for partition in left}
        for partition, records in consumer.poll(timeout_ms=POLL_MS, max_records=AT_ONCE).items():
            for record in records:
                if record.offset < end[partition]:
                    yield record
        if any(consumer.position(partition) != before[partition] for partition in left):
            heard = time.monotonic()
        elif time.monotonic() - heard > clients.ANSWER_S:
            names = ", ".join(f"{partition.topic}[{partition.partition}]" for partition in sorted(left))
            raise BrokerError(
                names, f"no record within {clients.ANSWER_S:g} s where some must be", "check the broker, then try again"
            )
        left = {partition for partition in left if consumer.position(partition) < end[partition]}
