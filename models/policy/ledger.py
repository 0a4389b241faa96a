"""What campaigns have spent: the one state of decisions that is not a customer's. Kept per partition."""

from __future__ import annotations

import msgspec

from schemas.base import DAY_MS

from ..errors import SnapshotError


class Ledger:
    """Money spent by campaign and UTC day, in the reporting currency; yesterday and before are forgotten.

    >>> ledger = Ledger()
    >>> ledger.spend("win-back", 0, 2.5)
    >>> ledger.spent("win-back", 5), ledger.spent("win-back", DAY_MS)
    (2.5, 0.0)
    """

    def __init__(self) -> None:
        self._spent: dict[str, tuple[int, float]] = {}

    def spent(self, campaign: str, now: int) -> float:
        """Spent by ``campaign`` on the day of ``now``, or on a later one if the ledger has come so far."""
        day, amount = self._spent.get(campaign, (0, 0.0))
        return amount if day >= now // DAY_MS else 0.0

    def spend(self, campaign: str, now: int, cost: float) -> None:
        """Book ``cost`` on the day of ``now``."""
        day, _ = self._spent.get(campaign, (0, 0.0))
        self._spent[campaign] = (max(day, now // DAY_MS), self.spent(campaign, now) + cost)

    def snapshot(self) -> bytes:
        """The ledger as bytes."""
        return msgspec.msgpack.encode(self._spent)

    def restore(self, data: bytes) -> None:
        """Take over what ``snapshot`` wrote; raises ``SnapshotError`` where the bytes are none."""
        try:
            self._spent = msgspec.msgpack.decode(data, type=dict[str, tuple[int, float]])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SnapshotError(f"{len(data)} bytes that are no ledger of campaigns ({error})") from error
