"""Workload ``zipf``: 10,000 customers with permanent ids, some far busier than others. Pure."""

from __future__ import annotations

from itertools import accumulate
from random import Random

from benchmarks.limits_load import lines

CUSTOMERS = 10_000
EXPONENT = 1.1
SEED = 1


class Zipf:
    """Draws users: the one of rank r with a weight of r to the power of -1.1.

    >>> draw, random = Zipf(), Random(1)
    >>> [draw(random) for _ in range(4)]
    ['z00005', 'z01690', 'z00734', 'z00006']
    """

    def __init__(self, customers: int = CUSTOMERS, exponent: float = EXPONENT) -> None:
        self._names = [f"z{rank:05d}" for rank in range(1, customers + 1)]
        self._weights = list(accumulate(rank**-exponent for rank in range(1, customers + 1)))

    def __call__(self, random: Random) -> str:
        """A user id."""
        return random.choices(self._names, cum_weights=self._weights)[0]


def zipf(count: int) -> list[bytes]:
    """Workload ``zipf``: Segment records over ten days, of 10,000 customers."""
    return list(lines(count, Zipf(), SEED))
