"""The policy: each gate in its order, and each promise about contacts kept over whole streams."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.policy.campaigns import ActionConfig, Campaign, CampaignConfig, Campaigns, PolicyConfig, QuietHours
from models.policy.gates import Candidate, held_out, judge
from models.policy.ledger import Ledger
from models.policy.reading import Settings, read
from models.profile.contact import Contact, Contacted, consent, contacted
from schemas.base import DAY_MS, HOUR_MS, MINUTE_MS, Event
from schemas.clickstream import FormSubmitted, PageViewed, ProductViewed
from schemas.decisions import Decision
from schemas.identity import ErasureRequested, Identified, Linked
from schemas.outcomes import OutcomeReported
from tests.support import BUSY, START, Recorded, add, busy, make, order, stream

NIGHT = START + 22 * HOUR_MS
MORNING = START + DAY_MS + 7 * HOUR_MS + 15 * MINUTE_MS


def campaign(
    text: str = "", policy: str = "", name: str = "c", signal: str = "ordered", mode: str = "live"
) -> Settings:
    return read(
        f"""
        [policy]
        consent = "allow"
        {policy}
        [[campaign]]
        id = "{name}"
        signal = "{signal}"
        topic = "nudges"
        mode = "{mode}"
        {"" if "holdout" in text else "holdout = 0.0"}
        {"" if "actions" in text else 'actions = [{id = "mail", channel = "email"}]'}
        {text}
        """
    )


def orders(times: Sequence[int], customer: str = "u:1") -> list[Event]:
    return [order(at, customer) for at in times]


def reasons(recorded: Recorded) -> dict[str, int]:
    counts = recorded.run.counts
    return {key.partition("|")[2]: count for key, count in counts.items() if key.startswith("suppressed|")}


def test_the_first_gate_that_stops_names_the_reason() -> None:
    mail = ActionConfig(id="mail", channel="email", cost=1.0)
    config = CampaignConfig(id="c", signal="ordered", topic="nudges", actions=(mail,), mode="live", budget_per_day=0.5)
    night = QuietHours(start="21:30", end="07:15")
    policy = PolicyConfig(consent="deny", quiet_hours=night, kill=True)
    own = Campaign(config=config, conditions=(), caps=((1, HOUR_MS),), expires_ms=1, max_age_ms=1000, window_ms=1)
    all_caps = Campaigns(policy=policy, customer_caps=((1, HOUR_MS),), channel_caps={"email": ((1, HOUR_MS),)})
    contact = contacted(Contact(), Contacted("d", "c", "email", NIGHT - 1, 0, "t"))
    candidate = Candidate(
        campaign=own,
        action=mail,
        occurred_at=NIGHT - 1001,
        delay_ms=1001,
        expires_at=NIGHT,
        effect=0.1,
        value=1,
        gain=1,
    )
    found = []

    def judged() -> str:
        return judge(candidate, contact, all_caps, Ledger(), NIGHT).reason

    replace = msgspec.structs.replace
    found.append(judged())
    candidate = replace(candidate, occurred_at=NIGHT - 1000)
    found.append(judged())
    candidate = replace(candidate, delay_ms=1000)
    found.append(judged())
    candidate = replace(candidate, expires_at=NIGHT + 1)
    found.append(judged())
    policy = replace(policy, kill=False)
    all_caps = replace(all_caps, policy=policy)
    found.append(judged())
    contact = consent(contact, "email", True)
    found.append(judged())
    all_caps = replace(all_caps, policy=replace(policy, quiet_hours=None))
    found.append(judged())
    candidate = replace(candidate, campaign=replace(own, caps=()))
    found.append(judged())
    all_caps = replace(all_caps, channel_caps={})
    found.append(judged())
    all_caps = replace(all_caps, customer_caps=())
    found.append(judged())
    candidate = replace(candidate, action=replace(mail, cost=0.5))
    found.append(judged())
    expected = "stale stale expired killed consent quiet_hours cap_campaign cap_channel cap_customer budget"
    assert found == [*expected.split(), ""]


def test_what_was_suppressed_is_counted_once_with_its_reason() -> None:
    settings = campaign('caps = [{most = 1, within = "1h"}]')
    recorded = Recorded(settings).feed(orders([START, START + 1, START + 2]))
    assert reasons(recorded) == {"c|cap_campaign": 2}
    assert len(recorded.decisions) == 1


def test_two_actions_that_are_stopped_are_one_suppression() -> None:
    settings = campaign('actions = [{id = "mail", channel = "email"}, {id = "text", channel = "sms"}]', "kill = true")
    assert reasons(Recorded(settings).feed(orders([START]))) == {"c|killed": 1}


def test_an_action_that_may_go_goes_though_another_may_not() -> None:
    actions = (
        'actions = [{id = "mail", channel = "email", prior_effect = 0.9}, {id = "text", channel = "sms"}]\nvalue = 1'
    )
    silent = make(OutcomeReported, START - 5, outcome="unsubscribed", channel="email")
    recorded = Recorded(campaign(actions)).feed([silent, order(START)])
    assert [d.action.id for d in recorded.decisions] == ["text"]
    assert reasons(recorded) == {}


@pytest.mark.parametrize(("later", "sent"), [(0, 1), (HOUR_MS - 1, 1), (HOUR_MS, 2), (HOUR_MS + 1, 2)])
@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ('caps = [{most = 1, within = "1h"}]', ""),
        ("", 'customer_caps = [{most = 1, within = "60m"}]'),
        ("", 'channel_caps = {email = [{most = 1, within = "3600s"}]}'),
    ],
    ids=["campaign", "customer", "channel"],
)
def test_a_cap_slides_with_event_time(text: str, policy: str, later: int, sent: int) -> None:
    log = [order(START, number="a"), order(START + later, number="b", id="other")]
    assert len(Recorded(campaign(text, policy)).feed(log).decisions) == sent


moments = st.lists(st.integers(0, 5 * 24), min_size=1, max_size=25).map(sorted)


@given(moments, st.integers(1, 4), st.integers(1, 48))
def test_no_window_of_any_place_exceeds_its_cap(hours: list[int], most: int, within: int) -> None:
    """And what could have been sent was: the outcome is that of the greedy sender."""
    settings = campaign(f'caps = [{{most = {most}, within = "{within}h"}}]')
    log = [order(START + hour * HOUR_MS, number=f"o{n}", id=f"e{n}") for n, hour in enumerate(hours)]
    sent: list[int] = []
    for hour in hours:
        if sum(earlier > hour - within for earlier in sent) < most:
            sent.append(hour)
    decided = Recorded(settings).feed(log).decisions
    assert [(d.issued_at - START) // HOUR_MS for d in decided] == sent


@cache
def long_run() -> Recorded:
    return Recorded(busy()).feed(stream(8, 4000), START + 30 * DAY_MS)


def live(decisions: Sequence[Decision]) -> list[Decision]:
    return [d for d in decisions if d.arm != "shadow"]


def windows(decisions: Sequence[Decision], within: int) -> int:
    """The most decisions of one customer in any half-open window."""
    times = defaultdict(list)
    for decision in decisions:
        times[decision.customer].append(decision.issued_at)
    return max(sum(start <= at < start + within for at in held) for held in times.values() for start in held)


def test_no_cap_is_exceeded_in_a_long_stream() -> None:
    erased = {name for name, profile in long_run().run.profiles.items() if profile.erased_at}
    sent = [d for d in live(long_run().decisions) if d.customer not in erased]
    assert len(sent) > 500
    assert windows(sent, 3 * DAY_MS) == 4
    assert windows([d for d in sent if d.action.channel == "email"], DAY_MS) == 2
    assert windows([d for d in sent if d.campaign == "cart"], 12 * HOUR_MS) == 1


def test_shadows_never_loosen_a_live_cap() -> None:
    """The log of contacts is bounded; a shadow campaign that fires all the time must not push a contact out of it."""
    settings = read(
        """
        [policy]
        consent = "allow"
        [[campaign]]
        id = "live"
        signal = "ordered"
        topic = "nudges"
        mode = "live"
        holdout = 0.0
        caps = [{most = 1, within = "30d"}]
        actions = [{id = "mail", channel = "email"}]
        [[campaign]]
        id = "shadow"
        signal = "ordered"
        topic = "nudges"
        actions = [{id = "mail", channel = "email"}]
        """
    )
    recorded = Recorded(settings).feed(orders([START + n * HOUR_MS for n in range(200)]))
    assert [d.campaign for d in live(recorded.decisions)] == ["live"]
    assert sum(d.arm == "shadow" for d in recorded.decisions) == 200


def test_shadow_campaigns_change_nothing_for_live_ones() -> None:
    without = read(BUSY.replace('mode = "shadow"', 'mode = "off"'))
    alone = Recorded(without).feed(stream(8, 4000), START + 30 * DAY_MS)
    stripped = [msgspec.structs.replace(d, reasons=()) for d in live(long_run().decisions)]
    assert [msgspec.structs.replace(d, reasons=()) for d in alone.decisions] == stripped
    assert any(d.arm == "shadow" for d in long_run().decisions)


def test_a_holdout_is_sent_in_all_but_fact() -> None:
    """Ghost send: who is held out changes neither who is decided about nor when; caps and budget are used up alike."""

    def moments(holdout: float) -> tuple[list[str], Counter[str]]:
        text = BUSY.replace("global_holdout = 0.05", f"global_holdout = {holdout}")
        recorded = Recorded(read(text)).feed(stream(8, 3000), START + 30 * DAY_MS)
        return [d.id for d in recorded.decisions], Counter(d.arm for d in recorded.decisions)

    none, some = moments(0.0), moments(0.9)
    assert none[0] == some[0]
    assert some[1]["holdout"] > 2 * none[1]["holdout"] > 0


def test_holdouts_and_shadows_are_never_triggers() -> None:
    run = Recorded(busy()).run
    seen = Counter[str]()
    for step in run.feed(stream(8, 1500), START + 30 * DAY_MS):
        assert [d.arm for d in step.triggers] == ["treated"] * len(step.triggers)
        assert len(step.triggers) <= 1
        seen.update(d.arm for d in step.decisions)
    assert min(seen["treated"], seen["holdout"], seen["shadow"]) > 10


def test_one_winner_a_customer_and_moment_and_it_is_the_best() -> None:
    outranked = 0
    for decision in long_run().decisions:
        gains = [option.gain for option in decision.eligible]
        assert gains == sorted(gains, reverse=True)
        assert decision.gain == pytest.approx(gains[0], abs=1e-6)
        assert (decision.eligible[0].campaign, decision.eligible[0].action) == (decision.campaign, decision.action.id)
        others = {option.campaign for option in decision.eligible} - {decision.campaign}
        assert {name for name, reason in decision.suppressed.items() if reason == "outranked"} == others
        assert decision.campaign not in decision.suppressed
        outranked += len(others)
    by_moment = Counter((d.customer, d.source, d.arm == "shadow") for d in long_run().decisions)
    assert set(by_moment.values()) == {1}
    ids = [d.id for d in long_run().decisions]
    assert len(set(ids)) == len(ids)


def test_of_two_campaigns_on_one_signal_the_better_wins() -> None:
    text = campaign("value = 10").campaigns.by_signal["ordered"][0]
    assert text.config.value == 10
    settings = read(
        BUSY + '[[campaign]]\nid = "better"\nsignal = "ordered"\ntopic = "offers"\nmode = "live"\nvalue = 1000\n'
        'quiet_hours = false\nholdout = 0.0\nactions = [{id = "push", channel = "push"}]\n'
    )
    recorded = Recorded(settings).feed([order(START)])
    assert [d.campaign for d in recorded.decisions] == ["better"]
    assert recorded.decisions[0].suppressed == {"thanks": "outranked"}
    assert reasons(recorded) == {"thanks|outranked": 1}


SHARE = 0.2


@cache
def assigned() -> list[tuple[bool, bool]]:
    held = campaign(f"holdout = {SHARE}").campaigns.by_signal["ordered"][0]
    other = campaign(f"holdout = {SHARE}", name="other").campaigns.by_signal["ordered"][0]
    policy = PolicyConfig()
    return [(held_out(3, f"u:{n}", held, policy), held_out(3, f"u:{n}", other, policy)) for n in range(10_000)]


def test_the_share_held_out_is_right_and_independent_between_campaigns() -> None:
    """Four standard errors: fails by chance once in 16,000 seeds, and the seed stands."""
    size = len(assigned())
    error = 4 * (SHARE * (1 - SHARE) / size) ** 0.5
    assert sum(one for one, _ in assigned()) / size == pytest.approx(SHARE, abs=error)
    assert sum(other for _, other in assigned()) / size == pytest.approx(SHARE, abs=error)
    both = sum(one and other for one, other in assigned()) / size
    assert both == pytest.approx(SHARE**2, abs=4 * (SHARE**2 * (1 - SHARE**2) / size) ** 0.5)


def test_a_person_stays_in_one_arm_of_a_campaign() -> None:
    arms = defaultdict(set)
    for decision in long_run().decisions:
        arms[decision.customer, decision.campaign].add(decision.arm)
    assert all(len(held) == 1 for held in arms.values())
    assert {"treated"} in arms.values()
    assert {"holdout"} in arms.values()


def test_the_global_holdout_receives_nothing_from_anyone() -> None:
    settings = campaign("holdout = 0.1", "global_holdout = 0.3")
    policy, held = settings.campaigns.policy, settings.campaigns.by_signal["ordered"][0]
    people = [f"u:{n}" for n in range(5000)]
    free = msgspec.structs.replace(held, config=msgspec.structs.replace(held.config, holdout=0.0))
    globally = [held_out(1, person, free, policy) for person in people]
    assert sum(globally) / len(people) == pytest.approx(0.3, abs=0.026)
    assert all(held_out(1, person, held, policy) for person, out in zip(people, globally, strict=True) if out)
    assert [held_out(2, person, free, policy) for person in people] != globally, "another seed, another draw"


def test_the_known_users_assignment_counts_after_a_merge() -> None:
    settings = campaign("holdout = 0.5")
    held = settings.campaigns.by_signal["ordered"][0]
    device = next(f"a:{n}" for n in range(99) if held_out(1, f"a:{n}", held, PolicyConfig()))
    user = next(f"u:{n}" for n in range(99) if not held_out(1, f"u:{n}", held, PolicyConfig()))
    recorded = Recorded(settings).feed(
        [order(START, device), make(Linked, START + 1, device, user=user), order(START + 2, device)]
    )
    assert [(d.customer, d.arm, d.flag) for d in recorded.decisions] == [
        (device, "holdout", ""),
        (user, "treated", "mixed_history"),
    ]


def night(text: str = "", then: str = "defer", signal: str = "cart_left") -> Settings:
    return campaign(text, f'quiet_hours = {{start = "21:30", end = "07:15", then = "{then}"}}', signal=signal)


def test_what_falls_into_the_night_is_sent_in_the_morning() -> None:
    recorded = Recorded(night()).feed([add(NIGHT)], START + 3 * DAY_MS)
    assert [d.issued_at for d in recorded.decisions] == [MORNING]
    assert recorded.decisions[0].expires_at == NIGHT + HOUR_MS + DAY_MS, "counted from when the cart was left"
    assert reasons(recorded) == {"c|quiet_hours": 1}


def test_what_falls_into_the_night_is_dropped_where_so_configured() -> None:
    recorded = Recorded(night(then="drop")).feed([add(NIGHT)], START + 3 * DAY_MS)
    assert (recorded.decisions, reasons(recorded)) == ([], {"c|quiet_hours": 1})


def test_a_campaign_may_work_at_night() -> None:
    recorded = Recorded(night("quiet_hours = false")).feed([add(NIGHT)], START + 3 * DAY_MS)
    assert [d.issued_at for d in recorded.decisions] == [NIGHT + HOUR_MS]


def test_the_night_is_the_customers_own() -> None:
    tokyo = make(Identified, START, timezone="Asia/Tokyo")
    recorded = Recorded(night()).feed([tokyo, add(START + 12 * HOUR_MS)], START + 3 * DAY_MS)
    assert [d.issued_at - START for d in recorded.decisions] == [22 * HOUR_MS + 15 * MINUTE_MS], (
        "a quarter past 7 there"
    )


def test_what_is_deferred_may_expire() -> None:
    recorded = Recorded(night('expires_after = "5h"')).feed([add(NIGHT)], START + 3 * DAY_MS)
    assert (recorded.decisions, reasons(recorded)) == ([], {"c|quiet_hours": 1, "c|expired": 1})


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        ([order(NIGHT + 2 * HOUR_MS)], "moot"),
        ([add(MORNING - 30 * MINUTE_MS, product="q")], "moot"),
        ([make(OutcomeReported, NIGHT + 2 * HOUR_MS, outcome="unsubscribed", channel="email")], "consent"),
    ],
    ids=["bought", "back at it", "unsubscribed"],
)
def test_what_is_deferred_is_checked_again(later: list[Event], reason: str) -> None:
    recorded = Recorded(night()).feed([add(NIGHT), *later], MORNING)
    assert recorded.decisions == []
    assert reasons(recorded) == {"c|quiet_hours": 1, f"c|{reason}": 1}


@pytest.mark.parametrize(
    "later", [order(NIGHT + 3 * HOUR_MS), add(MORNING - 5 * MINUTE_MS)], ids=["bought", "in the cart"]
)
def test_a_browse_is_not_followed_up_once_it_led_on(later: Event) -> None:
    settings = night(signal="browse_left")
    browsed = make(ProductViewed, NIGHT - HOUR_MS, product="p")
    assert len(Recorded(settings).feed([browsed], MORNING).decisions) == 1
    assert Recorded(settings).feed([browsed, later], MORNING).decisions == []


def test_a_later_deferral_takes_the_place_of_an_earlier_one() -> None:
    recorded = Recorded(night()).feed([add(NIGHT), add(NIGHT + 4 * HOUR_MS)], START + 3 * DAY_MS)
    assert [d.issued_at for d in recorded.decisions] == [MORNING]
    assert recorded.decisions[0].expires_at == NIGHT + 5 * HOUR_MS + DAY_MS


def test_a_campaign_that_is_off_says_nothing() -> None:
    recorded = Recorded(campaign(mode="off")).feed(orders([START]))
    assert (recorded.decisions, reasons(recorded)) == ([], {})


def test_killed_campaigns_are_recorded_as_suppressed() -> None:
    recorded = Recorded(campaign(policy="kill = true")).feed(orders([START]))
    assert (recorded.decisions, reasons(recorded)) == ([], {"c|killed": 1})


def test_a_quiet_run_considers_nothing() -> None:
    recorded = Recorded(busy(), quiet=True).feed(stream(8, 600), START + 30 * DAY_MS)
    assert (recorded.decisions, reasons(recorded)) == ([], {})
    assert recorded.examples


@pytest.mark.parametrize(("delay", "reason"), [(HOUR_MS, ""), (HOUR_MS + 1, "stale"), (30 * DAY_MS, "stale")])
def test_a_backfill_does_not_send(delay: int, reason: str) -> None:
    recorded = Recorded(campaign()).feed([order(START, received_at=START + delay)])
    assert reasons(recorded) == ({"c|stale": 1} if reason else {})
    recorded = Recorded(campaign(signal="cart_left")).feed([add(START, received_at=START + delay)], START + DAY_MS)
    assert reasons(recorded) == ({"c|stale": 1} if reason else {}), "nor does a timer that rests on it"


def test_a_backfill_does_not_send_after_a_merge_either() -> None:
    late = START + 30 * DAY_MS
    log: list[Event] = [add(START, "a:1", received_at=late)]
    log.append(make(Linked, START + MINUTE_MS, "a:1", user="u:1", received_at=late))
    recorded = Recorded(campaign(signal="cart_left")).feed(log, START + DAY_MS)
    assert (recorded.decisions, reasons(recorded)) == ([], {"c|stale": 1})


def test_what_comes_late_is_stale() -> None:
    """Partition time has gone on meanwhile: the moment has passed, however fast the event arrived."""
    recorded = Recorded(campaign()).feed([make(PageViewed, START + 2 * HOUR_MS, "u:2"), order(START)])
    assert reasons(recorded) == {"c|stale": 1}


@pytest.mark.parametrize(("default", "sent"), [("allow", 1), ("deny", 0)])
def test_silence_on_consent_means_what_the_policy_says(default: str, sent: int) -> None:
    settings = read(
        f'[policy]\nconsent = "{default}"\n[[campaign]]\nid = "c"\nsignal = "ordered"\ntopic = "offers"\nmode = "live"\n'
        'holdout = 0.0\nactions = [{id = "m", channel = "email"}]'
    )
    assert len(Recorded(settings).feed([order(START)]).decisions) == sent


@pytest.mark.parametrize(
    ("budget", "cost", "most"), [(0.3, 0.1, 3), (0.05, 0.01, 5), (1.0, 0.3, 3), (0.0, 0.1, 0), (0, 0, 9)]
)
def test_a_budget_holds_for_a_day_and_all_customers(budget: float, cost: float, most: int) -> None:
    text = f'budget_per_day = {budget}\nactions = [{{id = "mail", channel = "email", cost = {cost}}}]'
    log = [order(START + day * DAY_MS + n, f"u:{n}") for day in range(2) for n in range(9)]
    recorded = Recorded(campaign(text)).feed(log)
    per_day = Counter((d.issued_at - START) // DAY_MS for d in recorded.decisions)
    assert per_day == ({0: most, 1: most} if most else {})
    assert reasons(recorded) == ({"c|budget": 2 * (9 - most)} if most < 9 else {})


def test_the_budget_of_a_long_stream_is_never_exceeded() -> None:
    per_day = Counter(d.issued_at // DAY_MS for d in long_run().decisions if d.campaign == "browse")
    assert max(per_day.values()) == 5
    assert any(d.arm == "holdout" for d in long_run().decisions if d.campaign == "browse")


def test_goals_are_credited_once_within_the_window_to_both_arms() -> None:
    settings = campaign("holdout = 0.5", signal="cart_left")
    held = settings.campaigns.by_signal["cart_left"][0]
    arms = {held_out(1, f"u:{n}", held, PolicyConfig()): f"u:{n}" for n in range(20)}
    assert set(arms) == {True, False}
    sent, end = START + HOUR_MS, START + HOUR_MS + 7 * DAY_MS
    for out, customer in arms.items():
        arm = "holdout" if out else "treated"
        for at, credited in (
            (sent, [(arm, 20.0, sent + 1)]),  # what happens at the very moment was no answer, the next order is
            (sent + 1, [(arm, 12.5, sent + 1)]),
            (end, [(arm, 12.5, end)]),
            (end + 1, []),
        ):
            log = [add(START, customer), order(at, customer, "12.5"), order(at + 1, customer, number="next")]
            recorded = Recorded(settings).feed(log)
            assert [(c.arm, c.value, c.occurred_at) for c in recorded.conversions] == credited


def test_every_conversion_answers_a_decision() -> None:
    decided = {d.id: d for d in long_run().decisions}
    windows = {"thanks": 2 * DAY_MS}
    for conversion in long_run().conversions:
        decision = decided[conversion.decision]
        assert conversion.arm == decision.arm
        within = windows.get(decision.campaign, 7 * DAY_MS)
        assert decision.issued_at < conversion.occurred_at <= decision.issued_at + within
    assert len({c.decision for c in long_run().conversions}) == len(long_run().conversions) > 200


@pytest.mark.parametrize(
    ("signal", "log"),
    [
        ("ordered", [order(START)]),
        ("contact_left", [make(FormSubmitted, START, contact=True), make(FormSubmitted, START + 1, contact=True)]),
        ("cart_left", [add(START)]),
        ("browse_left", [make(ProductViewed, START, product="p")]),
    ],
)
def test_signals_reach_their_campaign_once(signal: str, log: list[Event]) -> None:
    recorded = Recorded(campaign(signal=signal)).feed(log, START + DAY_MS)
    assert [d.signal for d in recorded.decisions] == [signal]


def test_the_record_says_why() -> None:
    settings = campaign('when = ["cart_value >= 10", "cart_lines == 1"]', signal="cart_left")
    (decision,) = Recorded(settings).feed([add(START)], START + DAY_MS).decisions
    assert [(r.feature, r.value) for r in decision.reasons] == [("cart_value", 20.0), ("cart_lines", 1.0)]
    assert decision.source == f"u:1|cart|{START + HOUR_MS}"
    assert (decision.effect_source, decision.propensity) == ("configured", 1.0)
    assert decision.scores
    assert set(decision.scores) == set(decision.models)
    assert Recorded(settings).feed([add(START, price="9.99")], START + DAY_MS).decisions == []


def test_an_erased_customer_is_not_contacted() -> None:
    log = [add(NIGHT), make(ErasureRequested, NIGHT + 2 * HOUR_MS)]
    recorded = Recorded(night()).feed(log, START + 3 * DAY_MS)
    assert recorded.decisions == []
