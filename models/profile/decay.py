"""Counts that halve every half-life: activity at several time scales in constant space."""

from __future__ import annotations

Scales = tuple[float, float, float]

ZERO: Scales = (0.0, 0.0, 0.0)


def factors(elapsed_ms: int, half_lives_ms: tuple[int, int, int]) -> Scales:
    """What remains of a count after ``elapsed_ms`` (0 or more), by half-life.

    >>> factors(10, (10, 20, 5))
    (0.5, 0.7071067811865476, 0.25)
    """
    a, b, c = half_lives_ms
    return (0.5 ** (elapsed_ms / a), 0.5 ** (elapsed_ms / b), 0.5 ** (elapsed_ms / c))


def times(counts: Scales, by: Scales) -> Scales:
    """Element by element product."""
    return (counts[0] * by[0], counts[1] * by[1], counts[2] * by[2])


def plus(counts: Scales, by: Scales) -> Scales:
    """Element by element sum."""
    return (counts[0] + by[0], counts[1] + by[1], counts[2] + by[2])


def merged(counts: Scales, at: int, other: Scales, other_at: int, half_lives_ms: tuple[int, int, int]) -> Scales:
    """Sum of two counts at the later of their two times.

    >>> merged((1.0, 1.0, 1.0), 0, (0.0, 0.0, 0.0), 10, (10, 10, 10))
    (0.5, 0.5, 0.5)
    """
    if at < other_at:
        counts = times(counts, factors(other_at - at, half_lives_ms))
    elif other_at < at:
        other = times(other, factors(at - other_at, half_lives_ms))
    return plus(counts, other)
