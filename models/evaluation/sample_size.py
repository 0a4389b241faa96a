"""How many persons an effect takes to be seen: once at a fixed number, or with a look whenever one likes."""

from __future__ import annotations

from math import ceil, log, sqrt
from statistics import NormalDist
from typing import NamedTuple

from .difference import PERSONS_OF_PRIOR, Interval


class Plan(NamedTuple):
    """Persons of both arms together, and how many of them are withheld."""

    persons: int
    withheld: int

    @property
    def treated(self) -> int:
        """Persons treated."""
        return self.persons - self.withheld


def fixed(rate: float, effect: float, holdout: float, alpha: float = 0.05, power: float = 0.8) -> Plan | None:
    """Persons for one look at the end: n = (z(1 - alpha/2) + z(power))^2 V / effect^2.

    V is the variance of the difference of two means times n, r1 (1 - r1) / (1 - holdout) + r0 (1 - r0) / holdout (Fleiss, Levin
    and Paik, 2003, "Statistical methods for rates and proportions", section 4.3, without continuity correction).

    Parameters
    ----------
    rate
        Share of the withheld that reach the goal.
    effect
        Gain in that share.
    holdout
        Probability of being withheld.
    alpha, power
        Chance of a false alarm (two-sided); chance to see the effect if it is there.

    Returns
    -------
    Plan | None
        None where no number of persons does it: no effect, no holdout, or a rate that cannot grow so.

    >>> fixed(0.1, 0.03, 0.5)
    Plan(persons=3543, withheld=1772)
    """
    if not _possible(rate, effect, holdout):
        return None
    z = NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)
    return _plan(z * z * _variance(rate, effect, holdout) / effect**2, holdout)


def anytime(rate: float, effect: float, holdout: float, alpha: float = 0.05, power: float = 0.8) -> Plan | None:
    """Persons until the interval of ``difference.Evidence`` has left 0 out at some look.

    With m persons in the smaller arm the stake against 0 grows to about x = n effect^2 / (2 V), of which the forecasts, drawn to
    the common rate, catch m / (m + PERSONS_OF_PRIOR); its variance is 2 x. So x - z(power) sqrt(2 x) = log(1 / alpha) + 1, where the 1
    was fitted to seeded streams: over them the power at this number was between .7 and .95 (``tests/laws/test_effect.py``).

    Parameters and result are those of :func:`fixed`.

    >>> anytime(0.1, 0.03, 0.5)
    Plan(persons=6547, withheld=3274)
    """
    if not _possible(rate, effect, holdout):
        return None
    z = NormalDist().inv_cdf(power)
    root = (z * sqrt(2) + sqrt(2 * z * z + 4 * (log(1 / alpha) + 1))) / 2
    caught = root * root * 2 * _variance(rate, effect, holdout) / effect**2
    smaller = min(holdout, 1 - holdout)
    n = (caught + sqrt(caught * caught + 4 * caught * PERSONS_OF_PRIOR / smaller)) / 2
    return _plan(n, holdout)


def wilson(converted: int, persons: int, alpha: float = 0.05) -> Interval:
    """Interval of one rate for one look (Wilson, 1927, "Probable inference, the law of succession, and statistical inference").

    >>> interval = wilson(0, 12)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.0, 0.242)
    """
    if not persons:
        return Interval(0.0, 1.0)
    z2 = NormalDist().inv_cdf(1 - alpha / 2) ** 2
    middle = (converted + z2 / 2) / (persons + z2)
    half = sqrt(z2 * (converted * (persons - converted) / persons + z2 / 4)) / (persons + z2)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def _possible(rate: float, effect: float, holdout: float) -> bool:
    return effect != 0 and 0 < holdout < 1 and 0 <= rate <= 1 and 0 <= rate + effect <= 1


def _variance(rate: float, effect: float, holdout: float) -> float:
    treated = rate + effect
    return treated * (1 - treated) / (1 - holdout) + rate * (1 - rate) / holdout


def _plan(n: float, holdout: float) -> Plan:
    return Plan(ceil(n), ceil(ceil(n) * holdout))
