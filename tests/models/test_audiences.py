"""Audiences on the topic segments: who is in one is told once, and so is every leaving, whatever else is stopped."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

import pytest

from models.errors import ConfigError
from models.policy.gates import held_out
from models.policy.reading import Settings, read
from models.profile.profile import MEMBERSHIP
from schemas.base import DAY_MS, HOUR_MS, Event
from schemas.clickstream import ProductViewed
from schemas.decisions import Decision
from schemas.identity import ConsentChanged, ErasureRequested, Linked
from schemas.outcomes import OutcomeReported
from tests.support import START, Recorded, add, busy, make, order, stream

NOON = START + 12 * HOUR_MS
LEFT = NOON + HOUR_MS

AUDIENCE = """
[[campaign]]
id = "ads"
signal = "cart_left"
topic = "segments"
mode = "{mode}"
stay = "10d"
holdout = {holdout}
max_age = "2h"
actions = [{{id = "cart-leavers", channel = "ads", cost = 0.2}}]
"""
MAIL = """
[[campaign]]
id = "mail"
signal = "cart_left"
topic = "nudges"
mode = "live"
holdout = 0.0
actions = [{id = "mail", channel = "email"}]
"""


@cache
def audience(policy: str = "", more: str = "", mode: str = "live", holdout: float = 0.0) -> Settings:
    return read(f'[policy]\nconsent = "allow"\n{policy}\n{AUDIENCE.format(mode=mode, holdout=holdout)}{more}')


def told(recorded: Recorded) -> list[tuple[str, str, int]]:
    return [(d.membership, d.signal, d.issued_at) for d in recorded.decisions if d.membership]


def test_a_cart_left_enters_and_an_order_leaves() -> None:
    recorded = Recorded(audience()).feed([add(NOON), order(NOON + DAY_MS)], NOON + 90 * DAY_MS)
    assert told(recorded) == [("entered", "cart_left", LEFT), ("left", "ordered", NOON + DAY_MS)]
    entered, left = recorded.decisions
    assert entered.action.items == ("p",)
    assert (entered.action.id, left.action.id, left.topic) == ("cart-leavers", "cart-leavers", "segments")
    assert entered.id != left.id
    assert not any(kind.startswith(MEMBERSHIP) for kind, _ in recorded.profile().timers)
    assert recorded.conversions[0].decision == entered.id


def test_a_stay_ends_by_itself_and_starts_anew_with_the_signal() -> None:
    recorded = Recorded(audience()).feed([add(NOON)], NOON + 90 * DAY_MS)
    assert told(recorded)[1:] == [("left", "over", LEFT + 10 * DAY_MS)]
    again = Recorded(audience()).feed([add(NOON), add(NOON + 4 * DAY_MS)], NOON + 90 * DAY_MS)
    assert told(again) == [("entered", "cart_left", LEFT), ("left", "over", LEFT + 14 * DAY_MS)], "nobody enters twice"
    assert again.run.counts["suppressed|ads|member"] == 1


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (make(ConsentChanged, NOON + DAY_MS, granted=False, scope="ads"), "consent"),
        (make(ConsentChanged, NOON + DAY_MS, granted=False), "consent"),
        (make(OutcomeReported, NOON + DAY_MS, outcome="unsubscribed", channel="ads"), "consent"),
        (make(ErasureRequested, NOON + DAY_MS), "erased"),
    ],
    ids=["ads", "all", "unsubscribed", "erased"],
)
def test_who_says_no_or_is_erased_leaves_at_once(event: Event, why: str) -> None:
    recorded = Recorded(audience()).feed([add(NOON), event], NOON + 90 * DAY_MS)
    assert told(recorded) == [("entered", "cart_left", LEFT), ("left", why, NOON + DAY_MS)]
    kept = make(ConsentChanged, NOON + DAY_MS, granted=False, scope="email")
    assert told(Recorded(audience()).feed([add(NOON), kept]))[1:] == []


def test_ads_have_a_consent_of_their_own() -> None:
    refused = make(ConsentChanged, NOON - 1, granted=False, scope="email")
    assert told(Recorded(audience()).feed([refused, add(NOON)], LEFT))
    settings = audience('channel_consent = {ads = "deny"}', MAIL)
    recorded = Recorded(settings).feed([add(NOON)], LEFT)
    assert [d.campaign for d in recorded.decisions] == ["mail"]
    agreed = make(ConsentChanged, NOON - 1, granted=True, scope="ads")
    assert told(Recorded(settings).feed([agreed, add(NOON)], LEFT))


def test_an_audience_takes_nothing_from_messages_nor_they_from_it() -> None:
    policy = 'customer_caps = [{most = 1, within = "7d"}]\nquiet_hours = {start = "22:00", end = "23:00"}'
    log = [add(NOON), add(NOON + 2 * DAY_MS)]
    recorded = Recorded(audience(policy, MAIL)).feed(log, NOON + 3 * DAY_MS)
    assert [(d.campaign, d.issued_at) for d in recorded.decisions] == [("mail", LEFT), ("ads", LEFT)]
    assert recorded.run.counts["suppressed|mail|cap_customer"] == 1
    night = Recorded(audience(policy)).feed([add(START + 21 * HOUR_MS)], START + 22 * HOUR_MS)
    assert told(night), "no message, so nobody is woken"


def test_a_device_leaves_when_it_becomes_its_user() -> None:
    link = make(Linked, NOON + DAY_MS, "a:1", user="u:1")
    log = [add(NOON, "a:1"), link, order(NOON + 2 * DAY_MS)]
    recorded = Recorded(audience()).feed(log, NOON + 90 * DAY_MS)
    assert [(d.customer, d.membership, d.signal) for d in recorded.decisions] == [
        ("a:1", "entered", "cart_left"),
        ("a:1", "left", "linked"),
    ]


def test_who_is_held_out_leaves_as_silently() -> None:
    settings = audience(holdout=0.5)
    campaign = settings.campaigns.by_signal["cart_left"][0]
    out = next(f"u:{n}" for n in range(99) if held_out(1, f"u:{n}", campaign, settings.campaigns.policy))
    recorded = Recorded(settings).feed([add(NOON, out), order(NOON + DAY_MS, out)])
    assert [(d.arm, d.membership) for d in recorded.decisions] == [("holdout", "entered"), ("holdout", "left")]


def test_a_shadow_audience_has_shadow_members_only() -> None:
    recorded = Recorded(audience(mode="shadow")).feed([add(NOON), order(NOON + DAY_MS)])
    assert [(d.arm, d.membership) for d in recorded.decisions] == [("shadow", "entered"), ("shadow", "left")]


def test_an_audience_that_was_switched_off_lets_its_members_go() -> None:
    recorded = Recorded(audience()).feed([add(NOON)], LEFT)
    later = Recorded(audience(mode="off"))
    later.run.restore(recorded.run.snapshot())
    assert told(later.feed([order(NOON + DAY_MS)])) == [("left", "ordered", NOON + DAY_MS)]


def test_a_kill_holds_leavings_back_and_lets_them_go_later() -> None:
    recorded = Recorded(audience()).feed([add(NOON)], LEFT)
    recorded.run.engine.decider.killed = True
    recorded.feed([order(NOON + DAY_MS)])
    assert len(recorded.decisions) == 1
    recorded.run.engine.decider.killed = False
    recorded.feed([], NOON + 90 * DAY_MS)
    assert told(recorded)[1:] == [("left", "over", NOON + 2 * DAY_MS)]


def test_an_audience_has_one_name() -> None:
    text = AUDIENCE.format(mode="live", holdout=0.0).replace("0.2}", '0.2}, {id = "b", channel = "ads"}')
    with pytest.raises(ConfigError, match="one action"):
        read(text)


def test_in_a_long_stream_entering_and_leaving_alternate() -> None:
    extra = AUDIENCE.format(mode="live", holdout=0.3) + AUDIENCE.format(mode="live", holdout=0.0).replace(
        '"ads"\nsignal = "cart_left"', '"looked"\nsignal = "browse_left"'
    )
    recorded = Recorded(busy(extra)).feed(stream(8, 2500), START + 60 * DAY_MS)
    found: dict[tuple[str, str], list[Decision]] = defaultdict(list)
    for decision in recorded.decisions:
        if decision.membership:
            found[decision.customer, decision.campaign].append(decision)
    assert len(found) > 40
    for memberships in found.values():
        assert [d.membership for d in memberships] == ["entered", "left"] * (len(memberships) // 2)
        for entered, left in zip(memberships[::2], memberships[1::2], strict=True):
            assert (entered.arm, entered.action.id) == (left.arm, left.action.id)
    assert not any(kind.startswith(MEMBERSHIP) for p in recorded.run.profiles.values() for kind, _ in p.timers)
    whys = {d.signal for held in found.values() for d in held if d.membership == "left"}
    assert whys == {"ordered", "over", "linked", "consent", "erased"}


def test_messages_are_decided_as_if_there_were_no_audience() -> None:
    """But for the features that count contacts, and what depends on them."""
    log = [make(ProductViewed, NOON - 5, product="p"), add(NOON), add(NOON + 3 * DAY_MS), order(NOON + 9 * DAY_MS)]
    alone = read(f'[policy]\nconsent = "allow"\n{MAIL}')
    with_it = Recorded(audience("", MAIL)).feed(log, NOON + 90 * DAY_MS)
    without = Recorded(alone).feed(log, NOON + 90 * DAY_MS)
    assert [d.id for d in with_it.decisions if not d.membership] == [d.id for d in without.decisions]
