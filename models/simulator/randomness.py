"""Randomness that is derived, never drawn: a value is a hash of what it is for.

Because every uniform depends only on the seed, the person, the purpose and a counter, an intervention on one person changes no
draw of another, and the same person meets the same luck with and without a message: common random numbers.

References: Steele, Lea, Flood (2014), "Fast splittable pseudorandom number generators" (the splitmix64 finaliser);
Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3" (counter-based streams).
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt

_MASK = 0xFFFFFFFFFFFFFFFF
_GOLDEN = 0x9E3779B97F4A7C15
_M1 = 0xBF58476D1CE4E5B9
_M2 = 0x94D049BB133111EB
_TO_UNIT = 2.0**-53

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]


def derive(key: int, *parts: int) -> int:
    """A 64-bit key derived from `key` and whole numbers, each below 2**63.

    >>> derive(1, 2, 3) == derive(1, 2, 3), derive(1, 2, 3) == derive(1, 3, 2)
    (True, False)
    """
    for part in parts:
        key = (key + _GOLDEN * (part + 1)) & _MASK
        key = ((key ^ (key >> 30)) * _M1) & _MASK
        key = ((key ^ (key >> 27)) * _M2) & _MASK
        key ^= key >> 31
    return key


def derive_text(key: int, text: str) -> int:
    """A 64-bit key derived from `key` and a text.

    >>> derive_text(1, "a") == derive_text(1, "b")
    False
    """
    digest = blake2b(text.encode(), digest_size=8, key=key.to_bytes(8, "big")).digest()
    return int.from_bytes(digest, "big")


def uniform(key: int, *parts: int) -> float:
    """A number in [0, 1) derived from `key` and whole numbers.

    >>> 0.0 <= uniform(7, 1) < 1.0
    True
    """
    return (derive(key, *parts) >> 11) * _TO_UNIT


def derive_many(keys: Words, part: int) -> Words:
    """`derive(key, part)` for each of many keys, shape (n,).

    >>> int(derive_many(np.array([5], dtype=np.uint64), 9)[0]) == derive(5, 9)
    True
    """
    mixed = keys + np.uint64((_GOLDEN * (part + 1)) & _MASK)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_M1)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_M2)
    return mixed ^ (mixed >> np.uint64(31))


def uniform_many(keys: Words, *parts: int) -> Floats:
    """`uniform(key, *parts)` for each of many keys, shape (n,)."""
    for part in parts:
        keys = derive_many(keys, part)
    return (keys >> np.uint64(11)).astype(np.float64) * _TO_UNIT


def poisson_many(draws: Floats, means: Floats) -> Ints:
    """Poisson counts by inversion, so that a higher mean never gives a lower count for the same draw.

    >>> poisson_many(np.array([0.2, 0.95]), np.array([1.0, 1.0])).tolist()
    [0, 3]
    """
    term = np.exp(-means)
    cumulated = term.copy()
    counts = np.zeros(len(draws), dtype=np.int64)
    for step in range(1, 1000):
        above = draws >= cumulated
        if not above.any():
            break
        counts[above] = step
        term = term * means / step
        cumulated += term
        if step > means.max(initial=0.0) and term.max(initial=0.0) < 1e-15:
            break
    return counts
