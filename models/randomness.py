"""Randomness is derived, never drawn: the same seed, subject and purpose give the same number for ever."""

from __future__ import annotations

from hashlib import blake2b

_SCALE = float(1 << 53)


def uniform(seed: int, subject: str, purpose: str) -> float:
    """A number in [0, 1), derived by blake2b from what it is for.

    Parameters
    ----------
    seed
        The run's seed.
    subject
        What it is drawn for: a decision's id, or a person and campaign.
    purpose
        Keeps draws for different ends independent.

    >>> uniform(1, "u:7|win-back", "holdout") == uniform(1, "u:7|win-back", "holdout")
    True
    >>> 0.0 <= uniform(2, "x", "y") < 1.0
    True
    """
    digest = blake2b(f"{seed}|{purpose}|{subject}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / _SCALE


def hash64(text: str) -> int:
    """A stable 64-bit hash of a text, for dedupe windows.

    >>> hash64("a")
    4681665781835383343
    """
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def derived_id(origin: str, suffix: str) -> str:
    """The id of an event that another led to: legible where it fits into 128 characters, a hash where it does not.

    >>> derived_id("e1", ">u:7"), len(derived_id("e" * 128, ">u:7"))
    ('e1>u:7', 24)
    """
    legible = origin + suffix
    return legible if len(legible) <= 128 else stable_id(origin, suffix)


def stable_id(*parts: object) -> str:
    """A stable 96-bit id in hexadecimal, from the parts that make a thing unique.

    >>> len(stable_id("u:7", "win-back", "e1"))
    24
    """
    return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=12).hexdigest()
