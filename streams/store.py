"""Where a partition's state lives: what the engine asks of a store, and the store that keeps it in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol, TypeVar

from models.partition import Timer

PURGED = 1000
"""Tombstones that one commit removes at most, those whose time was over first."""

K = TypeVar("K")
V = TypeVar("V")


class Position(NamedTuple):
    """A place in a partition of the log: the next record's offset, and how many outputs of that record are done.

    One record can fire 100,000 timers and be cut in several commits, so an offset alone does not do.

    >>> Position(7, 2) < Position(8, 0)
    True
    """

    offset: int
    n: int = 0


class Meta(NamedTuple):
    """What is stored of a partition besides profiles and timers.

    Parameters
    ----------
    seq
        Commits so far.
    pos
        Processed up to here.
    pub
        Published up to here, as far as the store knows; None before the first time.
    state
        Clock, marks, ledger and adopted model versions, as the engine encoded them.
    topic
        Identity of the log: its topic's id and partition count.
    """

    seq: int
    pos: Position
    pub: Position | None
    state: bytes
    topic: str


class Taken(NamedTuple):
    """A partition taken over: the new token, and what is stored; ``meta`` is None where nothing is."""

    token: str
    meta: Meta | None
    outbox: bytes


class Tombstone(NamedTuple):
    """What is kept of an erased customer, and until when (partition time, milliseconds UTC)."""

    data: bytes
    until: int


class Loaded(NamedTuple):
    """What a batch starts from.

    Parameters
    ----------
    timers
        The first timers due by the time asked for, in order.
    more
        Whether there are further ones due by then.
    next_due
        When the first timer after that time is due, milliseconds UTC; None where there is none.
    profiles
        Those asked for and those of the timers' customers, as far as they exist; for one without, its tombstone where it
        was asked for and exists.
    """

    timers: list[Timer]
    more: bool
    next_due: int | None
    profiles: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Commit:
    """All that one batch changes: stored as a whole or not at all.

    Parameters
    ----------
    token, seq
        The lease it was made under, and the number of commits before it.
    profiles
        By customer; None where it is to be forgotten.
    timers
        (customer, kind) -> due in milliseconds UTC, 0 where the timer went.
    tombstones
        Of erased customers, by what stands for them; None where one goes.
    clock
        Partition time, milliseconds UTC: tombstones kept until then go as well.
    outbox
        The batch's outputs, encoded; empty where there are none.
    examples
        Examples learned inline since ``models`` was last stored: the write-ahead log.
    models
        A snapshot of the inline learner that holds all examples up to this batch; it empties the write-ahead log.
    """

    token: str
    seq: int
    pos: Position
    state: bytes
    topic: str
    profiles: Mapping[str, bytes | None] = field(default_factory=dict)
    timers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    outbox: bytes = b""
    examples: Sequence[bytes] = ()
    models: bytes | None = None
    tombstones: Mapping[bytes, Tombstone | None] = field(default_factory=dict)
    clock: int = 0


class Verdict(Enum):
    """What became of a commit.

    OK: stored. DONE: it had been stored before, only the answer was lost. FENCED: another worker took the partition.
    ROLLED_BACK: the lease is ours, but the store has lost commits; open the partition again.
    """

    OK = "OK"
    DONE = "DONE"
    FENCED = "FENCED"
    ROLLED_BACK = "ROLLED_BACK"


class Snapshot(NamedTuple):
    """What a model had learned before the example at ``offset``; ``version`` counts what it learned from.

    Examples that are only scored leave ``version`` as it is, so that the offset alone tells two snapshots apart.
    """

    version: int
    offset: int
    data: bytes


class Keep(NamedTuple):
    """How many versions of each model a store keeps.

    Parameters
    ----------
    versions
        At most so many ...
    bytes
        ... and so many bytes of them; the latest is kept whatever its size.
    """

    versions: int = 20
    bytes: int = 256 << 20


class Store(Protocol):
    """State of all partitions; one implementation for tests and demonstrations, one in Redis."""

    async def take(self, partition: int) -> Taken:
        """Take a partition over: from now on commits under older tokens are refused."""

    async def load(
        self, partition: int, until: int, limit: int, customers: Sequence[str], erased: Sequence[bytes] = ()
    ) -> Loaded:
        """Timers due by ``until`` (milliseconds UTC), at most ``limit``, and profiles.

        ``erased``: what tombstones of ``customers`` would be stored under, in the same order; empty to look for none.
        """

    async def commit(self, partition: int, commit: Commit) -> Verdict:
        """Store a batch."""

    async def published(self, partition: int, token: str, seq: int, pub: Position) -> None:
        """The outbox of commit ``seq`` - 1 is on its topics: forget it, unless a later commit has replaced it."""

    async def learned(self, partition: int) -> tuple[bytes | None, list[bytes]]:
        """The inline learner's last snapshot and the write-ahead log of examples since."""

    async def take_model(self, name: str) -> str:
        """Take a model over, as ``take`` does a partition: each has one writer."""

    async def save_model(self, token: str, name: str, before: int, snapshot: Snapshot, keep: Keep) -> bool:
        """Store a version; False where another learner has taken over.

        Its predecessor had offset ``before``, -1 where there is none; its own is a later one.

        Asked again, because the answer was lost, it says the same.
        """

    async def model(self, name: str, offset: int | None = None) -> Snapshot | None:
        """The kept version of a model whose next example has that offset, or the latest."""

    async def passed(self, source: str, offset: int) -> None:
        """All of a source before ``offset`` has been taken in; never goes back."""

    async def place(self, source: str) -> int:
        """The highest offset that was said of a source, 0 where none was."""

    async def killed(self) -> bool:
        """Whether the kill switch is on: no trigger may go out."""

    async def kill(self, on: bool) -> None:
        """Turn the kill switch on or off."""

    async def close(self) -> None:
        """Let go of connections."""


@dataclass
class _Kept:
    token: str = ""
    meta: Meta | None = None
    outbox: bytes = b""
    profiles: dict[str, bytes] = field(default_factory=dict)
    timers: dict[tuple[str, str], int] = field(default_factory=dict)
    tombstones: dict[bytes, Tombstone] = field(default_factory=dict)
    examples: list[bytes] = field(default_factory=list)
    models: bytes | None = None


def _change(kept: dict[K, V], changed: Mapping[K, V | None]) -> None:
    for key, value in changed.items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = value


class MemoryStore:
    """A store in this process: gone with it."""

    def __init__(self) -> None:
        self.partitions: dict[int, _Kept] = {}
        self.versions: dict[str, list[Snapshot]] = {}
        self._leases: dict[str, str] = {}
        self._tokens = 0
        self._places: dict[str, int] = {}
        self._killed = False

    def _of(self, partition: int) -> _Kept:
        return self.partitions.setdefault(partition, _Kept())

    def _token(self) -> str:
        self._tokens += 1
        return f"token-{self._tokens}"

    async def take(self, partition: int) -> Taken:
        """Take a partition over."""
        kept = self._of(partition)
        kept.token = self._token()
        return Taken(kept.token, kept.meta, kept.outbox)

    async def load(
        self, partition: int, until: int, limit: int, customers: Sequence[str], erased: Sequence[bytes] = ()
    ) -> Loaded:
        """Timers and profiles of a batch."""
        kept = self._of(partition)
        timers = sorted((due, *key) for key, due in kept.timers.items())
        due = [timer for timer in timers if timer[0] <= until]
        later = [timer[0] for timer in timers if timer[0] > until]
        first = due[:limit]
        wanted = {*customers, *(customer for _, customer, _ in first)}
        profiles = {
            customer: kept.tombstones[name].data
            for customer, name in zip(customers, erased, strict=False)
            if name in kept.tombstones
        }
        profiles |= {customer: kept.profiles[customer] for customer in wanted if customer in kept.profiles}
        return Loaded(first, len(due) > limit, later[0] if later else None, profiles)

    async def commit(self, partition: int, commit: Commit) -> Verdict:
        """Store a batch."""
        kept = self._of(partition)
        if not kept.token or kept.token != commit.token:
            return Verdict.FENCED
        seq = kept.meta.seq if kept.meta else 0
        if seq != commit.seq:
            return Verdict.DONE if seq == commit.seq + 1 else Verdict.ROLLED_BACK
        kept.meta = Meta(seq + 1, commit.pos, kept.meta.pub if kept.meta else None, commit.state, commit.topic)
        _change(kept.profiles, commit.profiles)
        _change(kept.tombstones, commit.tombstones)
        over = sorted((stone.until, name) for name, stone in kept.tombstones.items() if stone.until <= commit.clock)
        for _, name in over[:PURGED]:
            del kept.tombstones[name]
        for key, due in commit.timers.items():
            if due:
                kept.timers[key] = due
            else:
                kept.timers.pop(key, None)
        kept.outbox = commit.outbox
        if commit.models is not None:
            kept.models, kept.examples = commit.models, []
        kept.examples += commit.examples
        return Verdict.OK

    async def published(self, partition: int, token: str, seq: int, pub: Position) -> None:
        """Forget a published outbox."""
        kept = self._of(partition)
        if kept.token == token and kept.meta is not None:
            kept.meta = kept.meta._replace(pub=max(pub, kept.meta.pub or pub))
            if kept.meta.seq == seq:
                kept.outbox = b""

    async def learned(self, partition: int) -> tuple[bytes | None, list[bytes]]:
        """The inline learner's state."""
        kept = self._of(partition)
        return kept.models, list(kept.examples)

    async def take_model(self, name: str) -> str:
        """Take a model over."""
        self._leases[name] = self._token()
        return self._leases[name]

    async def save_model(self, token: str, name: str, before: int, snapshot: Snapshot, keep: Keep) -> bool:
        """Store a version."""
        versions = self.versions.setdefault(name, [])
        if not token or token != self._leases.get(name, ""):
            return False
        if versions and versions[-1] == snapshot:
            return True
        last = versions[-1].offset if versions else -1
        if last != before or snapshot.offset <= last:
            return False
        versions.append(snapshot)
        first, room = len(versions) - 1, keep.bytes - len(snapshot.data)
        while first and len(versions) - first < keep.versions and room >= len(versions[first - 1].data):
            first -= 1
            room -= len(versions[first].data)
        del versions[:first]
        return True

    async def model(self, name: str, offset: int | None = None) -> Snapshot | None:
        """A kept version."""
        versions = self.versions.get(name, [])
        found = [one for one in versions if offset is None or one.offset == offset]
        return found[-1] if found else None

    async def passed(self, source: str, offset: int) -> None:
        """Remember it."""
        self._places[source] = max(offset, await self.place(source))

    async def place(self, source: str) -> int:
        """What was said last."""
        return self._places.get(source, 0)

    async def killed(self) -> bool:
        """The kill switch."""
        return self._killed

    async def kill(self, on: bool) -> None:
        """Turn it."""
        self._killed = on

    async def close(self) -> None:
        """Nothing to let go of."""
