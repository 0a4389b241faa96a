"""No event, however extreme, poisons a profile, a feature, a model or a figure; and a step changes nothing given to it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from math import isfinite
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.engine import Engine
from models.features import CLIP
from models.learning.learner import Learner
from models.partition import Partition
from models.policy.reading import Settings, read
from models.profile.profile import Profile, decode, encode
from schemas import clickstream as c
from schemas import control, feedback, identity, outcomes
from schemas import transactions as t
from schemas.base import DAY_MS, Event
from schemas.money import Item, Money
from tests.support import BUSY, FOREST, OWN, START, Recorded, busy, make, order, stream

LAST = 253_402_300_799_999  # the greatest time that an event may bear: the end of the year 9999
CURRENCIES = ("EUR", "USD", "GBP", "CHF", "JPY", "SEK", "NOK")
HUGE = "999999999999"
RATES = """
[engine.money]
reporting = "EUR"
rates = {KRW = "1000000", USD = "0.000001"}
"""


def rich() -> Settings:
    return read(BUSY + RATES)


moments = st.one_of(
    st.sampled_from([0, 1, START, LAST, LAST - 1]), st.integers(0, LAST), st.integers(START, START + 40 * DAY_MS)
)
amounts = st.sampled_from(["0", "0.000001", "-5", HUGE, f"-{HUGE}", "19.99"]).map(Decimal)
texts = st.sampled_from(["", "x", "\x00\x1b[31m", "é" * 128, "a" * 128, "NaN", "1e308"])
ids = st.sampled_from(["p", "q", "\r\n", "x" * 128])


@st.composite
def events(draw: st.DrawFn) -> Event:
    at = draw(moments)
    common: dict[str, Any] = {
        "id": draw(st.uuids(version=4)).hex,
        "customer": draw(st.sampled_from(["u:1", "a:1"])),
        "occurred_at": at,
        "received_at": draw(st.one_of(st.just(at), moments)),
        "channel": draw(texts),
    }
    item = Item(
        product=draw(ids),
        category=draw(texts),
        price=draw(st.none() | amounts),
        quantity=draw(st.sampled_from([1, 1_000_000])),
    )
    money = Money(draw(amounts), draw(st.sampled_from(["EUR", "KRW", "USD", "XXX"])))
    makers: list[Any] = [
        lambda: c.PageViewed(**common),
        lambda: c.ProductViewed(**common, product=item.product, category=item.category, price=money),
        lambda: c.FormSubmitted(**common, contact=True, request=True),
        lambda: t.CartChanged(**common, item=item, currency=money.currency, added=draw(st.booleans())),
        lambda: t.CheckoutStarted(**common, value=money, items=(item,) * 30),
        lambda: t.OrderCompleted(**common, order=draw(ids), total=money, items=(item,) * 1000),
        lambda: t.OrderRefunded(**common, order=draw(ids), total=money),
        lambda: t.SubscriptionChanged(**common, status="cancelled"),
        lambda: feedback.SurveyAnswered(**common, score=10),
        lambda: identity.Identified(**common, email=True, timezone=draw(texts | st.just("Asia/Tokyo"))),
        lambda: identity.Linked(**common, user="u:1"),
        lambda: identity.ConsentChanged(**common, granted=draw(st.booleans()), scope=draw(texts)),
        lambda: identity.ErasureRequested(**common),
        lambda: identity.HandedOver(**common, origin="a:1", profile=draw(st.binary(max_size=5))),
        lambda: outcomes.OutcomeReported(**common, outcome="clicked", trigger="x"),
        lambda: control.Custom(**common, name="x", properties={"n": 1e308}),
        lambda: control.TimerDue(**common, kind=draw(texts), due=at),
        lambda: control.ModelPublished(**common, model="churn", version=-1),
    ]
    event: Event = draw(st.sampled_from(makers))()
    return event


def sound(recorded: Recorded) -> None:
    scorer = recorded.run.engine.scorer
    for profile in recorded.run.profiles.values():
        assert decode(encode(profile)) == profile
        assert len(encode(profile)) < 64_000
        values = scorer.features(profile, recorded.run.partition.clock)
        assert all(isfinite(x) and -CLIP <= x <= 31 for x in values)
        assert all(0 < score.p < 1 for score in profile.scores)
    for model in recorded.run.learner.models.values():
        for metrics in model.metrics.values():
            assert all(isfinite(x or 0.0) for x in msgspec.structs.astuple(metrics.figures()))
    for decision in recorded.decisions:
        assert isfinite(decision.gain)
        assert all(isfinite(reason.value) and isfinite(reason.weight) for reason in decision.reasons)
        msgspec.json.encode(decision)
    assert recorded.run.snapshot()


@hypothesis_settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(events(), max_size=12))
def test_no_sequence_of_events_poisons(log: list[Event]) -> None:
    until = max((event.occurred_at for event in log), default=0) + 40 * DAY_MS
    sound(Recorded(rich()).feed(log, min(until, LAST)))


@cache
def other(models: str) -> Settings:
    return read(BUSY + RATES + models)


@pytest.mark.parametrize("models", [OWN, FOREST], ids=["own", "forest"])
@hypothesis_settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(events(), max_size=12))
def test_no_sequence_of_events_poisons_other_models(models: str, log: list[Event]) -> None:
    until = max((event.occurred_at for event in log), default=0) + 40 * DAY_MS
    recorded = Recorded(other(models)).feed(log, min(until, LAST))
    sound(recorded)
    assert not any(model.rollbacks for model in recorded.run.learner.models.values())


def test_totals_of_a_flood_of_money_can_be_stored() -> None:
    """25 orders of 1e12 exceed 64 bits of micros: a total that cannot be encoded would stop its partition."""
    log: list[Event] = [order(START + n, total=HUGE, number=f"o{n}") for n in range(40)]
    log += [make(t.OrderRefunded, START + 50 + n, order="o", total=Money(Decimal(HUGE), "KRW")) for n in range(40)]
    log += [
        make(t.OrderCompleted, START + 150 + n, order=f"x{n}", total=Money(Decimal(HUGE), "XXX")) for n in range(40)
    ]
    item = Item(product="p", price=Decimal(HUGE), quantity=1_000_000)
    log += [make(t.CartChanged, START + 200 + n, item=item, currency="KRW") for n in range(3)]
    sound(Recorded(rich()).feed(log, START + 40 * DAY_MS))


def test_negative_totals_can_be_stored() -> None:
    log = [order(START + n, total=f"-{HUGE}", number=f"o{n}") for n in range(40)]
    sound(Recorded(rich()).feed(log, START + 40 * DAY_MS))


def test_a_customer_that_floods_stays_small() -> None:
    log: list[Event] = []
    for n in range(600):
        at = START + n * 60_000
        item = Item(product=f"p{n}" + "x" * 100, category=f"c{n}" + "y" * 100, price=Decimal(1))
        log.append(make(t.CartChanged, at, item=item, currency="EUR"))
        log.append(
            make(t.OrderCompleted, at + 1, order=f"o{n}", total=Money(Decimal(1), CURRENCIES[n % 7]), items=(item,))
        )
        log.append(make(identity.ConsentChanged, at + 2, granted=True, scope=f"s{n}"))
        log.append(make(identity.Identified, at + 3, timezone="z" * 128))
        log.append(make(c.PageViewed, at + 4, channel=f"channel {n}"))
    recorded = Recorded(busy()).feed(log)
    sound(recorded)
    assert len(encode(recorded.profile())) < 32_000


def test_vocabularies_do_not_grow_with_their_input() -> None:
    """An unbounded category must not widen a model: all models read a bounded set of names."""
    log: list[Event] = []
    for n in range(400):
        at = START + n * 3_600_000
        log.append(make(c.ProductViewed, at, f"u:{n % 40}", product=f"p{n}", category=f"never seen before {n}"))
        log.append(order(at + 1, f"u:{n % 40}"))
    recorded = Recorded(busy()).feed(log, START + 60 * DAY_MS)
    for model in recorded.run.learner.models.values():
        assert len(model._means) < 110


def test_clocks_at_the_end_of_time_stop_nothing() -> None:
    log = [
        make(identity.Identified, LAST - 40 * DAY_MS, timezone="Pacific/Kiritimati", email=True),
        order(LAST - 3),
        make(t.CartChanged, LAST - 2, item=Item(product="p", price=Decimal(20)), currency="EUR"),
        make(c.PageViewed, LAST),
        make(c.PageViewed, 0),
    ]
    sound(Recorded(busy()).feed(log, LAST))


@cache
def pairs() -> tuple[tuple[Event, Profile | None, int], ...]:
    """Events with the profile and the clock that they met, timers and merges included."""
    recorded = Recorded(busy())
    run = recorded.run
    met: list[tuple[Event, Profile | None, int]] = []
    step = run.engine.step

    def noted(event: Event, profile: Profile | None, now: int, clock: int | None = None) -> Any:
        met.append((event, profile, now))
        return step(event, profile, now, clock)

    run.engine.step = noted  # type: ignore[method-assign]  # listens in, and passes everything on
    recorded.feed(stream(21, 700), START + 30 * DAY_MS)
    return tuple(met)


def test_a_step_changes_nothing_given_to_it_and_repeats() -> None:
    settings = read_without_budget()
    engine = Engine(settings.engine, settings.campaigns, Learner(settings.engine.model_specs()).models)
    decided = 0
    for event, profile, now in pairs():
        event_bytes = msgspec.msgpack.encode(event)
        profile_bytes = encode(profile) if profile is not None else b""
        first = engine.step(event, profile, now)
        second = engine.step(event, profile, now)
        assert msgspec.msgpack.encode(event) == event_bytes
        assert profile is None or encode(profile) == profile_bytes
        assert first == second
        assert encode(first.profile) == encode(second.profile)
        decided += len(first.decisions)
    assert decided > 50


def read_without_budget() -> Settings:
    """Spending is the one thing that a step leaves behind in the engine."""
    return read(BUSY.replace("budget_per_day = 0.05\n", ""))


def test_a_step_never_goes_back_in_time_and_tells_all_timers() -> None:
    for event, profile, now in pairs():
        engine = busy_engine()
        step = engine.step(event, profile, now)
        assert step.profile.clock == now
        before = dict(profile.timers) if profile else {}
        for kind, due in step.timers:
            if due:
                before[kind] = due
            else:
                before.pop(kind, None)
        assert before == dict(step.profile.timers), "the changes told make the timers kept"


@cache
def busy_engine() -> Engine:
    settings = busy()
    return Engine(settings.engine, settings.campaigns, Learner(settings.engine.model_specs()).models)


def test_partition_and_profiles_agree_on_timers() -> None:
    run = Recorded(busy()).feed(stream(5, 1200)).run
    held = sorted((due, p.customer, kind) for p in run.profiles.values() for kind, due in p.timers)
    assert run.partition.timers() == held


def in_order(log: list[Event]) -> Iterator[int]:
    yield from (now for _, now in Partition().plan(log))


@given(st.lists(moments, max_size=20))
def test_partition_time_never_goes_back(times: list[int]) -> None:
    clocks = list(in_order([make(c.PageViewed, at) for at in times]))
    assert clocks == sorted(clocks)
    assert clocks == [max(times[: n + 1]) for n in range(len(times))]
