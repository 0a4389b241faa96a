"""Records that a broker without transactions lets a sender write again, told by their place and read once.

A sender is a partition of a topic, and what it writes is a function of that partition: the ``n``-th output of its record
at ``offset`` is the same whoever writes it, and is written after all before it. So a reader needs to keep one place for
each sender; what does not lie behind it is a repeat. A topic made anew is another sender, for its id is another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

from .store import Position

PLACE = "rapport-place"
_SENDER_BYTES = 8


def sender(topic: str, partition: int, topic_id: str) -> str:
    """A short name for a partition of a topic; empty where the broker tells no id of the topic.

    >>> sender("clickstream", 0, "01a20e9d-679b-77b2-827d-c8d32b3a1118")
    '481ba4f4d26e367a'
    >>> sender("clickstream", 0, "")
    ''
    """
    if not topic_id:
        return ""
    return blake2b(f"{topic} {partition} {topic_id}".encode(), digest_size=_SENDER_BYTES).hexdigest()


def place(sender: str, position: Position) -> tuple[str, bytes]:
    """The header that tells a record's place.

    >>> place("6e17", Position(12, 1))
    ('rapport-place', b'6e17,12,1')
    """
    return PLACE, f"{sender},{position.offset},{position.n}".encode()


class Repeats:
    """How far each sender has been read in one partition.

    Parameters
    ----------
    seen
        By sender, the last place read.

    >>> repeats = Repeats()
    >>> headers = [place("6e17", Position(12, 1))]
    >>> repeats.known(headers)
    False
    >>> repeats.read(headers)
    >>> repeats.known(headers), repeats.known([place("6e17", Position(12, 2))]), repeats.known([])
    (True, False, False)
    """

    def __init__(self, seen: Mapping[str, tuple[int, int]] | None = None) -> None:
        self.seen: dict[str, tuple[int, int]] = dict(seen or {})

    def known(self, headers: Iterable[tuple[str, bytes | None]]) -> bool:
        """Whether the record with these headers was read before."""
        found = _read(headers) if headers else None
        return found is not None and found[1] <= self.seen.get(found[0], (-1, -1))

    def read(self, headers: Iterable[tuple[str, bytes | None]]) -> None:
        """The record with these headers is read."""
        found = _read(headers) if headers else None
        if found is not None:
            self.seen[found[0]] = found[1]


def _read(headers: Iterable[tuple[str, bytes | None]]) -> tuple[str, tuple[int, int]] | None:
    for name, value in headers:
        if name == PLACE and value is not None:
            who, offset, n = value.decode().split(",")
            return who, (int(offset), int(n))
    return None
