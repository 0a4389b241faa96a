"""What a batch gives out, and its bytes in the store until it is published."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from .store import Position

Headers = tuple[tuple[str, bytes], ...]


class Output(Struct, frozen=True, array_like=True, gc=False):
    """One record on its way to a topic.

    Parameters
    ----------
    offset, n
        Its position: the ``n``-th output of the log's record at ``offset``.
    key
        Decides the partition; empty for none.
    at
        The record's timestamp, milliseconds UTC.
    partition
        Where it must go; -1 where the key decides.
    """

    offset: int
    n: int
    topic: str
    key: bytes
    value: bytes
    at: int
    headers: Headers = ()
    partition: int = -1

    @property
    def position(self) -> Position:
        """Where it stands among the log's outputs."""
        return Position(self.offset, self.n)


class _Outbox(Struct, frozen=True, array_like=True):
    end: tuple[int, int]
    outputs: list[Output]


_decoder = msgspec.msgpack.Decoder(_Outbox)


def encode(end: Position, outputs: list[Output]) -> bytes:
    """An outbox as bytes; empty where there is nothing to publish.

    >>> encode(Position(5), [])
    b''
    >>> decode(encode(Position(5), [Output(4, 0, "offers", b"u:1", b"{}", 0)])).outputs[0].topic
    'offers'
    """
    return msgspec.msgpack.encode(_Outbox((end.offset, end.n), outputs)) if outputs else b""


def decode(data: bytes) -> Pending:
    """What ``encode`` made; an empty outbox has no outputs and ends nowhere."""
    if not data:
        return Pending(None, [])
    held = _decoder.decode(data)
    return Pending(Position(*held.end), held.outputs)


class Pending(Struct, frozen=True):
    """Outputs of a commit that are still to be published, and where its batch ended."""

    end: Position | None
    outputs: list[Output]


def unpublished(outputs: Iterable[Output], committed: Position) -> list[Output]:
    """Those that Kafka has not seen: at or behind its committed position. The others are muted.

    >>> first, second = (Output(4, n, "offers", b"", b"", 0) for n in (0, 1))
    >>> [output.n for output in unpublished([first, second], Position(4, 1))]
    [1]
    """
    return [output for output in outputs if output.position >= committed]
