"""How the stream is run: one frozen object, passed on explicitly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from models.policy.reading import Settings
from schemas.intake import IntakeOptions
from schemas.routing import RAW_TOPICS

from .store import Keep


@dataclass(frozen=True)
class Limits:
    """Bounds of one commit, so that a batch neither blocks the loop nor outgrows a message.

    Parameters
    ----------
    records, outputs
        Records of the log, and outputs, at most.
    output_bytes
        Bytes of outputs after which a commit is cut.
    seconds
        Stepping time after which a commit is cut.
    timers
        Timers loaded at once.
    profiles
        Decoded profiles kept by a worker; its open partitions share them, and may keep a quarter more. One takes about five
        times its bytes in the store: 11 KB where those are 2 KB, 57 KB where they are 11.5 KB, with every part of it full.
    examples
        Examples in the write-ahead log after which the inline learner is stored.
    """

    records: int = 1_000
    outputs: int = 5_000
    output_bytes: int = 2 * 1024 * 1024
    seconds: float = 0.25
    timers: int = 1_000
    profiles: int = 40_000
    examples: int = 5_000


@dataclass(frozen=True)
class StreamSettings:
    """One installation.

    Parameters
    ----------
    app
        Its name: the consumer group, the prefix of transactional ids and of keys in the store.
    prefix
        Put before every topic's name.
    raw
        The raw topics, without prefix.
    clock
        ``wall``: intake writes the ticks, whenever a partition is drained. ``event``: whoever plays events writes them.
    learning
        ``inline``: examples are learned right after the step; for a log of one partition. ``topic``: the learner learns
        them from the topic ``learning``. ``auto``: by the number of partitions.
    transactions
        False for a broker without them.
    key
        Signs snapshots of models.
    tick_s
        Seconds between ticks, where intake writes them.
    session_s
        Session time-out of the consumer group, seconds.
    keep
        Versions of each model that are kept, and their bytes.
    learn_every, learn_s
        Examples, and seconds, after which the learner publishes a version.
    """

    app: str = "rapport"
    prefix: str = ""
    engine: Settings = field(default_factory=Settings)
    intake: IntakeOptions = field(default_factory=IntakeOptions)
    raw: tuple[str, ...] = RAW_TOPICS
    clock: Literal["wall", "event"] = "wall"
    learning: Literal["auto", "inline", "topic"] = "auto"
    transactions: bool = True
    key: bytes = b""
    limits: Limits = field(default_factory=Limits)
    tick_s: float = 2.0
    session_s: float = 10.0
    keep: Keep = field(default_factory=Keep)
    learn_every: int = 1_000
    learn_s: float = 10.0

    def topic(self, name: str) -> str:
        """A topic's full name."""
        return self.prefix + name

    def inline(self, partitions: int) -> bool:
        """Whether examples are learned right after the step, given the log's partition count."""
        return self.learning == "inline" or (self.learning == "auto" and partitions == 1)
