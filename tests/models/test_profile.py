"""The profile: its bytes, and what folding one into another keeps."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.engine import Engine
from models.features import CLIP, vector
from models.learning.learner import Learner
from models.profile import activity, basket, contact, decay, journey, orders
from models.profile.contact import Contact, Contacted
from models.profile.pending import PENDING_MAX, Pending, Target
from models.profile.profile import SEEN_MAX, Profile, decode, encode, merge
from schemas.base import DAY_MS, HOUR_MS
from schemas.clickstream import FormSubmitted, PageViewed, ProductViewed
from schemas.identity import ConsentChanged, ErasureRequested, HandedOver, Linked
from tests.support import START, Recorded, add, busy, make, order, stream

OLD = Path(__file__).parent / "fixtures" / "profiles_v1.json"


@pytest.fixture(scope="module")
def profiles() -> list[Profile]:
    return list(Recorded(busy()).feed(stream(5, 1500)).run.profiles.values())


def test_bytes_round_trip(profiles: list[Profile]) -> None:
    assert len(profiles) > 80
    assert [decode(encode(profile)) for profile in profiles] == profiles


def test_bytes_of_version_1_are_still_read() -> None:
    """Never rewrite the fixture: new fields go to the end and have defaults, so old bytes stay a prefix."""
    held = json.loads(OLD.read_text())
    assert len(held) == 4
    for name, one in held.items():
        profile = decode(bytes.fromhex(one["hex"]))
        assert covers(msgspec.json.decode(msgspec.json.encode(profile)), one["facts"]), name


def covers(new: object, old: object) -> bool:
    """Whether ``new`` says all that ``old`` said: a struct is an array that may have grown at its end."""
    if isinstance(new, list) and isinstance(old, list):
        return len(new) >= len(old) and all(map(covers, new, old))
    return new == old


@pytest.mark.parametrize("kept", range(1, 26))
def test_bytes_with_fewer_fields_are_read_and_stepped(kept: int, profiles: list[Profile]) -> None:
    full = max(profiles, key=lambda profile: (profile.orders.count, len(profile.pendings)))
    old = decode(msgspec.msgpack.encode(msgspec.msgpack.decode(encode(full))[:kept]))
    assert old.customer == full.customer
    assert old.delay_ms == 0
    config = busy().engine
    engine = Engine(config, busy().campaigns, Learner(config.model_specs()).models)
    engine.step(order(full.clock + 1, full.customer, number="new"), old, full.clock + 1)


@pytest.mark.parametrize("kept", [0, 10, 11, 12])
def test_orders_with_fewer_fields_give_features(kept: int, profiles: list[Profile]) -> None:
    full = max(profiles, key=lambda profile: profile.orders.count)
    raw = msgspec.msgpack.decode(encode(full))
    raw[6] = raw[6][:kept]
    old = decode(msgspec.msgpack.encode(raw))
    assert all(abs(x) <= 31 for x in vector(old, full.clock))


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xc1", encode(Profile("u:1"))[:-1], b"\x91\x05", b"\x91\xa1\xed"])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode(data)
    handed = make(HandedOver, START, origin="a:1", profile=data)
    recorded = Recorded(busy()).feed([handed])
    assert recorded.run.counts["hand_over_unreadable"] == 1


times = st.integers(0, 400 * DAY_MS)


@given(st.lists(times, max_size=12), st.lists(times, max_size=12))
def test_merged_activity_sums(a: list[int], b: list[int]) -> None:
    def of(moments: list[int]) -> activity.Activity:
        seen = activity.Activity()
        for at in moments:
            seen = activity.observe(seen, at, view=at % 2 == 0, intent=at % 3 == 0)
        return seen

    both = activity.merge(of(a), of(b))
    assert both == activity.merge(of(b), of(a))
    assert both.events == len(a) + len(b)
    assert both.at == max([*a, *b], default=0)
    assert both.first_at == min([*a, *b], default=0)
    whole = of([*a, *b])
    for merged, counted in zip(both.touches + both.views, whole.touches + whole.views, strict=True):
        assert merged == pytest.approx(counted, rel=1e-9, abs=1e-12)


@given(st.lists(times, max_size=20))
def test_decayed_counts_do_not_depend_on_the_order_of_arrival(moments: list[int]) -> None:
    def touches(arrived: list[int]) -> decay.Scales:
        seen = activity.Activity()
        for at in arrived:
            seen = activity.observe(seen, at, view=False, intent=False)
        return seen.touches

    assert touches(moments) == pytest.approx(touches(sorted(moments)), rel=1e-9, abs=1e-12)


order_lists = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 400 * DAY_MS), st.integers(0, 10**9), st.integers(1, 5)), max_size=10
)


@given(order_lists, order_lists)
def test_merged_orders_sum(a: list[tuple[int, int, int, int]], b: list[tuple[int, int, int, int]]) -> None:
    def of(placed: list[tuple[int, int, int, int]]) -> orders.Orders:
        held = orders.refund(orders.EMPTY, 7) if len(placed) % 2 else orders.EMPTY
        for number, at, micros, units in placed:
            held = orders.place(held, str(number), at, micros, units)
        return held

    both = orders.merge(of(a), of(b))
    assert both.count == len(a) + len(b)
    assert both.units == sum(units for *_, units in a + b)
    assert both.total_micros == sum(micros for _, _, micros, _ in a + b)
    assert both.refunds == len(a) % 2 + len(b) % 2
    assert both.refunded_micros == 7 * both.refunds
    assert both.last_at == max([at for _, at, *_ in a + b], default=0)
    assert both.first_at == min([at for _, at, *_ in a + b], default=0)
    assert len(both.recent) <= orders.IDS_MAX
    if a:
        number, at, *_ = max(a, key=lambda placed: placed[1])
        if at >= both.last_at - orders.ID_KEPT_MS:
            assert orders.known(both, str(number), at)


def test_a_device_seen_on_one_day_says_nothing_about_its_users_cadence() -> None:
    """An unknown gap counted as none: a merge halved the cadence, and customers were missed within it."""

    def of(*days: int) -> activity.Activity:
        seen = activity.Activity()
        for day in days:
            seen = activity.observe(seen, day * DAY_MS, view=False, intent=False)
        return seen

    def bought(*days: int) -> orders.Orders:
        held = orders.EMPTY
        for day in days:
            held = orders.place(held, str(day), day * DAY_MS, 0, 1)
        return held

    assert activity.merge(of(1, 9, 17), of(18)).gap_days == 8
    assert activity.merge(of(1), of(9)).gap_days == activity.merge(of(9), of(1)).gap_days == 8
    assert activity.observe(activity.merge(of(1), of(1)), 9 * DAY_MS, view=False, intent=False).gap_days == 8
    assert orders.merge(bought(1, 9), bought(12)).gap_days == 8
    assert orders.merge(bought(1), bought(9)).gap_days == 8


def pending(at: int) -> Pending:
    return Pending(at, b"", (Target("buys.1h", at + HOUR_MS, 0.1, 0.1),))


def test_merge_keeps_what_both_knew() -> None:
    user = Profile("u:1", seen=(1, 2), pendings=(pending(5),), sampled=(("buys", 5),), timers=(("cart", 9),), late=1)
    guest = Profile("a:1", seen=(3,), pendings=(pending(2),), sampled=(("buys", 7), ("contact", 1)), late=2)
    guest = msgspec.structs.replace(guest, timers=(("cart", 4), ("browse", 6)), clock=3)
    both = merge(user, guest)
    assert set(both.seen) == {1, 2, 3}
    assert [one.predicted_at for one in both.pendings] == [2, 5]
    assert dict(both.sampled) == {"buys": 7, "contact": 1}
    assert dict(both.timers) == {"cart": 4, "browse": 6}
    assert (both.customer, both.late, both.mixed) == ("u:1", 3, False)


def test_merged_windows_and_pendings_stay_bounded() -> None:
    user = Profile("u:1", seen=tuple(range(30)), pendings=tuple(pending(n) for n in range(30)))
    guest = Profile("a:1", seen=tuple(range(100, 130)), pendings=tuple(pending(n) for n in range(40, 60)))
    both = merge(user, guest)
    assert len(both.seen) == SEEN_MAX
    assert set(range(30)) <= set(both.seen), "the user's own window is whole"
    assert len(both.pendings) == PENDING_MAX


def test_a_history_of_two_contacts_is_marked_mixed() -> None:
    contacted = contact.contacted(Contact(), Contacted("d", "c", "email", 5, 9, "t"))
    assert merge(Profile("u:1"), Profile("a:1", contact=contacted)).mixed
    assert not merge(Profile("u:1", contact=contacted), Profile("a:1")).mixed


def test_merge_takes_the_cart_touched_last_and_the_further_stage() -> None:
    full = basket.add(basket.EMPTY, "p", 1, 5, 10)
    assert basket.merge(full, basket.Basket((), 11, 0)).lines == ()
    assert basket.merge(basket.Basket((), 9, 0), full) == full
    both = journey.merge(journey.Journey(3, history=((3, 5),)), journey.Journey(1, history=((1, 2),), contact_at=4))
    assert (both.stage, both.history, both.contact_at) == (3, ((1, 2), (3, 5)), 4)


consents = st.lists(st.tuples(st.sampled_from(["email", "sms", "*"]), st.booleans()), max_size=6)


@given(consents, st.booleans())
def test_the_latest_word_on_consent_counts(said: list[tuple[str, bool]], default: bool) -> None:
    held = Contact()
    for scope, granted in said:
        held = contact.consent(held, scope, granted)
    for channel in ("email", "sms", "push"):
        words = [granted for scope, granted in said if scope in (channel, "*")]
        assert contact.consented(held, channel, default) is (words[-1] if words else default)


def test_a_flood_of_consents_does_not_forget_an_objection() -> None:
    held = contact.consent(Contact(), "email", False)
    for number in range(50):
        held = contact.consent(held, f"channel-{number}", True)
    assert not contact.consented(held, "email", True)
    assert len(held.consents) <= contact.CONSENTS_MAX


def linked(at: int, user: str, device: str = "a:1") -> Linked:
    return make(Linked, at, device, user=user, id=f"link-{user}-{at}")


def test_a_device_is_handed_over_once_to_its_first_user() -> None:
    recorded = Recorded(busy()).feed(
        [
            make(PageViewed, START, "a:1"),
            add(START + 1, "a:1"),
            make(PageViewed, START + 2, "u:1"),
            linked(START + 3, "u:1"),
            linked(START + 4, "u:1"),
            linked(START + 5, "u:2"),
            make(PageViewed, START + 6, "u:2"),
            make(PageViewed, START + 7, "a:1"),
        ]
    )
    user, device, other = (recorded.profile(name) for name in ("u:1", "a:1", "u:2"))
    assert user.activity.events == 4, "two on the device, one of its own, one forwarded"
    assert [line.product for line in user.basket.lines] == ["p"]
    assert device.linked == "u:1"
    assert (device.activity.events, device.pendings, device.timers, device.basket.lines) == (0, (), (), ())
    assert other.activity.events == 1, "a second user of the device starts apart"
    counts = recorded.run.counts
    assert (counts["merged"], counts["forwarded"], counts["link_same"], counts["link_second_user"]) == (1, 1, 1, 1)
    assert all(customer != "a:1" for _, customer, _ in recorded.run.partition.timers())


def test_users_are_never_linked_to_others() -> None:
    recorded = Recorded(busy()).feed([make(Linked, START, "u:1", user="u:2"), make(Linked, START, "a:1", user="a:2")])
    assert recorded.run.counts["link_refused"] == 2
    assert set(recorded.run.profiles) == {"u:1", "a:1"}


def test_the_same_straggler_counts_once() -> None:
    straggler = make(PageViewed, START + 2, "a:1")
    recorded = Recorded(busy()).feed([linked(START, "u:1"), straggler, straggler])
    assert recorded.profile("u:1").activity.events == 1


@pytest.mark.parametrize("size", [100, 118, 119, 127, 128])
def test_long_ids_do_not_collide_on_the_way_to_the_user(size: int) -> None:
    """A site sends the sign-in and the link under one id: the hand-over must not pass for a repeat of it."""
    name = "x" * size
    recorded = Recorded(busy()).feed(
        [
            add(START, "a:1"),
            make(PageViewed, START + 1, "u:1", id=name),
            make(Linked, START + 1, "a:1", id=name, user="u:1"),
            make(PageViewed, START + 2, "a:1", id=name[1:] + "y"),
            make(PageViewed, START + 3, "u:1", id=name[1:] + "y"),
        ]
    )
    assert recorded.run.counts["duplicate"] == 0
    assert recorded.profile("u:1").activity.events == 4


def test_pendings_of_the_device_are_learned_from_what_the_user_does() -> None:
    recorded = Recorded(busy()).feed(
        [make(ProductViewed, START, "a:1", product="p"), linked(START + 60_000, "u:1"), order(START + 120_000)],
        START + 31 * DAY_MS,
    )
    labels = {e.target: e.label for e in recorded.examples if e.predicted_at == START and e.customer == "u:1"}
    assert labels["buys.1h"]
    assert labels["buys.30d"]


def test_an_objection_to_profiling_outlives_a_merge() -> None:
    recorded = Recorded(busy()).feed(
        [
            make(ConsentChanged, START, granted=False, purpose="profiling"),
            make(ProductViewed, START + 1, "a:1", product="p"),
            linked(START + 2, "u:1"),
            make(PageViewed, START + HOUR_MS),
        ],
        START + 31 * DAY_MS,
    )
    user = recorded.profile()
    assert (user.contact.profiling, user.pendings, user.scores) == (False, (), ())
    assert recorded.examples == []


def test_objecting_stops_scoring_and_granting_starts_it_again() -> None:
    recorded = Recorded(busy()).feed(
        [
            make(PageViewed, START),
            make(ConsentChanged, START + 1, granted=False, purpose="profiling"),
            make(PageViewed, START + DAY_MS),
        ]
    )
    assert (recorded.profile().scores, recorded.profile().pendings) == ((), ())
    assert "score" not in dict(recorded.profile().timers)
    recorded.feed(
        [
            make(ConsentChanged, START + 2 * DAY_MS, granted=True, purpose="profiling"),
            make(PageViewed, START + 3 * DAY_MS),
        ]
    )
    assert recorded.profile().scores
    assert "score" in dict(recorded.profile().timers)


def test_erasure_keeps_nothing_and_lets_nothing_earlier_in() -> None:
    recorded = Recorded(busy()).feed(
        [add(START), order(START + 1), add(START + 2), make(FormSubmitted, START + 3, contact=True)]
    )
    recorded.feed([make(ErasureRequested, START + 10), make(PageViewed, START + 5), order(START + 9)])
    left = recorded.profile()
    assert left == Profile("u:1", clock=START + 10, erased_at=START + 10)
    assert [one for one in recorded.run.partition.timers() if one[1] == "u:1"] == []
    recorded.feed([make(PageViewed, START + 20)])
    assert recorded.profile().activity.events == 1


def test_a_device_of_before_an_erasure_does_not_bring_it_back() -> None:
    recorded = Recorded(busy()).feed(
        [order(START, "a:1"), make(ErasureRequested, START + 10), linked(START + 20, "u:1")]
    )
    assert recorded.profile("u:1").orders.count == 0
    assert recorded.profile("a:1").orders.count == 0


def test_an_unreadable_hand_over_changes_nothing() -> None:
    recorded = Recorded(busy()).feed([order(START), make(HandedOver, START + 1, origin="a:1", profile=b"\xff")])
    assert recorded.profile().orders.count == 1
    assert recorded.run.counts["hand_over_unreadable"] == 1


def test_a_late_event_of_an_earlier_visit_does_not_move_the_present_one() -> None:
    """Otherwise the visit would seem to have begun before a prediction that it fulfils."""
    recorded = Recorded(busy()).feed(
        [
            make(PageViewed, START),
            make(PageViewed, START + 10 * HOUR_MS),
            make(PageViewed, START + 20 * HOUR_MS),
            make(PageViewed, START + HOUR_MS),
        ]
    )
    visit = recorded.profile().session
    assert visit.started_at == START + 20 * HOUR_MS
    assert recorded.profile().late == 1


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_features_stay_within_bounds_at_any_time(at: int, now: int) -> None:
    profile = Recorded(busy()).feed([order(at), add(at + 1)]).profile()
    values = vector(profile, now)
    assert all(-CLIP <= x <= CLIP for x in values[:-2])
    assert all(0 <= x <= 31 for x in values[-2:])
