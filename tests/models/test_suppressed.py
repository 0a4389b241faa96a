"""Laws of what is written down of campaigns that sent nothing: it agrees with the counts and with the decisions."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import NamedTuple

import pytest

from models.policy import conditions
from models.policy.durations import duration_ms
from schemas.base import DAY_MS
from schemas.decisions import Decision, Suppressed
from streams.run import Run
from tests.support import BUSY, START, busy, stream

# Whoever is in reach of two actions loses one of them to its channel's cap.
PUSHED = """
[[campaign]]
id = "two-ways"
signal = "cart_left"
topic = "nudges"
mode = "live"
value = 400
actions = [{id = "mail", channel = "email"}, {id = "ring", channel = "push", prior_effect = 0.01}]
"""


class Lived(NamedTuple):
    run: Run
    decisions: list[Decision]
    suppressed: list[Suppressed]


@pytest.fixture(scope="module")
def lived() -> Lived:
    decisions: list[Decision] = []
    suppressed: list[Suppressed] = []
    run = Run(busy(PUSHED), decisions.append, on_suppressed=suppressed.append)
    run.drain(stream(5, 4000), START + 40 * DAY_MS)
    return Lived(run, decisions, suppressed)


def test_it_agrees_with_the_counts(lived: Lived) -> None:
    counted = {key: n for key, n in lived.run.counts.items() if key.startswith("suppressed|")}
    gates = [one for one in lived.suppressed if not one.action and one.reason != "condition"]
    assert Counter(f"suppressed|{one.campaign}|{one.reason}" for one in gates) == counted
    assert {one.reason for one in lived.suppressed} >= {
        "condition",
        "consent",
        "quiet_hours",
        "cap_campaign",
        "cap_channel",
        "cap_customer",
        "budget",
        "outranked",
        "moot",
        "stale",
    }


def test_a_condition_is_one_of_the_campaigns_and_was_not_met(lived: Lived) -> None:
    campaigns = {one.config.id: one for one in lived.run.settings.campaigns.all()}
    found = [one for one in lived.suppressed if one.reason == "condition"]
    assert len(found) > 20
    for one in found:
        condition = conditions.parse(one.rule, "")
        assert condition in campaigns[one.campaign].conditions
        assert one.value is None or not condition.holds(one.value)


def test_a_cap_names_the_decisions_that_it_counted(lived: Lived) -> None:
    at = {decision.id: decision.issued_at for decision in lived.decisions}
    found = [one for one in lived.suppressed if one.reason.startswith("cap_")]
    assert len(found) > 50
    for one in found:
        most, _, within = one.rule.partition(" in ")
        assert len(one.by) == one.value
        assert len(one.by) >= int(most)
        assert all(one.at - duration_ms(within) < at[decision] <= one.at for decision in one.by)


def test_it_agrees_with_the_decisions_of_its_moment(lived: Lived) -> None:
    shadows = {c.config.id for c in lived.run.settings.campaigns.all() if c.config.mode == "shadow"}
    rows: dict[tuple[str, str, bool], dict[str, Suppressed]] = defaultdict(dict)
    for one in lived.suppressed:
        if not one.action and one.reason != "condition":
            rows[one.customer, one.source, one.campaign in shadows][one.campaign] = one
    outranked = 0
    for decision in lived.decisions:
        moment = rows[decision.customer, decision.source, decision.arm == "shadow"]
        assert {campaign: one.reason for campaign, one in moment.items()} == decision.suppressed
        for one in moment.values():
            assert one.at == decision.issued_at
            if one.reason == "outranked":
                outranked += 1
                assert one.by == (decision.id,)
    assert outranked > 5


def test_an_action_that_a_campaign_goes_on_without_is_written_down(lived: Lived) -> None:
    chosen = {(d.customer, d.source, d.campaign): d for d in lived.decisions}
    partly = [one for one in lived.suppressed if one.action]
    assert any(one.campaign == "two-ways" for one in partly)
    for one in partly:
        decision = chosen.get((one.customer, one.source, one.campaign))
        assert decision is None or decision.action.id != one.action


def test_what_quiet_hours_defer_says_until_when(lived: Lived) -> None:
    assert "quiet_hours" in BUSY
    deferred = [one for one in lived.suppressed if one.reason == "quiet_hours"]
    assert all(one.at < one.until <= one.at + DAY_MS for one in deferred)
    assert all(not one.until for one in lived.suppressed if one.reason != "quiet_hours")
