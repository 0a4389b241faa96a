"""Labels: read when they fall due, never before, and true to the raw events, which are recounted here by other means."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import pytest

from models.config import days_ms
from models.encoding import as_mapping
from models.learning.learner import Example, Learner
from models.policy.reading import Settings, read
from models.profile.pending import PENDING_MAX, unpack
from models.targets import BY_NAME
from schemas import clickstream as c
from schemas import identity, outcomes
from schemas import transactions as t
from schemas.base import DAY_MS, HOUR_MS, MINUTE_MS, Event
from schemas.clickstream import PageViewed, ProductViewed
from tests.support import BUSY, START, Recorded, busy, make, order, stream

END = START + 40 * DAY_MS
BUYS = {"buys.1h": HOUR_MS, "buys.1d": DAY_MS, "buys.7d": 7 * DAY_MS, "buys.30d": 30 * DAY_MS}


@cache
def events() -> tuple[Event, ...]:
    """One customer is one profile here: identity has its own tests."""
    left_out = (identity.Linked, identity.ErasureRequested)
    return tuple(
        event
        for event in stream(11, 3500)
        if not isinstance(event, left_out)
        and not (isinstance(event, identity.ConsentChanged) and event.purpose == "profiling")
    )


def settings(orders_only: bool = False) -> Settings:
    return busy() if not orders_only else read_with("[engine.churn]\n", '[engine.churn]\nactivity = "orders"\n')


def read_with(old: str, new: str) -> Settings:
    assert old in BUSY
    return read(BUSY.replace(old, new, 1))


class Truth:
    """What the raw events of one customer say, by the definitions in the documentation."""

    def __init__(self, log: Sequence[Event]) -> None:
        self.activity: list[int] = []
        self.visits: list[int] = []
        self.orders: list[int] = []
        self.cancelled: list[int] = []
        self.contacts: list[int] = []
        numbers = set()
        for event in log:
            at = event.occurred_at
            match event:
                case t.OrderRefunded() | t.OrderCancelled() | identity.ConsentChanged() | outcomes.OutcomeReported():
                    continue
                case t.SubscriptionChanged(status="cancelled"):
                    self.cancelled.append(at)
                    continue
                case t.OrderCompleted(order=number):
                    if number in numbers:
                        continue
                    numbers.add(number)
                    self.orders.append(at)
                case c.SignedUp() | c.FormSubmitted(contact=True) | identity.Identified(email=True):
                    self.contacts.append(at)
            if not self.activity or at - self.activity[-1] > 30 * MINUTE_MS:
                self.visits.append(at)
            self.activity.append(at)

    def label(self, target: str, start: int, end: int, orders_only: bool) -> bool:
        def within(moments: Sequence[int]) -> bool:
            return any(start < at < end for at in moments)

        if target.startswith("churn"):
            return within(self.cancelled) or not within(self.orders if orders_only else [*self.visits, *self.orders])
        if target == "engagement":
            return within(self.visits)
        if target == "contact":
            return within(self.contacts[:1])
        return within(self.orders)

    def reached(self, target: str, start: int) -> bool:
        """Whether the hazard's interval was reached: no order in an earlier one."""
        before = max((span for span in BUYS.values() if span < BUYS[target]), default=0)
        return not any(start < at < start + before for at in self.orders)


@cache
def truths() -> dict[str, Truth]:
    logs = defaultdict(list)
    for event in events():
        logs[event.customer].append(event)
    return {customer: Truth(log) for customer, log in logs.items()}


@cache
def examples(orders_only: bool) -> list[tuple[Example, int]]:
    """Examples with partition time when each was learned."""
    recorded = Recorded(settings(orders_only))
    found: list[tuple[Example, int]] = []
    for step in recorded.run.feed(events(), END):
        found.extend((example, recorded.run.partition.clock) for example in step.examples)
    waiting = [target.due for p in recorded.run.profiles.values() for one in p.pendings for target in one.targets]
    assert all(due > END for due in waiting)
    return found


@pytest.mark.parametrize("orders_only", [False, True])
def test_labels_are_true(orders_only: bool) -> None:
    seen = defaultdict(set)
    for example, _ in examples(orders_only):
        truth = truths()[example.customer]
        expected = truth.label(example.target, example.predicted_at, example.due, orders_only)
        assert example.label is expected, example
        seen[example.target].add(example.label)
    assert set(seen) == {"churn.early", "churn.late", "churn.cadence", "engagement", "contact", *BUYS}
    assert all(labels == {True, False} for labels in seen.values())


def test_a_hazard_is_learned_for_the_intervals_that_were_reached() -> None:
    learned = defaultdict(set)
    for example, _ in examples(False):
        if example.target in BUYS:
            assert example.learn is truths()[example.customer].reached(example.target, example.predicted_at)
            assert example.interval == list(BUYS).index(example.target)
            learned[example.target].add((example.learn, example.label))
        else:
            assert example.learn
            assert example.interval == -1
    assert learned["buys.1h"] == {(True, True), (True, False)}
    assert (False, True) in learned["buys.30d"]
    assert (False, False) not in learned["buys.30d"], "who had bought before has bought by then"


def test_an_example_is_learned_when_its_horizon_ends_whatever_its_class() -> None:
    horizons = {"engagement": 2 * DAY_MS, "contact": 2 * DAY_MS, "churn.early": 4 * DAY_MS, "churn.late": 4 * DAY_MS}
    for example, learned_at in examples(False):
        assert learned_at == example.due
        if example.target == "churn.cadence":
            assert 2 * DAY_MS <= example.due - example.predicted_at <= 180 * DAY_MS
        else:
            assert example.due == example.predicted_at + (horizons | BUYS)[example.target]


def test_one_prediction_a_group_and_period_is_kept() -> None:
    config = busy().engine
    periods = {
        "churn": days_ms(config.scoring_days),
        "cadence": days_ms(config.scoring_days),
        "engagement": days_ms(config.engagement.sampling_days),
        "contact": days_ms(config.funnel.sampling_days),
        "buys": days_ms(config.funnel.sampling_days),
    }
    moments = defaultdict(set)
    for example, _ in examples(False):
        moments[example.customer, BY_NAME[example.target].group].add(example.predicted_at)
    compared = 0
    for (_, group), times in moments.items():
        for earlier, later in pairwise(sorted(times)):
            assert later - earlier >= periods[group]
            compared += 1
    assert compared > 200


def test_pendings_are_bounded_and_the_earliest_are_kept() -> None:
    """A prediction that finds no room is not kept; one whose label waits is never dropped for it."""
    settings = read_with("sampling_days = 1\ncontact_days", "sampling_days = 0.01\ncontact_days")
    visits = [make(ProductViewed, START + n * HOUR_MS, product="p") for n in range(60)]
    recorded = Recorded(settings).feed(visits)
    assert len(recorded.profile().pendings) == PENDING_MAX
    assert recorded.profile().pendings[0].predicted_at == START
    assert recorded.run.counts["pending_full"] > 0


def test_the_horizon_is_frozen_when_the_prediction_is_made() -> None:
    before = Recorded(busy()).feed([order(START), order(START + DAY_MS)])
    due = {(p.predicted_at, t.name): t.due for p in before.profile().pendings for t in p.targets}
    after = Recorded(read_with("horizon_days = 4", "horizon_days = 9"))
    after.run.restore(before.run.snapshot())
    after.feed([], START + 60 * DAY_MS)
    learned = {(e.predicted_at, e.target): e.due for e in after.examples if e.predicted_at <= START + DAY_MS}
    assert learned == due
    assert any(e.due - e.predicted_at == 9 * DAY_MS for e in after.examples)


def test_what_falls_on_the_end_of_the_horizon_is_outside() -> None:
    recorded = Recorded(busy()).feed([make(PageViewed, START), make(PageViewed, START + 2 * DAY_MS)])
    assert [e.label for e in recorded.examples if e.target == "engagement"] == [False]
    recorded = Recorded(busy()).feed([make(PageViewed, START), make(PageViewed, START + 2 * DAY_MS - 1)], END)
    assert next(e.label for e in recorded.examples if e.target == "engagement")


def test_what_is_scored_is_what_is_learned() -> None:
    """The features kept with a prediction, unpacked, give the very probability that was predicted."""
    recorded = Recorded(busy()).feed([make(ProductViewed, START, product="p"), order(START + MINUTE_MS)])
    model = Learner(busy().engine.model_specs()).models["churn"]
    (target,) = [t for p in recorded.profile().pendings for t in p.targets if t.name == "churn.early"]
    (features,) = [p.features for p in recorded.profile().pendings if target in p.targets]
    assert model.predict(as_mapping(unpack(features))) == target.p


def test_moments_within_a_visit_are_drawn_and_others_are_not() -> None:
    """Were the first moment always taken, hardly any prediction would be made with a cart in hand."""
    settings = read_with("sampling_share = 1.0", "sampling_share = 0.25")
    visitors = 400
    recorded = Recorded(settings)
    for n in range(visitors):
        recorded.feed([make(PageViewed, START, f"a:{n}", id=f"e{n}")])
    kept = Counter(t.name for n in range(visitors) for p in recorded.profile(f"a:{n}").pendings for t in p.targets)
    assert kept["engagement"] == visitors
    assert kept["buys.1h"] == kept["contact"]
    assert abs(kept["buys.1h"] / visitors - 0.25) < 4 * (0.25 * 0.75 / visitors) ** 0.5
