"""What a customer leans to: a few categories or channels with decayed weights."""

from __future__ import annotations

from msgspec import Struct

from schemas.base import DAY_MS

HALF_LIFE_MS = 30 * DAY_MS
KEPT_MAX = 8
NAME_MAX = 32


class Affinity(Struct, frozen=True, array_like=True, gc=False):
    """At most 8 names with weights that halve every 30 days; ``at`` is the time they refer to (milliseconds UTC)."""

    at: int = 0
    weights: tuple[tuple[str, float], ...] = ()


EMPTY = Affinity()


def lean(affinity: Affinity, name: str, weight: float, at: int) -> Affinity:
    """Add ``weight`` (over 0) to ``name``; the weakest name makes room where there are more than 8.

    >>> lean(lean(EMPTY, "shoes", 1.0, 0), "hats", 1.0, HALF_LIFE_MS).weights
    (('shoes', 0.5), ('hats', 1.0))
    """
    name = name[:NAME_MAX]
    elapsed = at - affinity.at
    if elapsed >= 0 or not affinity.weights:
        keep, gain, latest = 0.5 ** (elapsed / HALF_LIFE_MS) if elapsed > 0 else 1.0, weight, at
    else:
        keep, gain, latest = 1.0, weight * 0.5 ** (-elapsed / HALF_LIFE_MS), affinity.at
    found = False
    weights = []
    for other, held in affinity.weights:
        if other == name:
            found = True
            weights.append((other, held * keep + gain))
        else:
            weights.append((other, held * keep))
    if not found:
        if len(weights) >= KEPT_MAX:
            weights.remove(min(weights, key=lambda pair: (pair[1], pair[0])))
        weights.append((name, gain))
    return Affinity(latest, tuple(weights))


def strongest(affinity: Affinity) -> tuple[str, float]:
    """The strongest name and its share of all weight; ("", 0.0) where there is none.

    >>> strongest(Affinity(0, (("a", 1.0), ("b", 3.0))))
    ('b', 0.75)
    """
    if not affinity.weights:
        return "", 0.0
    name, weight = max(affinity.weights, key=lambda pair: (pair[1], pair[0]))
    return name, weight / sum(held for _, held in affinity.weights)


def merge(a: Affinity, b: Affinity) -> Affinity:
    """The leanings of one person seen as two."""
    older, newer = (a, b) if a.at <= b.at else (b, a)
    for name, weight in older.weights:
        newer = lean(newer, name, weight, older.at)
    return newer
