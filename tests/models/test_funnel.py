"""The funnel: stages and the way there, what was left behind, the hazard of a purchase, engagement in points."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models import churn, engagement
from models.features import silence_odds
from models.funnel import cumulative, median_time_ms, rule
from models.profile.journey import (
    AWARENESS,
    CONSIDERATION,
    HISTORY_MAX,
    INTENT,
    INTEREST,
    LOYALTY,
    PURCHASE,
    STAGES,
    Journey,
    advance,
    begin,
    left_contact,
    requested,
)
from models.profile.profile import Profile
from models.targets import BUYS, INTERVALS_MS
from schemas.base import DAY_MS, HOUR_MS, MINUTE_MS, Event
from schemas.clickstream import (
    FormSubmitted,
    PageViewed,
    ProductListViewed,
    ProductsSearched,
    ProductViewed,
    Shared,
    WishlistChanged,
)
from schemas.money import Item
from schemas.transactions import (
    CartChanged,
    CartViewed,
    CheckoutAdvanced,
    CheckoutStarted,
    OrderCompleted,
    OrderRefunded,
    SubscriptionChanged,
)
from tests.support import START, Recorded, add, busy, eur, make, order


def view(at: int, product: str = "p") -> ProductViewed:
    return make(ProductViewed, at, product=product)


STEPS: list[tuple[Callable[[int], Event], int]] = [
    (lambda at: make(PageViewed, at), AWARENESS),
    (lambda at: make(ProductListViewed, at), INTEREST),
    (lambda at: make(ProductsSearched, at), INTEREST),
    (view, INTEREST),
    (lambda at: make(WishlistChanged, at, product="p"), CONSIDERATION),
    (lambda at: make(Shared, at), CONSIDERATION),
    (lambda at: make(FormSubmitted, at), CONSIDERATION),
    (add, INTENT),
    (lambda at: make(CheckoutStarted, at), INTENT),
    (order, PURCHASE),
]


@pytest.mark.parametrize(("step", "stage"), STEPS)
def test_each_kind_of_event_has_its_stage(step: Callable[[int], Event], stage: int) -> None:
    recorded = Recorded(busy()).feed([step(START)])
    assert recorded.profile().journey.stage == stage
    assert recorded.run.counts[f"stage|{stage}"] == 1
    assert [recorded.run.counts[f"stage|{passed}"] for passed in range(stage)] == [1] * stage, "no stage is skipped"


def test_three_products_in_one_visit_are_consideration() -> None:
    assert Recorded(busy()).feed([view(START), view(START + 1)]).profile().journey.stage == INTEREST
    assert Recorded(busy()).feed([view(START + n) for n in range(3)]).profile().journey.stage == CONSIDERATION
    apart = [view(START + n * HOUR_MS) for n in range(5)]
    assert Recorded(busy()).feed(apart).profile().journey.stage == INTEREST


@given(st.lists(st.tuples(st.integers(-1, 5), st.integers(0, 10**6)), max_size=30))
def test_stages_only_go_up_and_are_entered_once(steps: list[tuple[int, int]]) -> None:
    journey = Journey()
    for n, (stage, _) in enumerate(steps):
        before = journey
        journey = advance(journey, stage, n + 1)
        assert journey.stage == max(before.stage, stage)
        assert (journey == before) is (stage <= before.stage)
        assert all(new == old or not old for new, old in zip(journey.entered, before.entered, strict=True))
    assert [stage for stage, _ in journey.history] == sorted({stage for stage, _ in journey.history})
    assert all(journey.entered[stage] == at for stage, at in journey.history)


def test_history_is_bounded_and_in_order() -> None:
    journey = Journey()
    for n in range(20):
        journey = advance(begin(journey, AWARENESS, 10 * n + 1), INTENT, 10 * n + 2)
    assert len(journey.history) == HISTORY_MAX
    assert [at for _, at in journey.history] == sorted(at for _, at in journey.history)
    assert journey.entered == (191, 0, 0, 192, 0, 0)


def test_contact_counts_the_first_time_a_request_the_last() -> None:
    journey = requested(left_contact(requested(left_contact(Journey(), 5), 6), 7), 4)
    assert (journey.contact_at, journey.request_at) == (5, 6)


def test_who_returns_after_a_month_starts_over_a_buyer_as_a_buyer() -> None:
    month = 30 * DAY_MS + 1
    back = Recorded(busy()).feed([view(START), make(PageViewed, START + month)]).profile()
    assert (back.journey.stage, back.journey.entered[INTEREST]) == (AWARENESS, 0)
    assert [stage for stage, _ in back.journey.history] == [AWARENESS, INTEREST, AWARENESS]
    soon = Recorded(busy()).feed([view(START), make(PageViewed, START + month - 2)]).profile()
    assert soon.journey.stage == INTEREST
    buyer = Recorded(busy()).feed([order(START), make(PageViewed, START + month)]).profile()
    assert buyer.journey.stage == PURCHASE
    loyal = Recorded(busy()).feed([order(START + n * DAY_MS) for n in range(3)]).profile()
    assert loyal.journey.stage == LOYALTY


hazards = st.lists(st.floats(0, 1), min_size=4, max_size=4)


@given(hazards)
def test_chances_to_buy_rise_with_the_horizon(drawn: list[float]) -> None:
    bought = cumulative(drawn)
    assert bought == sorted(bought)
    assert all(0 <= p <= 1 for p in bought)
    survival = 1.0
    for hazard, p in zip(drawn, bought, strict=True):
        survival *= 1 - hazard
        assert 1 - p == pytest.approx(survival, abs=1e-12)


@given(hazards)
def test_the_median_time_halves_the_chance(drawn: list[float]) -> None:
    bought = cumulative(drawn)
    at = median_time_ms(bought)
    assert 0 <= at <= INTERVALS_MS[-1]
    if bought[-1] > 1e-6:
        ends, chances = [0, *INTERVALS_MS], [0.0, *bought]
        n = next(n for n, end in enumerate(ends) if end >= at)
        low = max(0, n - 1)
        assert chances[low] - 1e-9 <= bought[-1] / 2 <= chances[n] + 1e-9


def test_rules_rise_with_horizon_and_stage() -> None:
    for stage in range(len(STAGES)):
        chances = [rule(stage, interval) for interval in range(4)]
        assert chances == sorted(chances)
    month = [rule(stage, 3) for stage in range(-1, len(STAGES))]
    assert month == sorted(month)


def test_scores_of_a_visitor_rise_with_the_horizon() -> None:
    profile = Recorded(busy()).feed([add(START)]).profile()
    scores = {score.name: score.p for score in profile.scores}
    assert sorted(scores[name] for name in BUYS) == [scores[name] for name in BUYS]


def left(log: list[Event], until: int) -> dict[str, int]:
    counts = Recorded(busy()).feed(log, until).run.counts
    return {key.partition("|")[2]: count for key, count in counts.items() if key.startswith("left|")}


BROWSE, CART, CHECKOUT = 120 * MINUTE_MS, 60 * MINUTE_MS, 30 * MINUTE_MS


def checkout(at: int) -> CheckoutStarted:
    return make(CheckoutStarted, at)


@pytest.mark.parametrize(
    ("log", "silence", "kind"),
    [
        ([view(START)], BROWSE, "browse"),
        ([view(START), view(START + BROWSE - 1)], 2 * BROWSE - 1, "browse"),
        ([add(START)], CART, "cart"),
        ([view(START), add(START + 1)], CART + 1, "cart"),
        ([add(START), add(START + CART - 1, product="q")], 2 * CART - 1, "cart"),
        ([add(START), make(CartViewed, START + 5)], CART + 5, "cart"),
        ([add(START), checkout(START + 5)], CHECKOUT + 5, "checkout"),
        ([add(START), checkout(START + 5), make(CheckoutAdvanced, START + 9)], CHECKOUT + 9, "checkout"),
    ],
)
def test_silence_is_measured_from_the_last_step(log: list[Event], silence: int, kind: str) -> None:
    assert left(log, START + silence - 1) == {}
    assert left(log, START + silence) == {kind: 1}
    assert left(log, START + 20 * DAY_MS) == {kind: 1}, "once"


def out(at: int, quantity: int = 1) -> CartChanged:
    return make(CartChanged, at, item=Item(product="p", quantity=quantity), added=False)


@pytest.mark.parametrize(
    "log",
    [
        [view(START), order(START + 1)],
        [add(START), order(START + 1)],
        [add(START), checkout(START + 1), order(START + 2)],
        [add(START), out(START + 1)],
        [add(START), checkout(START + 1), out(START + 2, quantity=5)],
        [make(PageViewed, START)],
        [make(CartViewed, START)],
    ],
)
def test_nothing_was_left_that_was_bought_emptied_or_never_there(log: list[Event]) -> None:
    assert left(log, START + 20 * DAY_MS) == {}


def test_a_checkout_tells_what_is_in_the_cart() -> None:
    item = Item(product="p", price=Decimal("12.50"), quantity=2)
    bought = make(CheckoutStarted, START, items=(item,), value=eur(25))
    lines = Recorded(busy()).feed([add(START - 1, product="other"), bought]).profile().basket.lines
    assert [(line.product, line.quantity, line.price_micros) for line in lines] == [("p", 2, 12_500_000)]


@hypothesis_settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("pqr"), st.integers(1, 3), st.booleans()), max_size=25))
def test_the_cart_holds_what_went_in_and_not_out(changes: list[tuple[str, int, bool]]) -> None:
    held: dict[str, int] = {}
    log: list[Event] = []
    for n, (product, quantity, added) in enumerate(changes):
        log.append(make(CartChanged, START + n, item=Item(product=product, quantity=quantity), added=added))
        held[product] = max(0, held.get(product, 0) + (quantity if added else -quantity))
    lines = Recorded(busy()).feed([make(PageViewed, START - 1), *log]).profile().basket.lines
    assert {line.product: line.quantity for line in lines} == {p: q for p, q in held.items() if q}


def test_refunds_and_cancellations_are_no_activity() -> None:
    log = [
        order(START),
        make(OrderRefunded, START + DAY_MS, order="x"),
        make(SubscriptionChanged, START + 2 * DAY_MS, status="cancelled"),
    ]
    profile = Recorded(busy()).feed(log).profile()
    assert (profile.activity.at, profile.activity.events) == (START, 1)
    assert (profile.orders.refunds, profile.orders.cancelled_at) == (1, START + 2 * DAY_MS)


def test_money_is_counted_in_the_reporting_currency() -> None:
    log = [
        make(OrderCompleted, START, order="a", total=eur("19.99"), items=(Item(product="p", quantity=3),)),
        make(OrderCompleted, START + 1, order="b", total=eur("0.01")),
        make(OrderRefunded, START + 2, order="a", total=eur("-5")),
    ]
    held = Recorded(busy()).feed(log).profile().orders
    assert (held.count, held.units, held.total_micros, held.refunded_micros) == (2, 3, 20_000_000, 5_000_000)


def test_engagement_is_a_sum_that_fades() -> None:
    recorded = Recorded(busy()).feed([view(START + n * MINUTE_MS) for n in range(20)])
    profile, last = recorded.profile(), START + 19 * MINUTE_MS
    scores = [engagement.points(profile, last + days * DAY_MS).total for days in range(60)]
    assert scores == sorted(scores, reverse=True)
    assert 90 < scores[0] <= 100
    assert engagement.points(profile, last + 14 * DAY_MS).lately == 20.0
    assert engagement.points(Profile("u:1"), 0).total == 0.0


@given(st.lists(st.tuples(st.integers(0, 12), st.floats(0, 100)), max_size=20))
def test_the_trend_keeps_six_weeks_one_score_each(noted: list[tuple[int, float]]) -> None:
    trend: engagement.Trend = ()
    for week, score in sorted(noted, key=lambda pair: pair[0]):
        trend = engagement.noted(trend, week * engagement.WEEK_MS + 5, score)
    latest = dict(sorted(noted, key=lambda pair: pair[0]))
    assert trend == tuple(sorted(latest.items())[-6:])
    assert engagement.drop(trend) == max(0.0, max([s for _, s in trend[:-1]], default=0) - trend[-1][1] if trend else 0)


@given(st.integers(1, 400), st.floats(0, 1000), st.floats(1, 365))
def test_odds_of_silence_are_bounded_and_fall_with_activity(days: int, tenure: float, horizon: float) -> None:
    odds = silence_odds(days, tenure, horizon)
    assert -3 <= odds <= 3
    assert silence_odds(days + 1, tenure, horizon) <= odds
    assert silence_odds(days, tenure + 1, horizon) >= odds


def test_the_rules_of_churn_and_engagement_follow_the_customer() -> None:
    rare = Recorded(busy()).feed([make(PageViewed, START), make(PageViewed, START + 100 * DAY_MS)]).profile()
    often = Recorded(busy()).feed([make(PageViewed, START + n * DAY_MS) for n in range(101)]).profile()
    now = START + 100 * DAY_MS
    assert churn.rule(rare, now, 30) > 0.5 > churn.rule(often, now, 30)
    assert engagement.rule(rare, now, 7) < 0.2 < engagement.rule(often, now, 7)
    later = [engagement.rule(often, now + silence * DAY_MS, 7) for silence in (0, 30, 300)]
    assert later == sorted(later, reverse=True)


def test_a_known_customer_is_scored_until_silent_for_a_horizon() -> None:
    recorded = Recorded(busy()).feed([make(PageViewed, START)], START + 60 * DAY_MS)
    assert recorded.profile().timers == ()
    last = max(score.at for score in recorded.profile().scores)
    assert last == START + 6 * DAY_MS, "every two days, the last time after a horizon of four"
    recorded.feed([make(PageViewed, START + 61 * DAY_MS)])
    assert "score" in dict(recorded.profile().timers)


def test_a_stranger_is_not_scored_by_the_clock() -> None:
    recorded = Recorded(busy()).feed([make(PageViewed, START, "a:1")])
    assert "score" not in dict(recorded.profile("a:1").timers)
    recorded.feed([order(START + 1, "a:1"), make(PageViewed, START + DAY_MS, "a:1")])
    assert "score" in dict(recorded.profile("a:1").timers)
