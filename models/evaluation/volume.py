"""How much campaigns send: by campaign and day, and to one customer."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from statistics import median
from typing import NamedTuple

from schemas.base import DAY_MS
from schemas.decisions import Arm, Decision

WEEK_MS = 7 * DAY_MS


class Daily(NamedTuple):
    """Counts a UTC day: all of them, the mean and the median of the days, and the busiest with its start (milliseconds UTC)."""

    total: int
    mean: float
    median: float
    peak: int
    peak_day: int | None


class Contacts(NamedTuple):
    """Contacts a customer, over those who had any.

    Parameters
    ----------
    customers
        Who were contacted.
    median, p99, most
        Of the number of contacts of each, over the whole time.
    often
        Customers with more than the number asked for in some seven days.
    """

    customers: int
    median: int
    p99: int
    most: int
    often: int


class Volumes:
    """Counts decisions as they come."""

    def __init__(self) -> None:
        self._days: dict[str, dict[Arm, Counter[int]]] = {}
        self._sent: dict[str, list[int]] = {}

    def decided(self, decision: Decision) -> None:
        """Take in a decision of any arm."""
        days = self._days.setdefault(decision.campaign, {}).setdefault(decision.arm, Counter())
        days[decision.issued_at // DAY_MS] += 1
        if decision.arm == "treated":
            self._sent.setdefault(decision.customer, []).append(decision.issued_at)

    def by_day(self, campaign: str, arm: Arm) -> dict[int, int]:
        """Start of each UTC day with a decision (milliseconds) -> decisions, in order."""
        days = self._days.get(campaign, {}).get(arm, Counter())
        return {day * DAY_MS: count for day, count in sorted(days.items())}

    def daily(self, campaigns: Iterable[str], arm: Arm, first_at: int, last_at: int) -> Daily:
        """Counts of some campaigns together over all UTC days from one moment to another (milliseconds).

        >>> Volumes().daily(["c"], "treated", 0, 3 * DAY_MS)
        Daily(total=0, mean=0.0, median=0.0, peak=0, peak_day=None)
        """
        together: Counter[int] = Counter()
        for campaign in campaigns:
            together.update(self._days.get(campaign, {}).get(arm, Counter()))
        counts = [together[day] for day in range(first_at // DAY_MS, last_at // DAY_MS + 1)]
        peak = max(counts)
        peak_day = (first_at // DAY_MS + counts.index(peak)) * DAY_MS if peak else None
        return Daily(sum(counts), sum(counts) / len(counts), float(median(counts)), peak, peak_day)

    def contacts(self, often: int) -> Contacts:
        """Contacts a customer; ``often`` is how many in seven days are still usual."""
        counts = sorted(len(times) for times in self._sent.values())
        if not counts:
            return Contacts(0, 0, 0, 0, 0)
        many = sum(most_within(times, WEEK_MS) > often for times in self._sent.values())
        return Contacts(len(counts), _rank(counts, 0.5), _rank(counts, 0.99), counts[-1], many)


def most_within(times: Iterable[int], width: int) -> int:
    """The most of ``times`` in any window [t, t + width), as caps count them.

    >>> most_within([0, 5, 9, 10], 10)
    3
    """
    ordered = sorted(times)
    return max((bisect_right(ordered, at + width - 1) - start for start, at in enumerate(ordered)), default=0)


def _rank(ordered: list[int], share: float) -> int:
    """The smallest value that at least ``share`` of all do not pass."""
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
