"""Erasure: what goes, what stays and until when, and that it reaches a user's devices without ever going in circles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec.structs import replace

from models.profile.profile import ORIGINS_MAX, Profile, encode
from models.profile.tombstone import is_tombstone
from schemas.base import DAY_MS, HOUR_MS, Event
from schemas.clickstream import PageViewed
from schemas.control import tick
from schemas.identity import ConsentChanged, ErasureRequested, HandedOver, Linked, Unlinked
from schemas.outcomes import ContactSuppressed, DecisionExposed, OutcomeReported
from tests.support import START, Recorded, add, busy, make, order, stream
from tests.vera import LAPTOP, PHONE, VERA, life, remembered


def erased(customer: str, at: int, number: int = 0) -> ErasureRequested:
    return make(ErasureRequested, at, customer, id=f"erase-{customer}-{at}-{number}")


def told(recorded: Recorded, *names: str) -> list[str]:
    """Those of the names that the saved state tells."""
    saved = recorded.run.snapshot(b"key")
    return [name for name in names if name[2:].encode() in saved]


def test_erasure_reaches_the_devices_and_leaves_no_id() -> None:
    recorded = Recorded(busy()).feed([*stream(2, 200), *life(START + 26 * DAY_MS)])
    assert told(recorded, VERA, PHONE, LAPTOP) == [VERA, PHONE, LAPTOP]
    assert recorded.profile(VERA).origins == (PHONE, LAPTOP)
    assert recorded.profile(VERA).pendings
    at = START + 27 * DAY_MS
    recorded.feed([erased(VERA, at)])
    assert recorded.profile(VERA) == Profile(VERA, clock=at, contact=recorded.profile(VERA).contact, erased_at=at)
    assert recorded.profile(VERA).contact.consents == (("sms", False),), "an objection stays, a consent does not"
    for device in (PHONE, LAPTOP):
        assert recorded.profile(device) == Profile(device, clock=at, erased_at=at)
    assert {customer for _, customer, _ in recorded.run.partition.timers()}.isdisjoint({VERA, PHONE, LAPTOP})
    assert told(recorded, VERA, PHONE, LAPTOP) == []
    assert (recorded.run.counts["erased"], recorded.run.counts["erased_device"]) == (1, 2)


def test_the_past_stays_out_and_what_comes_after_starts_anew() -> None:
    at = START + DAY_MS
    recorded = Recorded(busy()).feed([*life(START), erased(VERA, at)])
    before = {name: recorded.profile(name) for name in (VERA, PHONE, LAPTOP)}
    past = [replace(event, id=f"late-{event.id}") for event in life(START + 1000)]
    recorded.feed([*past, *life(START)])
    late = {name: recorded.profile(name) for name in before}
    assert late == before, "late ones and repeats alike"
    assert told(recorded, VERA, PHONE, LAPTOP) == []
    recorded.feed([make(PageViewed, at + HOUR_MS, PHONE), order(at + HOUR_MS, VERA)])
    phone, vera = recorded.profile(PHONE), recorded.profile(VERA)
    assert (phone.linked, phone.activity.events, phone.erased_at) == ("", 1, at), "apart, until it is linked again"
    assert (vera.orders.count, vera.origins, vera.erased_at) == (1, (), at)
    recorded.feed([make(Linked, at + 2 * HOUR_MS, PHONE, user=VERA), make(PageViewed, START + 5, VERA, id="later")])
    assert recorded.profile(VERA).origins == (PHONE,)
    assert recorded.profile(VERA).activity.events == 2, "its new visit came along, an event of before did not"


@pytest.mark.parametrize("again", [1, 3])
def test_the_same_request_again_changes_nothing(again: int) -> None:
    request = erased(VERA, START + DAY_MS)
    recorded = Recorded(busy()).feed([*life(START), request])
    saved = recorded.run.snapshot(b"key")
    recorded.feed([request] * again)
    assert recorded.run.snapshot(b"key") == saved
    recorded.feed([order(START + 2 * DAY_MS, VERA)])
    alive = encode(recorded.profile(VERA))
    recorded.feed([request, make(ErasureRequested, START + DAY_MS, PHONE, user=VERA)])
    assert encode(recorded.profile(VERA)) == alive, "nor does it touch what came after it"


def test_a_device_that_is_erased_by_itself_leaves_its_user() -> None:
    at = START + DAY_MS
    recorded = Recorded(busy()).feed([*life(START), erased(PHONE, at)])
    assert recorded.profile(PHONE) == Profile(PHONE, clock=at, erased_at=at)
    assert recorded.profile(VERA).orders.count == 1, "what it had handed over is the user's"
    assert recorded.profile(VERA).origins == (LAPTOP,)
    assert told(recorded, VERA, PHONE, LAPTOP) == [VERA, LAPTOP]
    recorded.feed([make(PageViewed, at + 1, PHONE)])
    assert recorded.profile(PHONE).activity.events == 1, "it is nobody's device now"
    recorded.feed([make(Linked, at + 2, PHONE, user="u:another"), erased(VERA, at + 3)])
    assert recorded.profile(PHONE).linked == "u:another", "it is no device of Vera's any more"


def test_a_message_of_a_user_whom_the_device_has_left_is_void() -> None:
    """It was on its way while the device was erased, started anew and met another user."""
    at = START + DAY_MS
    recorded = Recorded(busy()).feed([*life(START), erased(PHONE, at), make(PageViewed, at + 1, PHONE)])
    recorded.feed([make(Linked, at + 2, PHONE, user="u:another")])
    recorded.feed([make(ErasureRequested, at + 3, PHONE, user=VERA), make(ErasureRequested, at + 4, PHONE, user="u:x")])
    assert recorded.profile(PHONE).linked == "u:another"
    assert recorded.run.counts["erasure_moot"] == 2


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("alive", [True, False])
def test_a_hand_over_to_an_erased_user_is_answered(alive: bool, readable: bool) -> None:
    at = START + DAY_MS
    recorded = Recorded(busy()).feed([erased(VERA, at), *([order(at + 5, VERA)] if alive else [])])
    guest = Recorded(busy()).feed(
        [order(at - 9, PHONE), make(ConsentChanged, at - 8, PHONE, granted=False, scope="sms")]
    )
    handed = make(HandedOver, at - 5, VERA, origin=PHONE, profile=encode(guest.profile(PHONE)) if readable else b"\xff")
    (step,) = recorded.run.engine.step(handed, recorded.profile(VERA), at + 9).messages
    assert step == ErasureRequested(
        id=f"{handed.id}>forget {PHONE}", customer=PHONE, occurred_at=at + 9, received_at=at + 9, user=VERA
    )
    recorded.feed([order(at - 9, PHONE), make(Linked, at + 10, PHONE, user=VERA)])
    assert is_tombstone(recorded.profile(PHONE)), "a device of before the erasure goes, too"
    assert recorded.profile(VERA).orders.count == alive
    assert recorded.profile(VERA).origins == ()
    recorded.feed([handed, handed])
    assert recorded.profile(VERA).contact.consents == ((("sms", False),) if readable else ())


def test_no_more_devices_than_can_be_reached() -> None:
    devices = [f"a:device-{number}" for number in range(ORIGINS_MAX + 3)]
    log: list[Event] = []
    for number, device in enumerate(devices):
        log += [
            make(PageViewed, START + 10 * number, device),
            make(Linked, START + 10 * number + 1, device, user=VERA),
        ]
    recorded = Recorded(busy()).feed(log)
    vera = recorded.profile(VERA)
    assert vera.origins == tuple(devices[3:])
    assert vera.activity.events == len(devices), "nothing that they knew is lost"
    assert [is_tombstone(recorded.profile(device)) for device in devices[:4]] == [True, True, True, False]
    recorded.feed([make(PageViewed, START + HOUR_MS, devices[0]), make(PageViewed, START + HOUR_MS, devices[5])])
    assert recorded.profile(devices[0]).activity.events == 1
    assert recorded.profile(VERA).activity.events == len(devices) + 1
    recorded.feed([make(Linked, START + 2 * HOUR_MS, devices[0], user=VERA)])
    assert recorded.profile(VERA).activity.events == len(devices) + 2, "linked again, it comes along again"
    recorded.feed([erased(VERA, START + DAY_MS)])
    assert told(recorded, VERA, *devices) == []


def test_what_becomes_of_messages_of_before_the_erasure_brings_nobody_back() -> None:
    at = START + DAY_MS
    recorded = Recorded(busy()).feed([*life(START), erased(VERA, at)])
    recorded.feed(
        [
            make(OutcomeReported, at + 1, VERA, outcome="opened", trigger="t"),
            make(DecisionExposed, at + 2, VERA, decision="d"),
            make(ContactSuppressed, at + 3, VERA, trigger="t"),
            make(OutcomeReported, at + 4, VERA, outcome="unsubscribed", channel="email"),
            make(Unlinked, at + 5, VERA, origin=PHONE),
        ]
    )
    assert is_tombstone(recorded.profile(VERA))
    assert recorded.profile(VERA).contact.consents == (("sms", False), ("email", False)), "but an objection counts"
    recorded.feed([order(at + 6, VERA), make(OutcomeReported, at + 7, VERA, outcome="opened", trigger="t")])
    assert recorded.profile(VERA).contact.outcomes == (0, 1, 0), "of who is back it counts"


def test_a_tombstone_runs_out() -> None:
    at = START + DAY_MS
    until = at + 2 * DAY_MS
    log = [*life(START), erased(VERA, at), make(ConsentChanged, at, VERA, granted=False, scope="*")]
    recorded = Recorded(remembered(2)).feed([*log, make(PageViewed, until - 1, "u:other")])
    recorded.feed([order(at, VERA, number="1")])
    assert is_tombstone(recorded.profile(VERA))
    recorded.feed([tick(until)])
    assert told(recorded, VERA) == []
    recorded.feed([order(at, VERA, number="2")])
    vera = recorded.profile(VERA)
    assert (vera.orders.count, vera.erased_at, vera.contact.consents) == (1, 0, ()), "nothing is remembered any more"


def test_who_is_back_loses_the_mark_when_its_time_is_over() -> None:
    at = START + DAY_MS
    recorded = Recorded(remembered(2)).feed([*life(START), erased(VERA, at), order(at + HOUR_MS, VERA)])
    recorded.feed([make(PageViewed, at, VERA, id="1"), make(PageViewed, at + 2 * DAY_MS - 1, VERA, id="2")])
    assert (recorded.profile(VERA).erased_at, recorded.profile(VERA).activity.events) == (at, 2)
    recorded.feed([make(PageViewed, at + 2 * DAY_MS, VERA, id="3"), make(PageViewed, at, VERA, id="4")])
    assert (recorded.profile(VERA).erased_at, recorded.profile(VERA).activity.events) == (0, 4)


@pytest.mark.parametrize("days", [1, 400])
@pytest.mark.parametrize("cut", [15, 16, 20, 25])
def test_a_run_that_goes_on_knows_the_erased(cut: int, days: int) -> None:
    """A saved state names the erased by a keyed hash only, and the run that goes on from it decides alike."""
    at = START + DAY_MS
    log = [
        *life(START),
        erased(VERA, at),
        order(at - 5, VERA, number="late"),
        make(PageViewed, at - 4, PHONE, id="late"),
        make(ConsentChanged, at - 3, VERA, granted=False, scope="push"),
        *stream(3, 30),
        make(Linked, at + HOUR_MS, "a:tablet", user=VERA),
        order(START + 40 * DAY_MS, VERA, number="new"),
        order(at - 5, VERA, number="later still"),
        add(START + 40 * DAY_MS + 1, PHONE),
    ]
    whole = Recorded(remembered(days)).feed(log, START + 60 * DAY_MS)
    first = Recorded(remembered(days)).feed(log[:cut])
    saved = first.run.snapshot(b"key")
    second = Recorded(remembered(days))
    second.run.restore(saved, b"key")
    assert second.run.snapshot(b"key") == saved
    second.feed(log[cut:], START + 60 * DAY_MS)
    assert second.run.snapshot(b"key") == whole.run.snapshot(b"key")
    assert first.decisions + second.decisions == whole.decisions
    assert whole.profile(VERA).orders.count == (1 if days == 400 else 2)


people = st.sampled_from(["u:1", "u:2", "a:1", "a:2", "a:3"])
moments = st.integers(0, 40)


@hypothesis_settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.sampled_from("peelLco"), people, people, moments), max_size=40), st.sampled_from([1, 400]))
def test_no_message_leads_in_a_circle(told: list[tuple[str, str, str, int]], days: int) -> None:
    """Whatever happens in whatever order, an event leads to few messages, and theirs lead to none but an answer."""
    recorded = Recorded(remembered(days))
    most = 0
    for number, (kind, customer, other, hours) in enumerate(told):
        at, name = START + hours * HOUR_MS, f"e{number}"
        events: dict[str, Event] = {
            "p": make(PageViewed, at, customer, id=name),
            "e": make(ErasureRequested, at, customer, id=name),
            "L": make(Linked, at, customer, id=name, user=other),
            "l": make(Linked, at, "a:1", id=name, user="u:1"),
            "c": make(ConsentChanged, at, customer, id=name, granted=False),
            "o": order(at, customer, number=name, id=name),
        }
        depth = 0
        for step in recorded.run.feed([events[kind]]):
            depth += len(step.messages)
        most = max(most, depth)
        for profile in recorded.run.profiles.values():
            assert all(recorded.run.profiles[origin].linked == profile.customer for origin in profile.origins)
            if profile.linked:
                assert profile.customer in recorded.run.profiles[profile.linked].origins
    assert most <= 3, "one for each device, or a hand-over and its answer"
