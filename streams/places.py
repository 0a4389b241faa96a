"""How far a raw partition has been taken in, as the store knows it: beside what its group has committed.

A broker that was killed may come back with older offsets of a group, or none, without an error (``docs/decisions.md``).
Events taken in again would count again, so an intake never starts before a place that it, or one before it, has passed.
"""

from __future__ import annotations

import asyncio

import structlog
from redis.exceptions import RedisError

from .store import Store

log = structlog.get_logger(__name__)

SETTLE_S = 1.0


class Place:
    """Where one raw partition is.

    The store is told in a task of its own, the latest only: intake waits neither for it nor while it is away. A worker that
    dies before it was told leaves a place that is older by a moment, which matters only where the broker forgets as well.

    Parameters
    ----------
    source
        Names partition and topic, so that a topic made anew under the same name is another.
    """

    def __init__(self, store: Store, source: str) -> None:
        self._store = store
        self.source = source
        self._passed = self._told = 0
        self._telling: asyncio.Task[None] | None = None

    async def last(self) -> int:
        """The offset before which everything is known to be taken in; 0 where nothing is."""
        self._told = await self._store.place(self.source)
        return max(self._passed, self._told)

    def passed(self, offset: int) -> None:
        """What lies before ``offset`` has been taken in, and that is confirmed."""
        self._passed = max(self._passed, offset)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell(), name=f"place of {self.source}")

    async def _tell(self) -> None:
        try:
            while self._told < (latest := self._passed):
                await self._store.passed(self.source, latest)
                self._told = latest
        except (RedisError, OSError) as error:
            log.debug("place not told", source=self.source, because=str(error))  # the next batch tries again

    async def settled(self) -> None:
        """Wait until the store is told, for a moment at most."""
        if self._telling is not None:
            await asyncio.wait({self._telling}, timeout=SETTLE_S)
