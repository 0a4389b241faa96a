"""The errors of what surrounds the engine: brokers, stores, topics and how they are named."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.errors import printable

LOG_WIDTH = 300


class StreamError(Exception):
    """Something outside this process that cannot be used as asked.

    Parameters
    ----------
    where
        The setting, address or topic it is about. Never a credential.
    found
        What was there instead.
    remedy
        What to do about it.

    >>> print(StreamError("events", "4 partitions", "plan for 4: --partitions 4"))
    events: found 4 partitions; plan for 4: --partitions 4
    """

    def __init__(self, where: str, found: str, remedy: str) -> None:
        self.where = where
        self.found = found
        self.remedy = remedy
        super().__init__(f"{where}: found {found}; {remedy}")


class ConnectionSettingsError(StreamError):
    """Settings of a connection that are missing, contradict each other or would leak a password."""


class BrokerError(StreamError):
    """A broker that does not answer, or refuses what it is asked."""


class AccessError(StreamError):
    """A server that is there and does not let us in, or shows a certificate that we do not trust: waiting is no help."""


class RefusedError(StreamError):
    """A partition that must not be opened: its log and its state do not belong together."""


def ends_early(topic: str, partition: int, end: int, beyond: str) -> RefusedError:
    """A topic that lost what was done already, or was made anew under its name.

    >>> print(ends_early("learning", 0, 5, "a model m that learned up to 9"))
    learning[0]: found a topic that ends at 5, a model m that learned up to 9; bring the topic back, or start anew under \
another name: rapport worker --app NAME
    """
    found = f"a topic that ends at {end}, {beyond}"
    return RefusedError(
        f"{topic}[{partition}]",
        found,
        "bring the topic back, or start anew under another name: rapport worker --app NAME",
    )


class TopicError(StreamError):
    """A topic that is missing, or laid out so that the engine must not use it."""


class ServerError(StreamError):
    """A server of our own that cannot be started, or died.

    Parameters
    ----------
    log
        What the server said last, where it said something.

    >>> print(ServerError("valkey", "its end at its start", "read what it said last", ["Out of memory"]))
    valkey: found its end at its start; read what it said last
      Out of memory
    """

    def __init__(self, where: str, found: str, remedy: str, log: Sequence[str] = ()) -> None:
        self.log = tuple(printable(line, LOG_WIDTH) for line in log)
        super().__init__(where, found, "\n  ".join((remedy, *self.log)))


def system_reason(error: OSError | ValueError) -> str:
    """Why a file cannot be read, in words that do not show its path."""
    return error.strerror if isinstance(error, OSError) and error.strerror else "no usable path"
