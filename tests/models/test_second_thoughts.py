"""What a second reader found: signals that got lost, words that were overridden, goals that were not reached."""

from __future__ import annotations

from models.policy.reading import read
from models.profile.contact import ALL, CONSENTS_MAX, Contact, consent, consented, merge
from schemas.base import DAY_MS, HOUR_MS, MINUTE_MS
from schemas.clickstream import PageViewed, ProductViewed, SignedUp
from schemas.identity import ConsentChanged, ErasureRequested, Linked
from schemas.outcomes import OutcomeReported
from tests.support import START, Recorded, add, make, order

CONFIG = """
[policy]
consent = "allow"
quiet_hours = {{start = "22:00", end = "08:00"}}

[[campaign]]
id = "c"
signal = "{signal}"
topic = "nudges"
mode = "live"
holdout = 0.0
goal = {{event = "{goal}", window = "7d"}}
actions = [{{id = "mail", channel = "email"}}]
"""


def config(signal: str, goal: str = "order") -> Recorded:
    return Recorded(read(CONFIG.format(signal=signal, goal=goal)))


NOON = START + 12 * HOUR_MS


def test_an_opened_mail_is_no_visit() -> None:
    opened = make(OutcomeReported, NOON + 3 * HOUR_MS, outcome="opened", channel="email")
    recorded = config("cart_left", "visit").feed([add(NOON), opened], NOON + DAY_MS)
    assert len(recorded.decisions) == 1
    assert not recorded.conversions
    came = make(PageViewed, NOON + 4 * HOUR_MS)
    assert config("cart_left", "visit").feed([add(NOON), opened, came], NOON + DAY_MS).conversions


def test_contact_left_within_a_visit_is_a_signal() -> None:
    log = [make(PageViewed, NOON), make(SignedUp, NOON + MINUTE_MS)]
    assert len(config("contact_left").feed(log).decisions) == 1


def test_who_browses_when_quiet_hours_end_is_left_alone_until_silent() -> None:
    night = START + 22 * HOUR_MS
    browsing = [make(ProductViewed, START + DAY_MS + 7 * HOUR_MS + n * 10 * MINUTE_MS, product="p") for n in range(8)]
    recorded = config("cart_left").feed([add(night), *browsing], START + 2 * DAY_MS)
    assert [d.issued_at for d in recorded.decisions] == [browsing[-1].occurred_at + HOUR_MS]
    assert recorded.run.counts["suppressed|c|moot"] == 1


def test_a_withdrawal_that_comes_after_the_erasure_still_counts() -> None:
    log = [
        make(ErasureRequested, NOON + 2),
        make(ConsentChanged, NOON + 1, granted=False, scope="email"),
        order(NOON + DAY_MS),
    ]
    assert not config("ordered").feed(log).decisions
    assert config("ordered").feed([log[0], log[2]]).decisions


def test_an_erased_user_inherits_the_objections_of_a_new_device() -> None:
    log = [
        make(ErasureRequested, NOON),
        make(ConsentChanged, NOON + HOUR_MS, "a:1", granted=False, purpose="profiling"),
        make(ConsentChanged, NOON + HOUR_MS + 1, "a:1", granted=False),
        make(Linked, NOON + HOUR_MS + 2, "a:1", user="u:1"),
        order(NOON + DAY_MS),
    ]
    recorded = config("ordered").feed(log)
    assert not recorded.decisions
    assert not recorded.profile().contact.profiling


def test_an_event_in_time_does_not_make_a_backfilled_cart_fresh() -> None:
    cart = add(NOON, received_at=NOON + 3 * DAY_MS)
    agreed = make(ConsentChanged, NOON + 5, granted=True)
    recorded = config("cart_left").feed([cart, agreed], NOON + DAY_MS)
    assert not recorded.decisions
    assert recorded.run.counts["suppressed|c|stale"] == 1


def test_a_late_report_does_not_make_a_cart_stale() -> None:
    report = make(OutcomeReported, NOON + 5, received_at=NOON + 5 * HOUR_MS, outcome="delivered", channel="email")
    assert config("cart_left").feed([add(NOON), report], NOON + DAY_MS).decisions


def test_a_merge_keeps_the_order_of_the_devices_words() -> None:
    device = consent(consent(Contact(), ALL, False), "email", True)
    assert consented(merge(Contact(), device), "email", False)
    assert not consented(merge(Contact(), device), "sms", True)
    refusing = consent(Contact(), "email", False)
    assert not consented(merge(refusing, device), "email", True)


def test_a_flood_of_withdrawals_does_not_hide_the_one_for_all() -> None:
    contact = consent(Contact(), ALL, False)
    for n in range(CONSENTS_MAX + 4):
        contact = consent(contact, f"channel-{n}", False)
    assert len(contact.consents) == CONSENTS_MAX
    assert not consented(contact, "email", True)


def test_an_order_from_before_the_cart_leaves_the_cart() -> None:
    recorded = config("cart_left").feed([add(NOON), order(NOON - HOUR_MS)], NOON + DAY_MS)
    assert len(recorded.decisions) == 1


def test_a_goal_reached_before_the_contact_is_not_its_own() -> None:
    log = [add(NOON), order(NOON + 30 * MINUTE_MS, received_at=NOON + 2 * HOUR_MS)]
    late = [log[0], make(PageViewed, NOON + 61 * MINUTE_MS, "u:2"), log[1]]
    recorded = config("cart_left").feed(late, NOON + DAY_MS)
    assert len(recorded.decisions) == 1
    assert not recorded.conversions


def test_a_browse_with_a_full_cart_is_not_left_as_a_browse() -> None:
    log = [add(NOON), make(ProductViewed, NOON + 5 * HOUR_MS, product="q")]
    assert not config("browse_left").feed(log, NOON + 9 * HOUR_MS).decisions
    assert config("browse_left").feed(log[1:], NOON + 9 * HOUR_MS).decisions
