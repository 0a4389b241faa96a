"""The effect of a campaign read off its holdout: by intention to treat, with an interval for any number of looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from . import sample_size
from .difference import Evidence, Interval
from .first_decisions import Rows

Verdict = Literal["works", "harms", "no effect", "too early", "unclear", "no holdout"]


class Arm(NamedTuple):
    """Persons of one arm, and how many of them reached the goal."""

    persons: int
    converted: int

    @property
    def rate(self) -> float | None:
        """Share that reached the goal; None without persons."""
        return self.converted / self.persons if self.persons else None


class Effect(NamedTuple):
    """A reading.

    Parameters
    ----------
    treated, holdout
        The arms, by intention to treat.
    difference
        Rate of the treated minus rate of the withheld; None where an arm is empty.
    interval
        All differences that the data do not rule out.
    verdict
        ``works`` / ``harms``: the interval is above / below 0. ``no effect``: an effect of the assumed size is ruled out.
        ``too early``: fewer persons than that size takes. ``unclear``: as many, and neither shown nor ruled out.
        ``no holdout``: all or none are treated, so there is nothing to compare with.
    assumed
        The effect that the verdict was about: mean of what the campaign assumes, or as asked for.
    needed
        Persons after which an effect of the assumed size would have shown with the power asked for; None where none suffices.
    open, excluded
        As in ``Rows``.
    """

    treated: Arm
    holdout: Arm
    difference: float | None
    interval: Interval
    verdict: Verdict
    assumed: float
    needed: int | None
    open: int
    excluded: Mapping[str, int]

    @property
    def missing(self) -> int:
        """Persons still missing until ``needed``."""
        return max(0, (self.needed or 0) - self.treated.persons - self.holdout.persons)


def evidence(rows: Rows) -> Evidence:
    """What the rows say about each difference; persons who could only have been in one arm say nothing and are left out."""
    drawn = [(first, converted) for first, converted in zip(*rows[:2], strict=True) if 0 < first.share < 1]
    return Evidence(
        np.array([first.treated for first, _ in drawn], dtype=np.bool_),
        np.array([converted for _, converted in drawn], dtype=np.bool_),
        np.array([first.share for first, _ in drawn], dtype=np.float64),
    )


def read(rows: Rows, alpha: float = 0.05, assumed: float | None = None, power: float = 0.8) -> Effect:
    """Read the effect off the rows of a campaign.

    Parameters
    ----------
    alpha
        Chance that the true effect is outside of the interval at any of all looks.
    assumed
        An effect to look for; None takes what the campaign assumes.
    power
        Chance with which it should show.

    >>> read(Rows((), (), 3, {})).verdict
    'too early'
    """
    drawn = [(first, hit) for first, hit in zip(rows.persons, rows.converted, strict=True) if 0 < first.share < 1]
    treated, holdout = (
        Arm(sum(first.treated is arm for first, _ in drawn), sum(first.treated is arm and hit for first, hit in drawn))
        for arm in (True, False)
    )
    n = len(drawn)
    if assumed is None:
        assumed = sum(first.effect for first, _ in drawn) / n if n else 0.0
    interval = evidence(rows).interval(alpha)
    difference = treated.rate - holdout.rate if treated.rate is not None and holdout.rate is not None else None
    share = sum(first.share for first, _ in drawn) / n if n else 0.0
    common = (treated.converted + holdout.converted + 0.5) / (n + 1)
    plan = sample_size.anytime(common, assumed, 1 - share, alpha, power)
    needed = plan.persons if plan else None
    verdict = _verdict(interval, assumed, needed, n, only_one_arm=bool(rows.persons) and not drawn)
    return Effect(treated, holdout, difference, interval, verdict, assumed, needed, rows.open, rows.excluded)


def _verdict(interval: Interval, assumed: float, needed: int | None, n: int, only_one_arm: bool) -> Verdict:
    if only_one_arm:
        return "no holdout"
    if interval.low > 0:
        return "works"
    if interval.high < 0:
        return "harms"
    if interval.high < assumed:
        return "no effect"
    return "unclear" if needed is not None and n >= needed else "too early"
