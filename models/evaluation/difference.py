"""An interval for the difference of two rates that holds however often one looks.

Persons come one after the other, each treated with a known probability p. For a difference d, every person's outcome is a bet
against "the rates differ by d": with forecasts q1, q0 of the two rates, made from the persons before, the stake is multiplied
by q(y) / t(y), where (t1, t0) with t1 - t0 = d is nearest to the forecasts in p KL(q1 || t1) + (1 - p) KL(q0 || t0). By theorem 1
of Grünwald, de Heide and Koolen (2024, "Safe testing", JRSS B 86) this ratio has mean at most 1 if the rates do differ by d: the
set of distributions with that difference is convex. So the product is a non-negative supermartingale, and by Ville's inequality it
reaches 1 / alpha at any time with probability at most alpha. The interval holds all d that it has not reached. For two arms of
Bernoulli data: Turner and Grünwald (2023, "Exact anytime-valid confidence intervals for contingency tables and beyond",
Statistics and Probability Letters 198). The ratio equals 1 + b (x - d) for some b and
x = t1 - t0 + A (y - t1) / p - (1 - A) (y - t0) / (1 - p): the bet of Waudby-Smith and Ramdas (2024, "Estimating means of
bounded random variables by betting", JRSS B 86, section 4) on a score whose mean is the person's own effect, whatever the rates
are and however they drift. Only randomisation is used; no large sample is.
"""

from __future__ import annotations

from math import log
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

PERSONS_OF_PRIOR = 30.0  # forecasts of both rates start from the common rate, with the weight of so many persons
GROWTH = 1.02  # forecasts are made anew when there are so many times the persons
HALVINGS = 50
WIDEST = 1 - 1e-9
POINTS, ROUNDS = 33, 4


class Interval(NamedTuple):
    """A closed interval."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether the value lies in it."""
        return self.low <= value <= self.high


class Evidence:
    """What persons in order say against each difference of rates, treated minus withheld.

    Parameters
    ----------
    treated
        By person: whether it was treated.
    converted
        By person: whether it reached the goal.
    share
        By person: the probability with which it was treated, above 0 and below 1.

    >>> person = np.arange(400)
    >>> evidence = Evidence(person % 2 == 0, person % 4 == 0, np.full(400, 0.5))
    >>> interval = evidence.interval(0.05)
    >>> interval.holds(0.5), interval.holds(0.0)
    (True, False)
    """

    def __init__(self, treated: Bools, converted: Bools, share: Floats) -> None:
        starts = _segments(share)
        self._cell = np.where(treated, 0, 2) + np.where(converted, 0, 1)
        self._segment = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(share))))
        self._counts = np.zeros((4, len(starts)))
        np.add.at(self._counts, (self._cell, self._segment), 1.0)
        before = np.cumsum(self._counts, axis=1) - self._counts
        self._share = share[starts]
        self._one, self._zero = _forecasts(before)
        one, zero = _forecasts(self._counts.sum(axis=1))
        self._centre = float(one - zero)

    def log_against(self, differences: Floats) -> Floats:
        """Log of the stake against each difference (-1 to 1): above log(1 / alpha) it is ruled out at alpha, for good."""
        against: Floats = (self._counts[:, :, None] * self._log_ratios(differences)).sum(axis=(0, 1))
        return against

    def log_after_each(self, difference: float) -> Floats:
        """Log of the stake against one difference after each person."""
        ratios = self._log_ratios(np.array([difference]))[:, :, 0]
        after: Floats = np.cumsum(ratios[self._cell, self._segment])
        return after

    def _log_ratios(self, differences: Floats) -> Floats:
        """By cell (treated with and without the goal, withheld with and without), segment and difference."""
        d = np.clip(np.asarray(differences, dtype=np.float64), -WIDEST, WIDEST)
        one, zero, share = self._one[:, None], self._zero[:, None], self._share[:, None]
        t1, t0 = nearest(one, zero, share, d[None, :])
        ratios: Floats = np.log(np.stack([one / t1, (1 - one) / (1 - t1), zero / t0, (1 - zero) / (1 - t0)]))
        return ratios

    def interval(self, alpha: float) -> Interval:
        """The differences not ruled out; all of them where every one is, which means that the effect changed over time.

        Parameters
        ----------
        alpha
            Between 0 and 1: the chance that the true difference is outside at any look, all looks together.
        """
        bound = log(1 / alpha)
        centre = self._centre
        if self.log_against(np.array([centre]))[0] >= bound:
            grid = np.linspace(-1, 1, 401)
            against = self.log_against(grid)
            centre = float(grid[against.argmin()])
            if against.min() >= bound:
                return Interval(-1.0, 1.0)
        return Interval(self._edge(centre, -1.0, bound), self._edge(centre, 1.0, bound))

    def _edge(self, inside: float, end: float, bound: float) -> float:
        """The outermost difference towards ``end`` that is not ruled out, rounded outwards."""
        if self.log_against(np.array([end]))[0] < bound:
            return end
        outside = end
        for _ in range(ROUNDS):
            grid = np.linspace(outside, inside, POINTS)
            first = int(np.argmax(self.log_against(grid) < bound))
            outside, inside = float(grid[first - 1]), float(grid[first])
        return outside


def nearest(one: Any, zero: Any, share: Any, difference: Any) -> tuple[Floats, Floats]:
    """The pair of rates with this difference that is nearest to two forecasts, arm by arm weighted by its probability.

    Arrays are broadcast against one another. The divergence is convex along the line, so its derivative is halved in on.

    >>> t1, t0 = nearest(0.2, 0.1, 0.5, 0.1)
    >>> round(float(t1), 9), round(float(t0), 9)
    (0.2, 0.1)
    """
    shape = np.broadcast_shapes(*(np.shape(part) for part in (one, zero, share, difference)))
    low = np.broadcast_to(np.maximum(0.0, -np.asarray(difference)), shape).copy()
    high = np.broadcast_to(np.minimum(1.0, 1.0 - np.asarray(difference)), shape).copy()
    for _ in range(HALVINGS):
        t0 = (low + high) / 2
        t1 = t0 + difference
        # the derivative times t1 (1 - t1) t0 (1 - t0), which is positive
        slope = share * (t1 - one) * t0 * (1 - t0) + (1 - share) * (t0 - zero) * t1 * (1 - t1)
        below = slope < 0
        low = np.where(below, t0, low)
        high = np.where(below, high, t0)
    t0 = (low + high) / 2
    return t0 + difference, t0


def _forecasts(counts: Floats) -> tuple[Any, Any]:
    """Rates of both arms from the counts of the four cells, drawn to the common rate."""
    common = (counts[0] + counts[2] + 0.5) / (counts.sum(axis=0) + 1)
    prior = PERSONS_OF_PRIOR
    return (
        (counts[0] + prior * common) / (counts[0] + counts[1] + prior),
        (counts[2] + prior * common) / (counts[2] + counts[3] + prior),
    )


def _segments(share: Floats) -> npt.NDArray[np.intp]:
    """Where forecasts are made anew: at numbers of persons that depend on nothing else, and where the probability changes."""
    n, starts, at = len(share), [], 0
    while at < n:
        starts.append(at)
        at = max(at + 1, int(at * GROWTH))
    changes = np.flatnonzero(np.diff(share)) + 1
    return np.union1d(np.array(starts, dtype=np.intp), changes).astype(np.intp)
