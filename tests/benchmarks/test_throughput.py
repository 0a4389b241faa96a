"""The comparison of speeds: rotation of rounds, ratios within a round, goals, and workloads that are always the same."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from benchmarks.peers.event import BYTES, decode, events
from benchmarks.throughput_figures import GOALS, Goal, Spread, beyond, ratio, rotated, summary
from benchmarks.throughput_zipf import CUSTOMERS, EXPONENT, zipf

PEERS = ["a", "b", "c", "d"]


def test_every_round_runs_every_peer_once_and_each_stands_in_each_place_equally_often() -> None:
    rounds = [rotated(PEERS, number) for number in range(2 * len(PEERS))]
    assert all(sorted(order) == PEERS for order in rounds)
    for place in range(len(PEERS)):
        assert Counter(order[place] for order in rounds) == dict.fromkeys(PEERS, 2)
    assert rounds[: len(PEERS)] == rounds[len(PEERS) :]


def done(records: int, seconds: float, cpu_s: float = 1.0) -> dict[str, float]:
    return {"records": records, "seconds": seconds, "cpu_s": cpu_s, "steps": 2 * records}


def test_a_ratio_is_of_one_round_and_its_median_is_not_the_ratio_of_medians() -> None:
    rounds = [
        {"a": done(100, 1.0), "b": done(100, 4.0)},  # 4
        {"a": done(100, 5.0), "b": done(100, 5.0)},  # 1
        {"a": done(100, 9.0), "b": done(100, 27.0)},  # 3
    ]
    judged = Goal("a / b", "p", ratio("a", "b"), least=2.0).judged(rounds)
    assert (judged["median"], judged["least"], judged["most"], judged["met"]) == pytest.approx((3.0, 1.0, 4.0, True))
    assert Spread.of([5.0, 1.0]) == Spread(3.0, 1.0, 5.0)
    assert summary(rounds)["a"]["records_per_s"] == {"median": 20, "least": 11, "most": 100}
    assert summary(rounds)["a"]["steps_per_s"] == 40


def test_rates_are_of_records_and_not_of_runs_of_unlike_length() -> None:
    assert ratio("a", "b")({"a": done(1000, 2.0), "b": done(100, 2.0)}) == pytest.approx(10.0)


def test_what_did_not_run_is_not_judged() -> None:
    goal = Goal("a / b", "p", ratio("a", "b"), least=2.0)
    assert goal.judged([{"a": done(1, 1.0)}, {}])["met"] is None
    assert goal.judged([{"a": done(9, 1.0)}, {"a": done(9, 1.0), "b": done(1, 1.0)}])["rounds"] == [9.0]


def test_cost_beyond_the_engine_is_processor_time_a_record() -> None:
    held = {"a": done(1000, 9.0, cpu_s=0.25), "engine": {**done(1000, 1.0, cpu_s=0.1), "us_a_step": 40.0}}
    assert beyond("a", "engine")(held) == pytest.approx(150.0)
    fewer = {**held, "a": {**held["a"], "steps": 1500}}
    assert beyond("a", "engine")(fewer) == pytest.approx(170.0)
    goal = Goal("cost", "p", beyond("a", "engine"), most=60.0)
    assert goal.judged([held])["met"] is False
    assert goal.judged([{**held, "a": done(1000, 9.0, cpu_s=0.16)}])["met"] is True


def test_a_figure_without_a_bound_is_shown_and_not_judged() -> None:
    judged = Goal("a / b", "p", ratio("a", "b")).judged([{"a": done(2, 1.0), "b": done(1, 1.0)}])
    assert (judged["median"], judged["met"]) == (2.0, None)
    assert len({goal.name for goal in GOALS}) == len(GOALS)


def test_events_are_the_same_for_the_same_seed_and_all_of_one_size() -> None:
    made = list(events(500))
    assert made == list(events(500))
    assert made[:100] == list(events(100))
    assert made != list(events(500, seed=2))
    assert {len(value) for _, value in made} == {BYTES}
    assert all(decode(value).user_id.encode() == key for key, value in made)


def test_the_zipf_workload_is_the_same_each_time_and_its_first_customers_are_the_busiest() -> None:
    made = zipf(5_000)
    assert made == zipf(5_000)
    users = Counter(json.loads(raw)["userId"] for raw in made)
    weights = [rank**-EXPONENT for rank in range(1, CUSTOMERS + 1)]
    expected = len(made) * weights[0] / sum(weights)
    assert users.most_common(1)[0][0] == "z00001"
    assert users["z00001"] == pytest.approx(expected, rel=0.15)
