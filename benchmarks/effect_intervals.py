"""Three intervals for a difference of two rates on seeded streams of persons, with a look after every person.

``fixed``: difference of means, normal, for one look. ``asymptotic``: the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha,
Kennedy and Ramdas (2024, "Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 52, eq. 10),
on augmented inverse-probability scores with running means, rho best for 1,000 persons, from person 100 on. ``ours``:
``models/evaluation/difference.py``.
"""

from __future__ import annotations

from math import log
from typing import Any, NamedTuple

import numpy as np

from models.evaluation.difference import Bools, Evidence, Floats

ALPHA = 0.05
FIRST_LOOK = 100
TUNED_FOR = 1000
PERSONS, STREAMS = 2000, 400
MEASURED = 50  # of the streams, for the width at the end


class Case(NamedTuple):
    """A holdout, the rate of the withheld, and what treatment adds."""

    holdout: float
    rate: float
    effect: float


CASES = (
    Case(0.5, 0.1, 0.0), Case(0.5, 0.1, 0.05), Case(0.1, 0.02, 0.0), Case(0.1, 0.1, 0.0), Case(0.1, 0.1, 0.05),
    Case(0.1, 0.3, 0.0),
)  # fmt: skip


def compare(case: Case, streams: int = STREAMS, persons: int = PERSONS) -> dict[str, Any]:
    """Shares of streams in which each interval misses the truth at some look, and mean widths at the end."""
    random = np.random.default_rng(1)
    names = ("fixed", "asymptotic", "ours")
    missed, widths = dict.fromkeys(names, 0), dict.fromkeys(names, 0.0)
    for number in range(streams):
        treated = random.random(persons) >= case.holdout
        converted = random.random(persons) < case.rate + case.effect * treated
        evidence = Evidence(treated, converted, np.full(persons, 1 - case.holdout))
        missed["ours"] += int(evidence.log_after_each(case.effect).max() >= log(1 / ALPHA))
        if number < MEASURED:
            interval = evidence.interval(ALPHA)
            widths["ours"] += interval.high - interval.low
        for name, (middle, half) in (
            ("fixed", _fixed(treated, converted)),
            ("asymptotic", _asymptotic(treated, converted, 1 - case.holdout)),
        ):
            missed[name] += int((np.abs(middle - case.effect) > half + 1e-12)[FIRST_LOOK:].any())
            if number < MEASURED:
                widths[name] += 2 * half[-1]
    return {
        **case._asdict(),
        "persons": persons,
        "streams": streams,
        **{f"missed, {name}": missed[name] / streams for name in names},
        **{f"width, {name}": round(widths[name] / min(streams, MEASURED), 4) for name in names},
    }


def _fixed(treated: Bools, converted: Bools) -> tuple[Floats, Floats]:
    means, squares = [], []
    for arm in (treated, ~treated):
        n = np.maximum(1, np.cumsum(arm))
        rate = np.cumsum(arm & converted) / n
        means.append(rate)
        squares.append(rate * (1 - rate) / n)
    return means[0] - means[1], 1.959964 * np.sqrt(squares[0] + squares[1])


def _asymptotic(treated: Bools, converted: Bools, share: float) -> tuple[Floats, Floats]:
    n = np.arange(1, len(treated) + 1)
    common = (np.cumsum(converted) + 0.5) / (n + 1)
    before = []
    for arm in (treated, ~treated):
        rate = (np.cumsum(arm & converted) + common) / (np.cumsum(arm) + 1)
        before.append(np.concatenate([[0.5], rate[:-1]]))
    scores = (
        before[0]
        - before[1]
        + treated / share * (converted - before[0])
        - ~treated / (1 - share) * (converted - before[1])
    )
    mean = np.cumsum(scores) / n
    variance = np.maximum(0.0, np.cumsum(scores**2) / n - mean**2)
    rho2 = (-2 * log(ALPHA) + log(-2 * log(ALPHA) + 1)) / TUNED_FOR
    half = np.sqrt(variance * 2 * (n * rho2 + 1) / (n**2 * rho2) * np.log(np.sqrt(n * rho2 + 1) / ALPHA))
    return mean, half
