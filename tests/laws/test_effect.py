"""Laws of the interval of an effect: it holds at all looks at once, for any rates, holdout and order, and never says more than it knows."""

from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation import sample_size
from models.evaluation.difference import Evidence, nearest

ALPHA = 0.05
STREAMS = 300
LOOKS = 400  # a look after every person


class Case(NamedTuple):
    holdout: float
    rate: float
    effect: float


CASES = (
    Case(0.5, 0.1, 0.0),
    Case(0.1, 0.1, 0.0),
    Case(0.1, 0.02, 0.0),
    Case(0.1, 0.5, 0.0),
    Case(0.1, 0.1, 0.1),
    Case(0.1, 0.3, -0.2),
    Case(0.5, 0.05, 0.3),
    Case(0.9, 0.1, 0.1),
)


def persons(random: np.random.Generator, case: Case, n: int) -> Evidence:
    treated = random.random(n) >= case.holdout
    converted = random.random(n) < case.rate + case.effect * treated
    return Evidence(treated, converted, np.full(n, 1 - case.holdout))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_truth_is_inside_at_all_looks_at_once(case: Case) -> None:
    random = np.random.default_rng(11)
    missed = sum(
        persons(random, case, LOOKS).log_after_each(case.effect).max() >= log(1 / ALPHA) for _ in range(STREAMS)
    )
    # at most alpha; the .999 quantile of a binomial of 300 at .05 is 28
    assert missed <= 28


def test_the_truth_is_inside_though_the_rates_drift() -> None:
    """The rate of the withheld triples while the difference stays."""
    random = np.random.default_rng(12)
    rate = np.linspace(0.1, 0.3, LOOKS)
    missed = 0
    for _ in range(STREAMS):
        treated = random.random(LOOKS) >= 0.2
        converted = random.random(LOOKS) < rate + 0.1 * treated
        missed += Evidence(treated, converted, np.full(LOOKS, 0.8)).log_after_each(0.1).max() >= log(1 / ALPHA)
    assert missed <= 28


def test_the_truth_is_inside_though_the_holdout_share_is_changed_on_the_way() -> None:
    random = np.random.default_rng(13)
    share = np.where(np.arange(LOOKS) < 150, 0.9, 0.5)
    missed = 0
    for _ in range(STREAMS):
        treated = random.random(LOOKS) < share
        converted = random.random(LOOKS) < np.where(np.arange(LOOKS) < 150, 0.05, 0.3) + 0.1 * treated
        missed += Evidence(treated, converted, share).log_after_each(0.1).max() >= log(1 / ALPHA)
    assert missed <= 28


@given(
    st.floats(0.001, 0.999),
    st.floats(0.001, 0.999),
    st.floats(0.01, 0.99),
    st.floats(-0.98, 0.98),
    st.floats(0.001, 0.999),
)
def test_no_pair_of_rates_with_that_difference_wins_from_the_bet(
    one: float, zero: float, share: float, difference: float, where: float
) -> None:
    t1, t0 = nearest(one, zero, share, difference)
    low, high = max(0.0, -difference), min(1.0, 1.0 - difference)
    true0 = low + where * (high - low)
    true1 = true0 + difference
    mean = share * (true1 * one / t1 + (1 - true1) * (1 - one) / (1 - t1)) + (1 - share) * (
        true0 * zero / t0 + (1 - true0) * (1 - zero) / (1 - t0)
    )
    assert mean <= 1 + 1e-6


def test_few_persons_say_little() -> None:
    """0 of 12 of each arm: a fixed-n interval would have width 0."""
    treated = np.arange(24) % 2 == 0
    interval = Evidence(treated, np.zeros(24, dtype=bool), np.full(24, 0.5)).interval(ALPHA)
    assert interval.low < -0.25
    assert interval.high > 0.25
    nobody = np.zeros(0)
    assert Evidence(nobody.astype(bool), nobody.astype(bool), nobody).interval(ALPHA) == (-1.0, 1.0)


@pytest.mark.parametrize("n", [1, 2, 30, 1000])
def test_the_interval_holds_what_is_not_ruled_out(n: int) -> None:
    evidence = persons(np.random.default_rng(n), Case(0.2, 0.1, 0.1), n)
    interval = evidence.interval(ALPHA)
    grid = np.linspace(-1, 1, 2001)
    kept = grid[evidence.log_against(grid) < log(1 / ALPHA)]
    assert interval.low <= kept.min() <= interval.low + 0.0011
    assert interval.high - 0.0011 <= kept.max() <= interval.high
    path = evidence.log_after_each(0.07)
    assert path[-1] == pytest.approx(evidence.log_against(np.array([0.07]))[0])


def test_what_was_seen_later_does_not_change_what_was_known_before() -> None:
    random = np.random.default_rng(4)
    treated, converted = random.random(500) < 0.8, random.random(500) < 0.2
    share = np.full(500, 0.8)
    whole = Evidence(treated, converted, share).log_after_each(0.0)
    for n in (1, 77, 250):
        assert np.array_equal(Evidence(treated[:n], converted[:n], share[:n]).log_after_each(0.0), whole[:n])


@pytest.mark.parametrize("case", [Case(0.5, 0.1, 0.1), Case(0.1, 0.3, 0.2), Case(0.2, 0.05, 0.08)], ids=str)
def test_the_planned_number_of_persons_shows_the_effect(case: Case) -> None:
    plan = sample_size.anytime(case.rate, case.effect, case.holdout)
    once = sample_size.fixed(case.rate, case.effect, case.holdout)
    assert plan is not None
    assert once is not None
    assert once.persons < plan.persons < 4 * once.persons
    random = np.random.default_rng(5)
    seen = sum(persons(random, case, plan.persons).log_after_each(0.0).max() >= log(1 / ALPHA) for _ in range(200))
    assert 0.7 <= seen / 200 <= 0.95
