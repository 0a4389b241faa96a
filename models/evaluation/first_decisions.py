"""The first decision about each person and campaign, and whether the goal was reached in its window: the rows of an effect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct

from schemas.decisions import Conversion, Decision

ALL = "*"
"""Stands for all campaigns together: the first decision of any of them, against the global holdout."""


class First(Struct, frozen=True, gc=False):
    """What an effect needs of one person's first decision.

    Parameters
    ----------
    at, until
        The attribution window, milliseconds UTC: the same for both arms.
    treated
        False: withheld as holdout.
    share
        Probability of being treated, known before the draw.
    effect
        Gain in P(goal) that the campaign assumes.
    flag
        As in the decision.
    """

    customer: str
    decision: str
    at: int
    until: int
    treated: bool
    share: float
    effect: float
    flag: str


class Rows(NamedTuple):
    """Persons of a campaign at a moment, in the order in which their windows ended.

    Parameters
    ----------
    persons, converted
        Those whose window is over, and whether each reached the goal in it.
    open
        Persons whose window is not over yet.
    excluded
        Persons left out: flag -> how many.
    """

    persons: tuple[First, ...]
    converted: tuple[bool, ...]
    open: int
    excluded: Mapping[str, int]


class FirstDecisions:
    """Collects decisions and conversions, in any order, and gives the rows of each campaign at any moment.

    A person counts once a campaign, by the first decision that passed all gates; later ones depend on what the first did.
    Shadow decisions are left out: nobody was treated. Against the campaign's own holdout, so are persons of the global
    holdout, whom other campaigns do not reach either: what is left is drawn by one coin of known bias.
    """

    def __init__(self) -> None:
        self._first: dict[str, dict[str, First]] = {}
        self._reached: dict[str, int] = {}
        self._shadow: dict[str, set[str]] = {}
        self.goals: dict[str, str] = {}

    @property
    def persons(self) -> int:
        """First decisions held, of all campaigns together."""
        return sum(map(len, self._first.values()))

    def decided(self, decision: Decision) -> None:
        """Take in a decision of any arm."""
        if decision.arm == "shadow":
            self._shadow.setdefault(decision.campaign, set()).add(decision.customer)
            return
        self._note(decision.campaign, _of_campaign(decision))
        if decision.global_holdout:
            self._note(ALL, _of_all(decision))

    def converted(self, conversion: Conversion) -> None:
        """Take in a goal reached."""
        at = self._reached.get(conversion.decision, conversion.occurred_at)
        self._reached[conversion.decision] = min(at, conversion.occurred_at)
        self.goals[conversion.campaign] = conversion.goal

    def _note(self, campaign: str, found: First) -> None:
        firsts = self._first.setdefault(campaign, {})
        known = firsts.get(found.customer)
        if known is None or (found.at, found.decision) < (known.at, known.decision):
            firsts[found.customer] = found

    def campaigns(self) -> list[str]:
        """Campaigns with a decision of any arm, by name; ``ALL`` last."""
        return sorted({*self._first, *self._shadow}, key=lambda name: (name == ALL, name))

    def shadowed(self, campaign: str) -> int:
        """Persons with shadow decisions of a campaign."""
        return len(self._shadow.get(campaign, ()))

    def firsts(self, campaign: str) -> Iterable[First]:
        """Every person's first decision, flagged ones included."""
        return self._first.get(campaign, {}).values()

    def rows(self, campaign: str, at: int) -> Rows:
        """What could be known of a campaign at a moment (milliseconds UTC); nothing later counts."""
        excluded: Counter[str] = Counter()
        over, still_open = [], 0
        for first in self.firsts(campaign):
            if first.at > at:
                continue
            if first.flag:
                excluded[first.flag] += 1
            elif first.until > at:
                still_open += 1
            else:
                over.append(first)
        over.sort(key=lambda first: (first.until, first.at, first.customer))
        reached = self._reached
        converted = tuple(reached.get(first.decision, at + 1) <= at for first in over)
        return Rows(tuple(over), converted, still_open, dict(sorted(excluded.items())))


def _of_campaign(decision: Decision) -> First:
    return _first(decision, decision.arm == "treated", 1 - decision.holdout, decision.flag)


def _of_all(decision: Decision) -> First:
    """Against the global holdout: a campaign's own holdout is part of what it means to be reached by the campaigns."""
    withheld = decision.flag == "global_holdout"
    return _first(decision, not withheld, 1 - decision.global_holdout, "" if withheld else decision.flag)


def _first(decision: Decision, treated: bool, share: float, flag: str) -> First:
    return First(
        decision.customer, decision.id, decision.issued_at, decision.until, treated, share, decision.effect, flag
    )
