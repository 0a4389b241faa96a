"""Two runs compared customer by customer, in memory that does not grow with their decisions."""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from typing import IO

import msgspec

from . import run_folder
from .difference import Difference, Side, Told
from .differences import differences
from .matching import NEAR_MS, TOLERANCE
from .run_folder import RunFolder
from .settings_diff import campaigns_of, engine_of, input_of

AT_ONCE = 20_000
"""Decisions held in memory at once, of both runs; what they suppressed comes besides."""
SPOOLED = 4 << 20
_MASK = (1 << 64) - 1


class Diff:
    """The differences between two runs.

    Iterating gives, for each customer with any, its differences in order of time; customers in order of their ids.

    Parameters
    ----------
    a, b
        The folders of two replays.
    only
        Only these customers; empty: all.
    tolerance, near_ms
        As of ``differences``.
    at_once
        Decisions to hold in memory at once.

    Attributes
    ----------
    decisions
        How many each run made, of the customers asked for.
    totals
        (campaign, kind, reason, whether it follows another) -> how many differ so.
    triggers
        How many of the differences concern a trigger.
    customers
        How many customers have any; all three count up while iterating.
    """

    def __init__(
        self,
        a: RunFolder,
        b: RunFolder,
        only: Collection[str] = (),
        tolerance: float = TOLERANCE,
        near_ms: int = NEAR_MS,
        at_once: int = AT_ONCE,
    ) -> None:
        self.runs = (a, b)
        self.sides = (_side("A", a), _side("B", b))
        self._only = frozenset(only)
        self._tolerance, self._near_ms, self._at_once = tolerance, near_ms, at_once
        self.decisions = [0, 0]
        self.totals: Counter[tuple[str, str, str, bool]] = Counter()
        self.triggers = 0
        self.customers = 0

    def __iter__(self) -> Iterator[list[Difference]]:
        counts = self._unlike()
        firsts = _cuts(counts, self._at_once)
        with ExitStack() as stack:
            # Written to disk where they are large, so that any part can be read again whole.
            parts: list[IO[bytes]] = [stack.enter_context(tempfile.SpooledTemporaryFile(SPOOLED)) for _ in firsts]
            for number, run in enumerate(self.runs):
                for mark, lines in ((b"d", run.decisions()), (b"s", run.suppressed())):
                    for head, line in lines:
                        if head.customer in counts and not head.kind:
                            parts[bisect_right(firsts, head.customer) - 1].write(b"%d%b%b\n" % (number, mark, line))
            for part in parts:
                yield from self._compared(part)

    def _unlike(self) -> dict[str, int]:
        """Customers whose decisions are not byte for byte the same, and how many they have."""
        sums: dict[str, int] = {}
        counts: Counter[str] = Counter()
        for number, run in enumerate(self.runs):
            for head, line in run.decisions():
                if head.kind or (self._only and head.customer not in self._only):
                    continue
                self.decisions[number] += 1
                counts[head.customer] += 1
                one = hash(line)
                sums[head.customer] = (sums.get(head.customer, 0) + (-one if number else one)) & _MASK
        return {customer: counts[customer] for customer, total in sums.items() if total}

    def _compared(self, part: IO[bytes]) -> Iterator[list[Difference]]:
        told: dict[str, tuple[Told, Told]] = defaultdict(lambda: (Told([], []), Told([], [])))
        part.seek(0)
        for tagged in part:
            number, line = int(tagged[:1]), tagged[2:]
            if tagged[1:2] == b"d":
                one = run_folder.decision(line)
                told[one.customer][number].decisions.append(one)
            else:
                row = run_folder.suppression(line)
                told[row.customer][number].suppressed.append(row)
        for customer in sorted(told):
            found = differences(*told[customer], self.sides, self._tolerance, self._near_ms)
            if found:
                self.customers += 1
                self.triggers += sum(one.trigger for one in found)
                self.totals.update((one.campaign, one.kind, one.reason, bool(one.follows)) for one in found)
                yield found


def _cuts(counts: dict[str, int], at_once: int) -> list[str]:
    """The first customers of parts that hold about ``at_once`` decisions each.

    >>> _cuts({"u:1": 2, "u:3": 2, "u:2": 2}, 4)
    ['u:1', 'u:3']
    """
    firsts: list[str] = []
    held = at_once
    for customer in sorted(counts):
        if held >= at_once:
            firsts.append(customer)
            held = 0
        held += counts[customer]
    return firsts


def _side(name: str, run: RunFolder) -> Side:
    made = run.provenance
    if made is None:
        return Side(name, None, run.explained)
    engine = msgspec.json.encode(
        (made.code, engine_of(made.configuration), made.options, input_of(run)), order="sorted"
    ).decode()
    return Side(name, campaigns_of(made.configuration), run.explained, engine, not made.options.get("models"))
