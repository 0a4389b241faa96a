"""Each signal: when it is given and when it is not, once for what it tells of, and whether it is still true after a wait."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import cache

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.draft import Draft
from models.policy.campaigns import SIGNALS
from models.policy.reading import Settings, read
from models.profile.marks import Marks
from models.profile.profile import Score, decode, encode
from models.silence import TIMER
from schemas.base import DAY_MS, HOUR_MS, MINUTE_MS, Event
from schemas.clickstream import FormSubmitted, LeadChanged, PageViewed, ProductViewed, SignedIn, SignedUp
from schemas.identity import ConsentChanged, ErasureRequested, Identified, Linked
from schemas.money import Item
from schemas.transactions import CartViewed, CheckoutStarted, OrderCancelled, OrderRefunded
from tests.support import START, Recorded, add, eur, make, order, stream

NOON = START + 12 * HOUR_MS
NIGHT = START + 23 * HOUR_MS
MORNING = START + DAY_MS + 8 * HOUR_MS
JOIN = 10 * MINUTE_MS
NIGHTS = 'quiet_hours = {start = "22:00", end = "08:00"}'
NEW = ("joined", "lead_ready", "gone_quiet", "churned", "ordered", "browse_left", "cart_left", "checkout_left")


@cache
def on(signal: str, text: str = "", policy: str = "", engine: str = "") -> Settings:
    """One live campaign, named after its signal."""
    topic = "" if "topic" in text else 'topic = "nudges"'
    actions = "" if "actions" in text else 'actions = [{id = "mail", channel = "email"}]'
    return read(
        f'{engine}\n[policy]\nconsent = "allow"\n{policy}\n[[campaign]]\nid = "c"\nsignal = "{signal}"\nmode = "live"\n'
        f"holdout = 0.0\n{topic}\n{actions}\n{text}"
    )


@cache
def everything() -> Settings:
    """A live campaign on each of the signals, unlimited."""
    campaigns = "".join(
        f'\n[[campaign]]\nid = "{signal}"\nsignal = "{signal}"\ntopic = "nudges"\nmode = "live"\nholdout = 0.0\n'
        'max_age = "30d"\nactions = [{id = "mail", channel = "email"}]\n'
        for signal in NEW
    )
    return read(
        "[engine.churn]\nhorizon_days = 6\ncadence_min_days = 2\n[engine.leads]\nready = 0.15\nagain = 0.1\n"
        '[policy]\nconsent = "allow"\n' + campaigns
    )


def times(recorded: Recorded) -> list[int]:
    return [d.issued_at for d in recorded.decisions]


def run(settings: Settings, log: Sequence[Event], until: int) -> Recorded:
    return Recorded(settings).feed(log, until)


def visits(days: Sequence[float], customer: str = "u:1") -> list[Event]:
    return [make(PageViewed, NOON + int(day * DAY_MS), customer) for day in days]


def view(at: int, product: str = "p", price: str = "", customer: str = "u:1") -> ProductViewed:
    return make(ProductViewed, at, customer, product=product, price=eur(price) if price else None)


# joined


def test_a_sign_up_is_welcomed_once_after_a_moment() -> None:
    log = [make(SignedUp, NOON), make(SignedUp, NOON + 5), make(SignedUp, NOON + DAY_MS), *visits([3, 40])]
    assert times(run(on("joined"), log, NOON + 50 * DAY_MS)) == [NOON + JOIN]


def test_a_form_with_contact_details_is_a_joining_one_without_is_not() -> None:
    with_it = [make(FormSubmitted, NOON, "a:1", contact=True)]
    assert times(run(on("joined"), with_it, NOON + DAY_MS)) == [NOON + JOIN]
    assert times(run(on("joined"), [make(FormSubmitted, NOON, "a:1")], NOON + DAY_MS)) == []


def test_contact_details_that_were_on_file_are_no_joining() -> None:
    """Customers from before the first event sign in and are identified; none of them is new."""
    log = [make(SignedIn, NOON), make(Identified, NOON + 1, email=True)]
    assert times(run(on("joined"), log, NOON + DAY_MS)) == []
    late = [*log, make(SignedUp, NOON + 3 * DAY_MS)]
    assert times(run(on("joined"), late, NOON + 4 * DAY_MS)) == []


@pytest.mark.parametrize(("days", "sent"), [(0, 1), (30, 0)])
def test_who_bought_long_before_is_not_welcomed(days: int, sent: int) -> None:
    at = NOON + days * DAY_MS
    log = [order(NOON - MINUTE_MS), make(SignedUp, at)]
    assert len(run(on("joined"), log, at + DAY_MS).decisions) == sent


@pytest.mark.parametrize("linked_after", [1, JOIN // 2, 3 * DAY_MS])
@pytest.mark.parametrize("user_first", [False, True])
def test_a_device_and_its_user_are_welcomed_once(linked_after: int, user_first: bool) -> None:
    """The user's record may come before the device's profile has been handed over, as on a stream of many partitions."""
    signed_up = make(SignedUp, NOON + linked_after + (-1 if user_first else 1), "u:1")
    linked = make(Linked, NOON + linked_after, "a:1", user="u:1")
    rest = sorted((signed_up, linked), key=lambda event: event.occurred_at)
    log = [make(FormSubmitted, NOON - 2, "a:1", contact=True), *rest]
    assert len(run(on("joined"), log, NOON + 9 * DAY_MS).decisions) == 1


def test_a_new_device_of_an_old_customer_is_not_welcomed() -> None:
    log = [
        make(Identified, NOON - 90 * DAY_MS, email=True),
        make(FormSubmitted, NOON, "a:2", contact=True),
        make(Linked, NOON + MINUTE_MS, "a:2", user="u:1"),
    ]
    assert times(run(on("joined"), log, NOON + DAY_MS)) == []


def test_a_sign_up_from_a_backfill_is_not_welcomed() -> None:
    recorded = run(on("joined"), [make(SignedUp, NOON, received_at=NOON + DAY_MS)], NOON + 2 * DAY_MS)
    assert recorded.decisions == []
    assert recorded.run.counts["suppressed|c|stale"] == 1


def test_who_was_erased_and_signs_up_again_is_new() -> None:
    log = [make(SignedUp, NOON), make(ErasureRequested, NOON + DAY_MS), make(SignedUp, NOON + 9 * DAY_MS)]
    assert times(run(on("joined"), log, NOON + 10 * DAY_MS)) == [NOON + JOIN, NOON + 9 * DAY_MS + JOIN]


# browse, cart and checkout left


def test_what_was_left_names_its_products() -> None:
    browsed = [view(NOON - 2 * DAY_MS, "old"), view(NOON, "p"), view(NOON + 1, "q"), view(NOON + 2, "p")]
    assert run(on("browse_left"), browsed, NOON + DAY_MS).decisions[-1].action.items == ("p", "q")
    carted = [add(NOON, product="p"), add(NOON + 1, product="q")]
    assert run(on("cart_left"), carted, NOON + DAY_MS).decisions[0].action.items == ("q", "p")
    line = Item(product="r", price=Decimal(5))
    checked = [*carted, make(CheckoutStarted, NOON + 2, items=(line,))]
    assert run(on("checkout_left"), checked, NOON + DAY_MS).decisions[0].action.items == ("r",)


def test_the_products_of_a_flood_are_bounded() -> None:
    flood = [add(NOON + n, product=f"p{n}") for n in range(40)]
    items = run(on("cart_left"), flood, NOON + DAY_MS).decisions[0].action.items
    assert items == tuple(f"p{n}" for n in range(39, 29, -1))
    looks = [view(NOON + n, f"p{n}") for n in range(40)]
    recorded = run(on("browse_left"), looks, NOON + DAY_MS)
    assert len(recorded.profile().views) == len(recorded.decisions[0].action.items) == 8


@pytest.mark.parametrize(
    ("when", "log", "sent"),
    [
        ("views_of_one >= 2", [view(NOON), view(NOON + 1)], 1),
        ("views_of_one >= 2", [view(NOON), view(NOON + 1, "q")], 0),
        ("viewed_price >= 50", [view(NOON, price="60"), view(NOON + 1, "q", price="5")], 1),
        ("viewed_price >= 50", [view(NOON, price="40")], 0),
        ("visit_views >= 2", [view(NOON), view(NOON + 3 * HOUR_MS - 1)], 0),
    ],
)
def test_a_browse_is_followed_up_where_interest_was_strong(when: str, log: list[Event], sent: int) -> None:
    until = log[-1].occurred_at + 3 * HOUR_MS - 1
    recorded = run(on("browse_left", f'when = ["{when}"]'), log, until)
    assert len(recorded.decisions) == sent


def test_what_was_bought_was_not_left() -> None:
    bought = make(type(order(0)), NOON + 9, order="o", total=eur(9), items=(Item(product="p"),))
    log = [view(NOON), view(NOON + 1, "q"), bought, view(NOON + 10, "r")]
    assert run(on("browse_left"), log, NOON + DAY_MS).decisions[0].action.items == ("r", "q")


def test_one_leaving_is_one_signal_and_the_checkout_wins() -> None:
    log = [view(NOON), add(NOON + 1), make(CheckoutStarted, NOON + 2), make(CartViewed, NOON + 3)]
    recorded = run(everything(), log, NOON + 3 * HOUR_MS)
    assert [(d.campaign, d.issued_at) for d in recorded.decisions] == [("checkout_left", NOON + 3 + 30 * MINUTE_MS)]


def test_one_leaving_is_one_signal_after_a_merge_too() -> None:
    log = [
        add(NOON - 5 * MINUTE_MS),
        add(NOON, "a:1"),
        make(CheckoutStarted, NOON + 1, "a:1"),
        make(Linked, NOON + 2, "a:1", user="u:1"),
    ]
    recorded = run(everything(), log, NOON + 5 * HOUR_MS)
    assert [d.campaign for d in recorded.decisions if d.campaign.endswith("_left")] == ["checkout_left"]


def test_a_later_leaving_supersedes_one_that_waits_for_the_morning() -> None:
    both = "".join(
        f'\n[[campaign]]\nid = "{kind}"\nsignal = "{kind}_left"\ntopic = "nudges"\nmode = "live"\nholdout = 0.0\n'
        'actions = [{id = "mail", channel = "email"}]\n'
        for kind in ("cart", "checkout")
    )
    settings = read(f'[policy]\nconsent = "allow"\n{NIGHTS}\n{both}')
    log = [add(NIGHT), make(CheckoutStarted, NIGHT + 1), make(CartViewed, NIGHT + 2 * HOUR_MS)]
    recorded = run(settings, log, MORNING + DAY_MS)
    assert [(d.campaign, d.issued_at) for d in recorded.decisions] == [("cart", MORNING)]
    assert recorded.run.counts["suppressed|checkout|moot"] == 1


# lead ready

LEADS = '[engine.leads]\nscore = "buys.7d"\nready = 0.3\nagain = 0.1\nrest_days = 4'


def trembling(recorded: Recorded, scores: Sequence[float]) -> list[float]:
    """Feed one page a day with the score that a model in use would give; the scores that lead to a decision."""
    engine, given_at = recorded.run.engine, []
    left = iter(scores)
    now = [0.0]

    def score(draft: object, groups: object = (), sample: bool = True) -> None:
        draft.scores = (Score("buys.7d", now[0], 0, 500),)  # type: ignore[attr-defined]  # stands in for the models

    engine.scorer.score = score  # type: ignore[method-assign]  # the test says what the models would
    for day, p in enumerate(left):
        now[0] = p
        before = len(recorded.decisions)
        recorded.feed([make(PageViewed, NOON + day * DAY_MS)])
        if len(recorded.decisions) > before:
            given_at.append(p)
    return given_at


def test_a_lead_is_given_when_readiness_rises_and_again_only_after_it_fell() -> None:
    known = [make(Identified, NOON - DAY_MS, email=True)]
    settings = on("lead_ready", 'topic = "leads"', engine=LEADS)
    scores = [0.05, 0.29, 0.31, 0.28, 0.09, 0.33, 0.12, 0.4, 0.09, 0.2, 0.35, 0.5]  # the first .09 is within the rest
    assert trembling(Recorded(settings).feed(known), scores) == [0.31, 0.35]
    assert trembling(Recorded(settings), scores) == [], "nobody can be called without contact details"


def test_a_trigger_for_sales_goes_to_leads() -> None:
    log = [make(Identified, NOON, email=True), make(FormSubmitted, NOON + 1, request=True)]
    recorded = run(on("lead_ready", 'topic = "leads"'), log, NOON + DAY_MS)
    assert [d.topic for d in recorded.decisions] == ["leads"]


def test_until_the_model_is_in_use_who_has_started_to_buy_is_ready() -> None:
    known = make(Identified, NOON, email=True)
    assert times(run(on("lead_ready"), [known, view(NOON + 1)], NOON + HOUR_MS)) == []
    assert times(run(on("lead_ready"), [known, add(NOON + 1), add(NOON + 2)], NOON + HOUR_MS)) == [NOON + 1]
    assert times(run(on("lead_ready"), [add(NOON), make(SignedUp, NOON + 9)], NOON + HOUR_MS)) == [NOON + 9]


@pytest.mark.parametrize(
    ("between", "sent"),
    [
        ([], 1),
        ([order(NOON + 5)], 0),
        ([make(LeadChanged, NOON + 5, status="working")], 0),
        ([make(LeadChanged, NOON + 5, status="disqualified")], 0),
    ],
    ids=["nothing", "order", "working", "disqualified"],
)
def test_an_order_or_sales_themselves_take_a_lead_off(between: list[Event], sent: int) -> None:
    known = make(Identified, NOON, email=True)
    asked = make(FormSubmitted, NOON + 10, request=True)
    assert len(run(on("lead_ready"), [known, *between, asked], NOON + HOUR_MS).decisions) == sent
    night = [make(Identified, NIGHT, email=True), make(FormSubmitted, NIGHT + 1, request=True)]
    later = [msgspec.structs.replace(event, occurred_at=NIGHT + HOUR_MS) for event in between]
    recorded = run(on("lead_ready", policy=NIGHTS), [*night, *later], MORNING)
    assert times(recorded) == ([MORNING] if sent else [])
    assert recorded.run.counts["suppressed|c|moot"] == 1 - sent


def test_a_lead_that_was_generated_elsewhere_is_ready_and_is_no_activity() -> None:
    log = [make(Identified, NOON, email=True), make(LeadChanged, NOON + DAY_MS, status="generated")]
    recorded = run(on("lead_ready"), log, NOON + 2 * DAY_MS)
    assert times(recorded) == [NOON + DAY_MS]
    assert recorded.profile().activity.at == NOON


def test_one_who_objects_to_profiling_may_ask_but_is_not_rated() -> None:
    objection = make(ConsentChanged, NOON, granted=False, purpose="profiling")
    known = make(Identified, NOON + 1, email=True)
    assert times(run(on("lead_ready"), [objection, known, add(NOON + 2)], NOON + HOUR_MS)) == []
    asked = make(FormSubmitted, NOON + 2, request=True)
    assert times(run(on("lead_ready"), [objection, known, asked], NOON + HOUR_MS)) == [NOON + 2]


# gone quiet, churned

DAILY = [*range(9)]


def test_quiet_by_the_own_cadence_then_churned_by_the_horizon_each_once() -> None:
    """Daily visits: three gaps are under the least of seven days, so a week it is; and the horizon is 30 days."""
    recorded = run(on("gone_quiet"), visits(DAILY), NOON + 100 * DAY_MS)
    assert times(recorded) == [NOON + 15 * DAY_MS]
    assert times(run(on("churned"), visits(DAILY), NOON + 100 * DAY_MS)) == [NOON + 38 * DAY_MS]
    assert recorded.profile().timers == ()


def test_each_silence_is_a_new_one() -> None:
    log = visits([*DAILY, 20, 21, 60])
    given_at = [(at - NOON) / DAY_MS for at in times(run(on("gone_quiet"), log, NOON + 59 * DAY_MS))]
    assert len(given_at) == 2
    assert given_at[0] == 15
    assert given_at[1] > 21 + 7
    assert [(at - NOON) / DAY_MS for at in times(run(on("churned"), log, NOON + 200 * DAY_MS))] == [51, 90]


def test_a_slow_customer_is_not_quiet_within_the_own_cadence() -> None:
    log = visits([0, 9, 18])  # three gaps are 27 days
    assert [(at - NOON) / DAY_MS for at in times(run(on("gone_quiet"), log, NOON + 99 * DAY_MS))] == [45]
    slower = visits([0, 12, 24])  # three gaps are more than the horizon: churned without being quiet first
    assert times(run(on("gone_quiet"), slower, NOON + 99 * DAY_MS)) == []
    assert len(run(on("churned"), slower, NOON + 99 * DAY_MS).decisions) == 1


def test_a_stranger_is_never_missed_a_buyer_is() -> None:
    assert times(run(on("churned"), visits(DAILY, "a:1"), NOON + 99 * DAY_MS)) == []
    log = [*visits(DAILY, "a:1"), order(NOON + 9 * DAY_MS, "a:1")]
    assert len(run(on("churned"), log, NOON + 99 * DAY_MS).decisions) == 1


def test_where_only_orders_count_visits_do_not_break_a_silence() -> None:
    config = '[engine.churn]\nactivity = "orders"'
    log = sorted([order(NOON), *visits([5, 20, 29])], key=lambda event: event.occurred_at)
    assert times(run(on("churned", engine=config), log, NOON + 99 * DAY_MS)) == [NOON + 30 * DAY_MS]


@pytest.mark.parametrize("signal", ["gone_quiet", "churned"])
def test_who_comes_back_in_the_night_is_not_missed_in_the_morning(signal: str) -> None:
    """The silence falls due at noon, which is night here."""
    night = 'quiet_hours = {start = "11:00", end = "20:00"}'
    due = {"gone_quiet": NOON + 15 * DAY_MS, "churned": NOON + 38 * DAY_MS}[signal]
    asleep = run(on(signal, policy=night), visits(DAILY), due + DAY_MS)
    assert times(asleep) == [due + 8 * HOUR_MS]
    back = [*visits(DAILY), make(PageViewed, due + HOUR_MS)]
    recorded = run(on(signal, policy=night), back, due + DAY_MS)
    assert recorded.decisions == []
    assert recorded.run.counts["suppressed|c|moot"] == 1


@pytest.mark.parametrize("signal", ["churn_risk", "honeymoon_drop"])
def test_who_came_back_is_not_at_risk_any_more(signal: str) -> None:
    engine = Recorded(on(signal, policy=NIGHTS)).feed(visits([0])).run.engine
    profile = Recorded(on(signal)).feed(visits([0, 2])).profile()
    draft = Draft(profile, make(PageViewed, NOON + 3 * DAY_MS), NOON + 3 * DAY_MS)
    assert not engine.signals.still_true(draft, signal, NOON + DAY_MS)
    assert engine.signals.still_true(draft, signal, NOON + 2 * DAY_MS)


def test_a_second_attempt_is_a_campaign_with_a_delay() -> None:
    settings = on("churned", 'delay = "30d"')
    assert times(run(settings, visits(DAILY), NOON + 99 * DAY_MS)) == [NOON + 68 * DAY_MS]
    recorded = run(settings, visits([*DAILY, 50]), NOON + 79 * DAY_MS)
    assert recorded.decisions == []
    assert recorded.run.counts["suppressed|c|moot"] == 1


def test_a_silence_costs_one_timer_and_an_event_none() -> None:
    recorded = Recorded(on("churned")).feed([*visits([0, 1, 2])])
    due = dict(recorded.profile().timers)[TIMER]
    for page in range(20):
        recorded.feed([make(PageViewed, NOON + 2 * DAY_MS + page * MINUTE_MS)])
        assert dict(recorded.profile().timers)[TIMER] == due


def test_an_objection_to_profiling_ends_the_waiting() -> None:
    log = [*visits(DAILY), make(ConsentChanged, NOON + 9 * DAY_MS, granted=False, purpose="profiling")]
    assert times(run(on("churned"), log, NOON + 99 * DAY_MS)) == []


def test_profiles_from_before_wait_for_silence_from_their_next_scoring_on() -> None:
    recorded = Recorded(on("churned")).feed(visits(DAILY))
    old = msgspec.msgpack.decode(encode(recorded.profile()))[:23]
    old[13] = [timer for timer in old[13] if timer[0] != TIMER]
    profile = decode(msgspec.msgpack.encode(old))
    assert profile.marks == Marks()
    fresh = Recorded(on("churned"))
    fresh.run.profiles["u:1"] = profile
    fresh.run.partition.restore(profile.clock, [(due, "u:1", kind) for kind, due in profile.timers])
    assert times(fresh.feed([], NOON + 99 * DAY_MS)) == [NOON + 38 * DAY_MS]


# after an order

AFTER = 'delay = "10d"\nmax_age = "24h"'


def test_an_order_is_followed_up_after_the_delay_once() -> None:
    recorded = run(on("ordered", AFTER), [order(NOON)], NOON + 40 * DAY_MS)
    assert times(recorded) == [NOON + 10 * DAY_MS]
    assert recorded.decisions[0].expires_at == NOON + 11 * DAY_MS, "expiry counts from the end of the delay"


@pytest.mark.parametrize("kind", [OrderCancelled, OrderRefunded])
@pytest.mark.parametrize("at", [-DAY_MS, 9 * DAY_MS])
def test_an_order_that_was_turned_back_is_not_followed_up(kind: type[OrderCancelled], at: int) -> None:
    """Also where the cancellation arrives before the order."""
    placed = order(NOON, number="A")
    turned = make(kind, NOON + at, order="A")
    log = sorted((placed, turned), key=lambda event: event.occurred_at)
    assert times(run(on("ordered", AFTER), log, NOON + 40 * DAY_MS)) == []
    other = [placed, make(kind, NOON + DAY_MS, order="B")]
    assert len(run(on("ordered", AFTER), other, NOON + 40 * DAY_MS).decisions) == 1


def test_orders_placed_during_the_wait_do_not_move_it() -> None:
    """Were they to, one who orders every week would never be asked."""
    log = [order(NOON + n * 7 * DAY_MS) for n in range(6)]
    recorded = run(on("ordered", AFTER), log, NOON + 60 * DAY_MS)
    assert [(at - NOON) / DAY_MS for at in times(recorded)] == [10, 24, 38]


def test_the_next_order_is_waited_for_where_the_first_was_cancelled() -> None:
    log = [order(NOON, number="A"), make(OrderCancelled, NOON + DAY_MS, order="A"), order(NOON + 2 * DAY_MS)]
    assert times(run(on("ordered", AFTER), log, NOON + 60 * DAY_MS)) == [NOON + 12 * DAY_MS]


@pytest.mark.parametrize(("late", "sent"), [(10 * DAY_MS, 1), (11 * DAY_MS, 1), (11 * DAY_MS + 1, 0)])
def test_an_order_that_came_late_is_followed_up_if_its_time_has_not_passed(late: int, sent: int) -> None:
    recorded = run(on("ordered", AFTER), [order(NOON, received_at=NOON + late)], NOON + 40 * DAY_MS)
    assert len(recorded.decisions) == sent
    assert recorded.run.counts["suppressed|c|stale"] == 1 - sent


def test_conditions_are_read_when_the_delay_is_over() -> None:
    settings = on("ordered", f'{AFTER}\nwhen = ["orders == 1"]')
    assert len(run(settings, [order(NOON)], NOON + 40 * DAY_MS).decisions) == 1
    assert run(settings, [order(NOON), order(NOON + DAY_MS)], NOON + 11 * DAY_MS).decisions == []


def test_a_delay_that_ends_in_the_night_ends_in_the_morning() -> None:
    recorded = run(on("ordered", AFTER, NIGHTS), [order(NIGHT)], NIGHT + 40 * DAY_MS)
    assert times(recorded) == [MORNING + 10 * DAY_MS]


# laws


@cache
def log() -> tuple[Event, ...]:
    return tuple(stream(11, 1500, customers=50, days=30))


@cache
def whole() -> Recorded:
    return Recorded(everything()).feed(log(), START + 60 * DAY_MS)


def test_every_signal_is_given_in_a_long_stream() -> None:
    found = {d.signal for d in whole().decisions}
    assert found == set(NEW)
    assert set(NEW) <= set(SIGNALS)


def test_a_repeat_gives_no_signal_twice() -> None:
    twice = [event for event in log() for _ in range(2)]
    again = Recorded(everything()).feed(twice, START + 60 * DAY_MS)
    assert again.given() == whole().given()


def test_nobody_joins_twice_and_no_silence_is_told_twice() -> None:
    erased = {name for name, profile in whole().run.profiles.items() if profile.erased_at}
    joined = [d.customer for d in whole().decisions if d.signal == "joined" and d.customer not in erased]
    assert len(joined) == len(set(joined)) > 5
    seen: dict[tuple[str, str], int] = {}
    active: dict[str, list[int]] = {}
    for event in log():
        active.setdefault(event.customer, []).append(event.occurred_at)
    for d in whole().decisions:
        if d.signal in ("gone_quiet", "churned"):
            before = seen.get((d.customer, d.signal))
            if before is not None and d.customer in active:
                assert any(before < at <= d.issued_at for at in active[d.customer]) or d.flag == "mixed_history"
            seen[d.customer, d.signal] = d.issued_at
    assert len(seen) > 20


def test_a_state_that_was_built_without_campaigns_has_all_they_need() -> None:
    silent = Recorded(everything(), quiet=True).feed(log(), START + 60 * DAY_MS)
    for name, profile in whole().run.profiles.items():
        other = silent.run.profiles[name]
        assert (profile.marks, profile.views, profile.timers) == (other.marks, other.views, other.timers)


@hypothesis_settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.permutations(range(6)), st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_looks_do_not_depend_on_the_order_of_arrival(shuffled: list[int], products: list[int]) -> None:
    looks = [view(NOON + n * MINUTE_MS, f"p{product}", price="5") for n, product in enumerate(products)]
    in_order = Recorded(on("browse_left")).feed(looks).profile().views
    assert Recorded(on("browse_left")).feed([looks[n] for n in shuffled]).profile().views == in_order


def test_a_merge_keeps_what_both_looked_at_and_gave() -> None:
    split = [view(NOON, "p", "5", "a:1"), view(NOON + 1, "q", "6"), view(NOON + 2, "p", "7")]
    link = make(Linked, NOON + 3, "a:1", user="u:1")
    one = [msgspec.structs.replace(event, customer="u:1") for event in split]
    merged = Recorded(on("browse_left")).feed([*split, link]).profile()
    assert merged.views == Recorded(on("browse_left")).feed(one).profile().views
