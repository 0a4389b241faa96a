"""Dead letters of a running installation: reading and counting them. Sending what was refused again: ``redriving.py``.

A dead letter says where a refused record lies and what was wrong with it; the record itself stays in its raw topic for
as long as that keeps it. Reading takes no part in any consumer group and sees committed records only.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from schemas.codec import decode_dead_letter
from schemas.dead_letters import DeadLetter
from schemas.errors import SchemaError

from . import clients, log_reader
from .connection import KafkaConnection
from .errors import TopicError
from .log_reader import Progress
from .topic_plan import DEAD_LETTERS, TopicPlan


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
            if not consumer.partitions_for_topic(self._topic):
                raise TopicError(
                    self._topic,
                    f"no such topic on {self._connection.address}",
                    "create the topics: rapport topics create; or name their --prefix",
                )
            for record in log_reader.whole(consumer, self._topic, self._progress):
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
