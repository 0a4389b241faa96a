"""The state of all partitions in Redis or Valkey."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex
from typing import Any

from redis.asyncio import Redis

from models.partition import Timer

from . import redis_scripts as scripts
from .errors import StreamError
from .store import PURGED, Commit, Keep, Loaded, Meta, Position, Snapshot, Taken, Verdict

LARGEST_VALUE = 500 << 20
"""Bytes; Redis and Valkey take 512 MB by default (proto-max-bulk-len)."""


class StoreError(StreamError):
    """The store answers, but its settings or contents do not allow to work on it."""


def key(app: str, partition: int | str, name: str) -> str:
    """The key of one kind of state of a partition; the part in braces decides the slot.

    >>> key("rapport", 0, "profiles")
    'rapport:{rapport:0}:profiles'
    """
    return f"rapport:{{{app}:{partition}}}:{name}"


class RedisStore:
    """A store in Redis; every step is one script on the keys of one partition, which share a slot.

    Parameters
    ----------
    client
        Connected to Redis or Valkey, with answers as bytes.
    app
        Name of the installation; keys start with ``rapport:{app:partition}:``.
    """

    def __init__(self, client: Redis, app: str = "rapport") -> None:
        self._client = client
        self._app = app
        self._take = client.register_script(scripts.TAKE)
        self._load = client.register_script(scripts.LOAD)
        self._commit = client.register_script(scripts.COMMIT)
        self._published = client.register_script(scripts.PUBLISHED)
        self._snap = client.register_script(scripts.SNAP)

    def key(self, partition: int | str, name: str) -> str:
        """The key of one kind of state of a partition."""
        return key(self._app, partition, name)

    async def check(self) -> list[str]:
        """What in the server's settings can lose state, in words; an eviction policy that does is refused.

        Raises
        ------
        StoreError
            Where the server may evict keys.
        """
        notes = []
        memory: dict[str, Any] = await self._client.info("memory")
        policy = memory.get("maxmemory_policy", "noeviction")
        if memory.get("maxmemory", 0) and policy != "noeviction":
            raise StoreError(
                "the state store", f"maxmemory-policy {policy}", "set maxmemory-policy noeviction: state is no cache"
            )
        persistence: dict[str, Any] = await self._client.info("persistence")
        if not persistence.get("aof_enabled"):
            notes.append("the state store writes no append-only file: what it holds is lost when it restarts")
        return notes

    async def take(self, partition: int) -> Taken:
        """Take a partition over."""
        token = token_hex(12)
        keys = [self.key(partition, name) for name in ("meta", "outbox")]
        (seq, pos, pub, state, topic), outbox = await self._take(keys=keys, args=[token])
        if seq is None:
            return Taken(token, None, b"")
        meta = Meta(int(seq), _position(pos), _position(pub) if pub else None, state, topic.decode())
        return Taken(token, meta, outbox)

    async def load(
        self, partition: int, until: int, limit: int, customers: Sequence[str], erased: Sequence[bytes] = ()
    ) -> Loaded:
        """Timers and profiles of a batch, in one call."""
        keys = [self.key(partition, name) for name in ("timers", "profiles", "tombstones")]
        args: list[Any] = [until, limit, len(customers), *customers, *erased]
        due, later, wanted, found = await self._load(keys=keys, args=args)
        timers: list[Timer] = []
        for member, score in zip(due[::2], due[1::2], strict=True):
            customer, _, kind = member.decode().partition("\0")
            timers.append((int(float(score)), customer, kind))
        profiles = {customer.decode(): data for customer, data in zip(wanted, found, strict=True) if data is not None}
        return Loaded(timers[:limit], len(timers) > limit, int(float(later[1])) if later else None, profiles)

    async def commit(self, partition: int, commit: Commit) -> Verdict:
        """Store a batch: all or nothing."""
        kept = [(due, f"{customer}\0{kind}") for (customer, kind), due in commit.timers.items()]
        removed = [member for due, member in kept if not due]
        lists: list[Any] = []
        forgotten = [customer for customer, data in commit.profiles.items() if data is None]
        for customer, data in commit.profiles.items():
            if data is not None:
                lists += (customer, data)
        for due, member in kept:
            if due:
                lists += (due, member)
        lists += removed
        lists += commit.examples
        lists += forgotten
        stones = [(name, stone) for name, stone in commit.tombstones.items() if stone is not None]
        for name, stone in stones:
            lists += (name, stone.data)
        for name, stone in stones:
            lists += (stone.until, name)
        lists += [name for name, stone in commit.tombstones.items() if stone is None]
        args: list[Any] = [
            commit.token,
            commit.seq,
            _text(commit.pos),
            commit.state,
            commit.topic,
            commit.outbox,
            len(commit.profiles) - len(forgotten),
            len(kept) - len(removed),
            len(removed),
            len(commit.examples),
            _storable("the models", commit.models or b""),
            len(forgotten),
            len(stones),
            len(commit.tombstones) - len(stones),
            commit.clock,
            PURGED,
        ]
        names = ("meta", "outbox", "profiles", "timers", "wal", "models", "tombstones", "kept-until")
        answer: bytes = await self._commit(keys=[self.key(partition, name) for name in names], args=[*args, *lists])
        return Verdict(answer.decode())

    async def published(self, partition: int, token: str, seq: int, pub: Position) -> None:
        """Forget a published outbox."""
        keys = [self.key(partition, name) for name in ("meta", "outbox")]
        await self._published(keys=keys, args=[token, seq, _text(pub)])

    async def learned(self, partition: int) -> tuple[bytes | None, list[bytes]]:
        """The inline learner's state."""
        models: Any = await self._client.get(self.key(partition, "models"))
        examples: Any = await self._client.lrange(self.key(partition, "wal"), 0, -1)
        return models, examples

    async def take_model(self, name: str) -> str:
        """Take a model over."""
        token = token_hex(12)
        await self._client.set(self.key("models", f"lease:{name}"), token)
        return token

    async def save_model(self, token: str, name: str, before: int, snapshot: Snapshot, keep: Keep) -> bool:
        """Store a version."""
        keys = [self.key("models", f"{kind}:{name}") for kind in ("versions", "lease", "data")]
        data = _storable(f"a version of {name}", snapshot.data)
        args: list[Any] = [token, before, snapshot.version, snapshot.offset, data, keep.versions, keep.bytes]
        return bool(await self._snap(keys=keys, args=args))

    async def model(self, name: str, offset: int | None = None) -> Snapshot | None:
        """A kept version."""
        kept: Any = await self._client.lrange(self.key("models", f"versions:{name}"), 0, -1)
        found = [one.split(b",") for one in kept]
        matching = [(int(version), int(at)) for version, at, _ in found if offset is None or int(at) == offset]
        if not matching:
            return None
        version, at = matching[-1]
        data: Any = await self._client.hget(self.key("models", f"data:{name}"), str(at))
        return Snapshot(version, at, data) if data is not None else None  # it may have gone in between

    async def passed(self, source: str, offset: int) -> None:
        """Remember it, where it is higher than what is remembered."""
        await self._client.zadd(self.key("intake", "places"), {source: offset}, gt=True)

    async def place(self, source: str) -> int:
        """The highest offset that was said."""
        found: Any = await self._client.zscore(self.key("intake", "places"), source)
        return int(found) if found is not None else 0

    async def killed(self) -> bool:
        """The kill switch."""
        return bool(await self._client.exists(self.key("control", "kill")))

    async def kill(self, on: bool) -> None:
        """Turn it."""
        key = self.key("control", "kill")
        await (self._client.set(key, "1") if on else self._client.delete(key))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _position(data: bytes) -> Position:
    offset, _, n = data.partition(b",")
    return Position(int(offset), int(n))


def _text(position: Position) -> str:
    return f"{position.offset},{position.n}"


def _storable(what: str, data: bytes) -> bytes:
    """The server would close the connection on a value that is too large, and the worker try for ever."""
    if len(data) > LARGEST_VALUE:
        found = f"{what} of {len(data) >> 20} MB, at most {LARGEST_VALUE >> 20} MB fit into a value"
        raise StoreError("the state store", found, "bound the models (a forest: n_models, max_depth)")
    return data
