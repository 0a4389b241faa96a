"""The rhythm of a customer: the mean gap between what comes again and again, such as orders or active days."""

from __future__ import annotations

WEIGHT = 0.3


def observed(mean_days: float, gap_days: float) -> float:
    """The exponentially weighted mean after one more gap; the first gap is the mean.

    >>> observed(0.0, 4.0), observed(4.0, 14.0)
    (4.0, 7.0)
    """
    return mean_days + WEIGHT * (gap_days - mean_days) if mean_days else gap_days


def merged(a_days: float, a_count: int, b_days: float, b_count: int, between_days: float) -> float:
    """The mean gap of one person seen as two; one that is not known yet (0) says nothing about the other.

    Parameters
    ----------
    a_count, b_count
        What each mean weighs.
    between_days
        The gap between the two, which stands where neither mean is known.

    >>> merged(2.0, 1, 5.0, 2, 9.0), merged(0.0, 1, 5.0, 2, 9.0), merged(0.0, 1, 0.0, 1, 9.0)
    (4.0, 5.0, 9.0)
    """
    known = [(days, count) for days, count in ((a_days, a_count), (b_days, b_count)) if days]
    if not known:
        return between_days
    return sum(days * count for days, count in known) / sum(count for _, count in known)
