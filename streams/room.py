"""Room for decoded profiles in a worker: its open partitions share it, however many they are."""

from __future__ import annotations

from collections.abc import Hashable


class Room:
    """How many decoded profiles each partition of a worker may keep.

    A decoded profile takes about five times its bytes in the store, such as 11 KB. A bound for each partition would be none
    for the worker, which is given as many partitions as there are.

    Parameters
    ----------
    profiles
        Those of all partitions together.

    >>> room = Room(9)
    >>> room.enter("events/0")
    >>> room.enter("events/1")
    >>> room.share
    4
    >>> room.leave("events/0"), room.leave("events/0"), room.share
    (True, False, 9)
    """

    def __init__(self, profiles: int) -> None:
        self._profiles = profiles
        self._open: set[Hashable] = set()

    @property
    def share(self) -> int:
        """What each may keep now, at least one."""
        return max(1, self._profiles // max(1, len(self._open)))

    def enter(self, partition: Hashable) -> None:
        """A partition is open."""
        self._open.add(partition)

    def leave(self, partition: Hashable) -> bool:
        """It is closed; whether it was open."""
        if partition not in self._open:
            return False
        self._open.remove(partition)
        return True
