"""The same log gives the same bytes: whatever the hash seed, the ticks, a cut in between, a repeat, or a mild disorder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.draft import Step
from models.partition import Partition
from models.policy.reading import Settings
from models.profile.profile import Profile
from schemas.base import DAY_MS, HOUR_MS, MINUTE_MS, Event
from schemas.clickstream import PageViewed
from schemas.control import TimerDue, tick
from streams.reorder import reordered
from tests.support import FOREST, OWN, START, Recorded, add, busy, make, order, stream

ROOT = Path(__file__).parents[2]
END = START + 30 * DAY_MS

DIGEST = """
from hashlib import sha256
from tests.support import FOREST, OWN, START, Recorded, busy, stream
recorded = Recorded(busy()).feed(stream(3, 2500), START + 30 * 86_400_000)
parts = (*recorded.given(), recorded.figures(), recorded.run.snapshot(b"key"))
print(len(recorded.decisions), *[sha256(part).hexdigest() for part in parts])
"""

ADAM = """
[engine.models.buys]
min_labels = 50
[engine.models.buys.estimator]
name = ["river.preprocessing.StandardScaler", "river.linear_model.LogisticRegression"]
params = {optimizer = {class = "river.optim.Adam", lr = 0.01}, l2 = 0.0001}
"""
MOMENTUM = """
[engine.models.churn.estimator]
name = "river.linear_model.LogisticRegression"
params = {optimizer = {class = "river.optim.Momentum", lr = 0.01}}
"""
TREES = """
[engine.models.engagement.estimator]
name = "river.forest.ARFClassifier"
params = {n_models = 2, grace_period = 20}
[engine.models."churn.cadence".estimator]
name = "river.naive_bayes.GaussianNB"
[engine.models.contact.estimator]
name = "river.linear_model.PAClassifier"
[engine.models.buys.estimator]
name = "river.tree.HoeffdingTreeClassifier"
params = {grace_period = 20}
"""


@cache
def events() -> tuple[Event, ...]:
    return tuple(stream(3, 1600))


@cache
def whole() -> Recorded:
    return Recorded(busy()).feed(events(), END)


def everything(recorded: Recorded) -> tuple[bytes, ...]:
    return (*recorded.given(), recorded.figures(), recorded.run.snapshot(b"key"))


def test_hash_seeds_change_nothing() -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", DIGEST],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in "012"
    ]
    digests = {run.communicate(timeout=60)[0] for run in runs}
    assert len(digests) == 1
    assert int(digests.pop().split()[0]) > 500


def resumed(settings: Settings, cuts: Sequence[int]) -> Recorded:
    """A run that is stopped at each cut and goes on from its snapshot in fresh objects."""
    recorded = Recorded(settings)
    start = 0
    for cut in cuts:
        recorded.feed(events()[start:cut])
        saved = recorded.run.snapshot(b"key")
        fresh = Recorded(settings)
        fresh.run.restore(saved, b"key")
        assert fresh.run.snapshot(b"key") == saved
        for ours, theirs in ((fresh.decisions, recorded.decisions), (fresh.conversions, recorded.conversions)):
            ours.extend(theirs)  # type: ignore[arg-type]  # each list with its like
        fresh.examples.extend(recorded.examples)
        recorded, start = fresh, cut
    return recorded.feed(events()[start:], END)


@pytest.mark.parametrize("extra", ["", ADAM, MOMENTUM, OWN], ids=["default", "scaler and Adam", "Momentum", "own"])
def test_resumed_equals_uninterrupted(extra: str) -> None:
    settings = busy(extra)
    uninterrupted = whole() if not extra else Recorded(settings).feed(events(), END)
    assert everything(resumed(settings, [1, 400, 401, 1100])) == everything(uninterrupted)


@pytest.mark.parametrize("extra", [TREES, FOREST], ids=["trees", "forest"])
def test_resumed_trees_answer_as_uninterrupted_ones(extra: str) -> None:
    """A pickle shares objects by identity, which loading changes: so the answers are compared, not the bytes."""
    settings = busy(extra)
    uninterrupted, cut = Recorded(settings).feed(events(), END), Recorded(settings).feed(events()[:900])
    saved = cut.run.snapshot(b"key")
    again = Recorded(settings)
    again.run.restore(saved, b"key")
    again.feed(events()[900:], END)
    assert b"river.tree" in saved
    for ours, theirs in (
        (cut.decisions + again.decisions, uninterrupted.decisions),
        (cut.conversions + again.conversions, uninterrupted.conversions),
        (cut.examples + again.examples, uninterrupted.examples),
    ):
        assert ours == theirs
    assert again.figures() == uninterrupted.figures()


def with_ticks(every_ms: int) -> Iterator[Event]:
    at = events()[0].occurred_at
    for event in events():
        while at + every_ms <= event.occurred_at:
            at += every_ms
            yield tick(at)
        yield event
    while at + every_ms <= END:
        at += every_ms
        yield tick(at)
    yield tick(END)


@pytest.mark.parametrize("every_ms", [20 * MINUTE_MS, HOUR_MS, DAY_MS, 7 * DAY_MS])
def test_ticks_change_nothing(every_ms: int) -> None:
    assert everything(Recorded(busy()).feed(with_ticks(every_ms))) == everything(whole())


def repeated(seed: int) -> Iterator[Event]:
    """Each event of a customer comes again after up to 31 others of that customer, at the time reached by then."""
    random = Random(seed)
    waiting: dict[str, list[tuple[int, Event]]] = {}
    for event in events():
        yield event
        again = waiting.setdefault(event.customer, [])
        again[:] = [(left - 1, held) for left, held in again]
        again.append((random.randrange(8), event))
        for _, held in [pair for pair in again if pair[0] <= 0]:
            yield held
        again[:] = [pair for pair in again if pair[0] > 0]


def test_a_repeat_within_the_window_counts_once() -> None:
    twice = list(repeated(1))
    assert len(twice) > 1.7 * len(events())
    recorded = Recorded(busy()).feed(twice, END)
    assert recorded.given() == whole().given()
    assert recorded.run.snapshot(b"key") == whole().run.snapshot(b"key")


@given(st.integers(0, 31), st.integers(0, 5))
def test_the_window_holds_32_ids(between: int, more: int) -> None:
    pages = [make(PageViewed, START + n, id=f"e{n}") for n in range(between + 1)]
    recorded = Recorded(busy()).feed([*pages, make(PageViewed, START + 100 + more, id="e0")])
    assert recorded.profile().activity.events == between + 1
    assert recorded.run.counts["duplicate"] == 1


def test_an_order_counts_once_within_90_days() -> None:
    day = [START + n * DAY_MS for n in (0, 1, 89, 91)]
    told = [order(at, number="A-1", id=f"e{n}") for n, at in enumerate(day)]
    recorded = Recorded(busy()).feed(told[:3])
    assert recorded.profile().orders.count == 1
    assert recorded.run.counts["duplicate_order"] == 2
    recorded.feed([order(day[3] - DAY_MS, number="B-1"), told[3]])
    assert recorded.profile().orders.count == 3, "another order, and the first id after 91 days"


@hypothesis_settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 9)), max_size=60), st.integers(1, 50), st.randoms())
def test_reordered_is_sorted_where_the_bound_holds(pairs: list[tuple[int, int]], bound: int, random: Random) -> None:
    log = [make(PageViewed, at, id=f"{n % 10}-{id_}") for n, (at, id_) in enumerate(pairs)]
    arrived = sorted(log, key=lambda event: event.occurred_at + random.random() * bound)
    assert list(reordered(arrived, bound)) == sorted(arrived, key=lambda event: (event.occurred_at, event.id))


def test_disorder_within_the_bound_changes_nothing() -> None:
    random = Random(4)
    arrived = sorted(events(), key=lambda event: event.occurred_at + random.random() * HOUR_MS)
    assert arrived != list(events())
    assert everything(Recorded(busy()).feed(reordered(arrived, HOUR_MS), END)) == everything(whole())


def test_what_is_later_than_the_bound_passes_through() -> None:
    log = [make(PageViewed, at) for at in (100, 500, 50, 450, 501)]
    assert [event.occurred_at for event in reordered(log, 100)] == [100, 50, 450, 500, 501]


class Echo:
    """Steps that set timers as they are told, instead of an engine: customer and kind -> timers to set."""

    def __init__(self, chains: dict[tuple[str, str], list[tuple[str, int]]]) -> None:
        self.chains = chains
        self.fired: list[tuple[int, str, int]] = []

    def run(self, partition: Partition, log: Sequence[Event], until: int | None = None) -> None:
        for event, now in partition.plan(log, until):
            kind = event.kind if isinstance(event, TimerDue) else "event"
            if isinstance(event, TimerDue):
                self.fired.append((event.due, event.id, now))
            timers = self.chains.pop((event.customer, kind), [])
            if timers:
                partition.apply(event.customer, Step(Profile(event.customer), timers=tuple(timers)))


def test_timers_fire_in_order_at_their_own_time_chains_included() -> None:
    echo = Echo(
        {
            ("u:2", "event"): [("b", 50), ("a", 50), ("c", 20)],
            ("u:1", "event"): [("a", 50), ("x", 300)],
            ("u:2", "c"): [("d", 40), ("e", 45)],
            ("u:2", "d"): [("f", 44), ("a", 60)],
        }
    )
    partition = Partition()
    echo.run(partition, [make(PageViewed, 10, "u:2"), make(PageViewed, 10, "u:1"), make(PageViewed, 100, "u:3")])
    assert echo.fired == [
        (20, "u:2|c|20", 20),
        (40, "u:2|d|40", 40),
        (44, "u:2|f|44", 44),
        (45, "u:2|e|45", 45),
        (50, "u:1|a|50", 50),
        (50, "u:2|b|50", 50),
        (60, "u:2|a|60", 60),
    ]
    assert partition.timers() == [(300, "u:1", "x")]
    assert partition.clock == 100


def test_later_timers_wait_unless_time_is_advanced() -> None:
    echo = Echo({("u:1", "event"): [("a", 50)], ("u:1", "a"): [("b", 90), ("c", 91)]})
    partition = Partition()
    echo.run(partition, [make(PageViewed, 10)])
    assert echo.fired == []
    echo.run(partition, [], until=90)
    assert [due for due, _, _ in echo.fired] == [50, 90]
    assert partition.clock == 90
    echo.run(partition, [], until=20)
    assert (partition.clock, partition.timers()) == (90, [(91, "u:1", "c")])


def test_a_timer_set_for_the_present_fires_before_the_next_event() -> None:
    echo = Echo({("u:1", "event"): [("a", 10)]})
    partition = Partition()
    order_of: list[str] = []
    for event, _ in partition.plan([make(PageViewed, 10), make(PageViewed, 10, "u:2"), make(PageViewed, 5, "u:3")]):
        order_of.append(event.customer + ("|a" if isinstance(event, TimerDue) else ""))
        timers = echo.chains.pop((event.customer, "event"), [])
        partition.apply(event.customer, Step(Profile(event.customer), timers=tuple(timers)))
    assert order_of == ["u:1", "u:1|a", "u:2", "u:3"]


@hypothesis_settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_order_of_setting_and_taking_away_fires_what_is_left(data: st.DataObject) -> None:
    partition = Partition()
    expected: dict[tuple[str, str], int] = {}
    for _ in range(data.draw(st.integers(1, 25))):
        key = data.draw(st.tuples(st.sampled_from(["u:1", "u:2"]), st.sampled_from("ab")))
        due = data.draw(st.integers(0, 9))
        partition.apply(key[0], Step(Profile(key[0]), timers=((key[1], due),)))
        expected.pop(key, None)
        if due:
            expected[key] = due
    fired = [
        (event.occurred_at, event.customer, event.kind)
        for event, _ in partition.plan([], 9)
        if isinstance(event, TimerDue)
    ]
    assert fired == sorted((due, *key) for key, due in expected.items())


@pytest.mark.parametrize("cut", [300, 800, 1300])
def test_what_happens_later_does_not_change_what_was_said(cut: int) -> None:
    """Decisions and predictions up to a moment are the same whether or not the log goes on."""
    prefix = Recorded(busy()).feed(events()[:cut])
    at = events()[cut - 1].occurred_at
    later = whole()
    told = [decision for decision in later.decisions if decision.issued_at <= at]
    assert prefix.decisions == told[: len(prefix.decisions)]
    assert all(decision.issued_at == at for decision in told[len(prefix.decisions) :])
    made = {(e.customer, e.target, e.predicted_at): (e.features, e.p, e.null) for e in later.examples}
    compared = 0
    for customer, profile in prefix.run.profiles.items():
        for pending in profile.pendings:
            for target in pending.targets:
                known = made.get((customer, target.name, pending.predicted_at))
                if known is not None:
                    assert known == (pending.features, target.p, target.null)
                    compared += 1
    assert compared > 20


def test_a_late_cart_does_not_reopen_what_an_order_closed() -> None:
    bought = order(START + 10 * MINUTE_MS)
    recorded = Recorded(busy()).feed([add(START), bought, add(START + MINUTE_MS, product="q")], START + DAY_MS)
    assert recorded.profile().basket.lines == ()
    assert recorded.run.counts["left|cart"] == 0
