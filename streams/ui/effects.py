"""Treated against held out, read off all decisions in bounded memory; used by one thread at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from models.evaluation import effect
from models.evaluation.effect import Effect
from models.evaluation.first_decisions import FirstDecisions

from .seen import Read

PERSONS = 200_000
"""First decisions that are kept, of all campaigns together."""


class Effects:
    """Collects first decisions and goals, and reads the effects off them.

    Attributes
    ----------
    found
        Campaign -> its effect, as last read.
    full
        Whether there were more first decisions than are kept: effects are then those of the first ``PERSONS``.
    """

    def __init__(self) -> None:
        self._firsts = FirstDecisions()
        self.found: Mapping[str, Effect] = MappingProxyType({})
        self.full = False

    def update(self, reads: Iterable[Read], now: int) -> None:
        """Take in what was read, and read the effects as of ``now``, milliseconds UTC."""
        firsts = self._firsts
        for read in reads:
            for _, decision in read.decisions:
                if decision.until and not self.full:
                    firsts.decided(decision)
            for _, conversion in read.conversions:
                firsts.converted(conversion)
            self.full = self.full or firsts.persons >= PERSONS
        self.found = {name: effect.read(firsts.rows(name, now)) for name in firsts.campaigns()}
