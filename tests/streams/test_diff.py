"""Two runs compared: what differs is found whole, told why, and by customer; a checker of its own says who is touched."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks import caps
from benchmarks.cap_changes import compared, named, shop
from models.policy.reading import read
from schemas.base import DAY_MS, HOUR_MS
from schemas.decisions import Action, Decision, Suppressed
from schemas.decisions import Candidate as Option
from streams.difference import Difference, Side, Told
from streams.differences import differences
from streams.diffing import Diff
from streams.replay import Options, Replay
from streams.results import RUN, SUPPRESSED
from streams.run_folder import RunFolder
from streams.settings_diff import changes

from .conftest import Rapport

UNCAPPED = """
[engine]
scoring_days = 1
[engine.churn]
honeymoon_days = 1
[engine.funnel]
browse_left_minutes = 60
[policy]
consent = "allow"
quiet_hours = {start = "22:00", end = "07:00"}
[[campaign]]
id = "browse"
signal = "browse_left"
topic = "nudges"
mode = "live"
holdout = 0.2
actions = [{id = "mail", channel = "email"}]
[[campaign]]
id = "cart"
signal = "cart_left"
topic = "nudges"
mode = "live"
expires_after = "36h"
actions = [{id = "mail", channel = "email"}]
[[campaign]]
id = "scored"
signal = "churn_risk"
topic = "offers"
mode = "live"
when = ["churn.late >= 0.2"]
actions = [{id = "text", channel = "sms"}]
"""
SCORED, POLICY = 'id = "scored"', 'consent = "allow"'


def capped(scored: int, customer: int = 3) -> str:
    """The campaigns with so many contacts of ``scored`` in a week, and so many of all in two."""
    text = UNCAPPED.replace(SCORED, f'{SCORED}\ncaps = [{{most = {scored}, within = "7d"}}]')
    return text.replace(POLICY, f'{POLICY}\ncustomer_caps = [{{most = {customer}, within = "14d"}}]')


Replayed = Callable[[str], RunFolder]


@pytest.fixture(scope="module")
def replayed(shop_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    """The shop, replayed with a configuration; each once."""
    done: dict[str, RunFolder] = {}

    def run(text: str) -> RunFolder:
        if text not in done:
            out = tmp_path_factory.mktemp("run")
            options = Options((str(shop_file),), read(text), out, advance_ms=20 * DAY_MS, configuration=text)
            assert Replay(options).run().complete
            done[text] = RunFolder(out)
        return done[text]

    return run


def found(a: RunFolder, b: RunFolder, **given: Any) -> list[Difference]:
    return [one for customer in Diff(a, b, **given) for one in customer]


def test_a_changed_cap_names_exactly_the_customers_that_it_touches(replayed: Replayed, shop_file: Path) -> None:
    old, new = capped(1), capped(2)
    decisions = caps.read(replayed(UNCAPPED).path / "decisions.jsonl")
    linked = caps.links(shop_file.read_text().splitlines())
    expected = caps.touched(decisions, tomllib.loads(old), tomllib.loads(new), linked)
    a, b = replayed(old), replayed(new)
    differences = found(a, b)
    assert {one.kind for one in differences} <= {"gone", "new", "moved"}
    assert named(a, b)[0] == expected
    assert 10 < len(expected) < len({decision["customer"] for decision in decisions})
    # what the changed cap did, and what its new contacts did to the customer's own cap
    assert {("cap_campaign", ""), ("cap_customer", "earlier")} <= {
        (one.reason, one.follows and "earlier") for one in differences
    }


def test_the_same_of_every_campaign_with_audiences_waits_and_two_actions(tmp_path: Path) -> None:
    events = shop(tmp_path / "shop.jsonl.gz", seed=4, customers=300, days=45)
    rows = list(compared(events, tomllib.loads(Path("examples/all-campaigns.toml").read_text()), tmp_path, "channel"))
    assert [row["change"] for row in rows] == ["tightened", "loosened"]
    for row in rows:
        assert row["named"] == row["touched"] > 10
        assert row["decisions_alike"]


def test_the_other_way_round_it_is_the_mirror_image(replayed: Replayed) -> None:
    a, b = replayed(capped(1)), replayed(capped(2))
    mirror = {"gone": "new", "new": "gone", "moved": "moved", "changed": "changed"}
    there = [(one.customer, one.kind, one.id, one.id_b, one.reason) for one in found(a, b)]
    back = [
        (one.customer, mirror[one.kind], one.id_b or one.id, one.id_b and one.id, one.reason) for one in found(b, a)
    ]
    assert sorted(there) == sorted(back)


def test_parts_of_any_size_give_the_same(replayed: Replayed) -> None:
    a, b = replayed(UNCAPPED), replayed(capped(1))
    whole = found(a, b)
    assert len({one.customer for one in whole}) > 10
    for at_once in (1, 50):
        assert found(a, b, at_once=at_once) == whole
    some = sorted({one.customer for one in whole})[3]
    assert found(a, b, only=[some]) == [one for one in whole if one.customer == some]


def test_each_reason_is_what_the_other_run_wrote_down(replayed: Replayed) -> None:
    a, b = replayed(UNCAPPED), replayed(capped(1))
    written = defaultdict(set)
    for line in (b.path / SUPPRESSED).read_bytes().splitlines():
        row = json.loads(line)
        written[row["customer"], row["campaign"]].add(row["reason"])
    gone = [one for one in found(a, b) if one.kind == "gone"]
    assert len(gone) > 30
    for one in gone:
        assert one.reason in written[one.customer, one.campaign]
        assert one.reason in one.why


def test_a_run_equals_itself(replayed: Replayed, rapport: Rapport) -> None:
    path = replayed(capped(1)).path
    ended = rapport("diff", path, path)
    assert (ended.code, ended.err) == (0, "")
    assert "no decision differs: " in ended.out
    assert rapport("diff", path, path, "--json").out == ""


def test_a_silence_that_is_longer_moves_what_rests_on_it(replayed: Replayed) -> None:
    a, b = replayed(UNCAPPED), replayed(UNCAPPED.replace("browse_left_minutes = 60", "browse_left_minutes = 75"))
    moved = [one for one in found(a, b) if one.campaign == "browse" and one.kind == "moved" and one.reason == "time"]
    assert len(moved) > 30
    assert {one.why for one in moved} == {"15m later in B: browse_left arose at another time"}
    # what quiet hours hold until morning comes at the same time
    assert {(one.kind, one.reason) for one in found(a, b)} == {("moved", "time"), ("changed", "source")}


def test_a_threshold_tells_the_value_that_did_not_meet_it(replayed: Replayed) -> None:
    a, b = replayed(UNCAPPED), replayed(UNCAPPED.replace("churn.late >= 0.2", "churn.late >= 0.9"))
    gone = found(a, b)
    assert gone
    for one in gone:
        assert (one.kind, one.campaign, one.reason) == ("gone", "scored", "condition")
        assert "condition churn.late >= 0.9 not met (0." in one.why


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            (UNCAPPED[UNCAPPED.index('[[campaign]]\nid = "cart"') : UNCAPPED.index('[[campaign]]\nid = "scored"')], ""),
            "absent",
        ),
        (
            (
                'id = "cart"\nsignal = "cart_left"\ntopic = "nudges"\nmode = "live"',
                'id = "cart"\nsignal = "cart_left"\ntopic = "nudges"\nmode = "off"',
            ),
            "off",
        ),
    ],
)
def test_a_campaign_that_is_not_there_is_said(change: tuple[str, str], reason: str, replayed: Replayed) -> None:
    gone = found(replayed(UNCAPPED), replayed(UNCAPPED.replace(*change)))
    assert {(one.kind, one.campaign, one.reason) for one in gone} == {("gone", "cart", reason)}
    assert {one.reason for one in found(replayed(UNCAPPED.replace(*change)), replayed(UNCAPPED))} == {reason}


def test_a_holdout_changes_the_arm_of_the_same_decision(replayed: Replayed) -> None:
    a, b = replayed(UNCAPPED), replayed(UNCAPPED.replace("holdout = 0.2", "holdout = 0.6"))
    assert {(one.kind, one.reason, one.arm_a, one.arm_b) for one in found(a, b)} == {
        ("changed", "arm", "treated", "holdout")
    }


def test_quiet_hours_that_end_let_go_of_what_they_deferred(replayed: Replayed) -> None:
    a, b = replayed(UNCAPPED), replayed(UNCAPPED.replace('quiet_hours = {start = "22:00", end = "07:00"}', ""))
    moved = [one for one in found(a, b) if one.kind == "moved" and one.reason == "quiet_hours"]
    assert len(moved) > 3
    assert all("earlier in B: in A quiet_hours: 22:00 to 07:00, deferred" in one.why for one in moved)


def test_a_run_of_an_older_version_is_compared_as_far_as_it_goes(
    replayed: Replayed, rapport: Rapport, tmp_path: Path
) -> None:
    a, old = replayed(UNCAPPED).path, tmp_path / "old"
    shutil.copytree(replayed(capped(1)).path, old)
    (old / RUN).unlink()
    (old / SUPPRESSED).unlink()
    ended = rapport("diff", a, old)
    assert ended.code == 1
    assert (
        "old has no suppressed.jsonl" in ended.out.replace(f"{tmp_path}/", "")
        or "B has no suppressed.jsonl" in ended.out
    )
    assert f"no run.json in {old}: written by an older version" in ended.out
    assert {one.reason for one in found(RunFolder(a), RunFolder(old)) if one.kind == "gone"} == {"unknown"}


def test_the_command_tells_what_differs_in_lines_and_in_words(replayed: Replayed, rapport: Rapport) -> None:
    a, b = replayed(capped(1)), replayed(capped(2))
    expected = found(a, b)
    customers = len({one.customer for one in expected})
    ended = rapport("diff", a.path, b.path, "--limit", 2)
    assert (ended.code, ended.err) == (1, "")
    assert (
        'configuration: [campaign scored] caps: [{"most":1,"within":"7d"}] -> [{"most":2,"within":"7d"}]' in ended.out
    )
    assert f"and {customers - 2} more customers: --limit {customers} shows all" in ended.out
    assert f"{len(expected)} differences of {customers} customers" in ended.out
    lines = [json.loads(line) for line in rapport("diff", a.path, b.path, "--json").out.splitlines()]
    assert [(line["customer"], line["id"], line["reason"]) for line in lines] == [
        (one.customer, one.id, one.reason) for one in expected
    ]
    one = expected[0].customer
    alone = rapport("diff", a.path, b.path, "--json", "--customer", one[2:])
    assert {json.loads(line)["customer"] for line in alone.out.splitlines()} == {one}
    nobody = rapport("diff", a.path, b.path, "--customer", "nobody")
    assert (nobody.code, "no decision differs: 0 decisions in each" in nobody.out) == (0, True)


def test_two_configurations_are_replayed_at_once(
    replayed: Replayed, rapport: Rapport, shop_file: Path, tmp_path: Path
) -> None:
    for name, browse in (("old.toml", 1), ("new.toml", 2)):
        (tmp_path / name).write_text(capped(browse))
    command = ("diff", tmp_path / "old.toml", tmp_path / "new.toml", "--on", shop_file, "--advance", "20d", "--json")
    ended = rapport(*command, "--keep", tmp_path / "kept")
    assert (ended.code, ended.err) == (1, "")
    folders = [replayed(capped(browse)).path for browse in (1, 2)]
    assert ended.out == rapport("diff", *folders, "--json").out
    assert (tmp_path / "kept" / "b" / "triggers.jsonl").read_bytes() == (folders[1] / "triggers.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere", "here"), "nowhere: found no such folder; name a folder that rapport replay wrote"),
        (("here", "here"), "here: found no metrics.json: no replay, or one cut short"),
        (("a.toml", "here"), "a.toml: found a configuration, and no events; name the events to replay with it: --on"),
        (("a.toml", "a.toml", "--on", "-"), "found standard input, which can be read once only"),
        (("a.toml", "a.toml", "--on", "none"), "none: found no such file"),
        (("here", "here", "--advance", "1d"), "name them with --on"),
    ],
)
def test_trouble_is_told_apart_from_a_difference(
    arguments: tuple[str, ...], said: str, rapport: Rapport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "a.toml").write_text(UNCAPPED)
    ended = rapport("diff", *arguments)
    assert ended.code == 2
    assert said in " ".join((ended.err + ended.out).replace("│", " ").split())


def decision(id: str, at: int, campaign: str = "c", **fields: Any) -> Decision:  # noqa: A002 - the field's name
    given: dict[str, Any] = {"action": Action(id="mail", channel="email"), "arm": "treated", "source": f"e{at}"}
    return Decision(
        id=id, customer="u:1", campaign=campaign, topic="nudges", issued_at=at, expires_at=at + DAY_MS,
        signal="ordered", effect=0.02, **{**given, **fields},
    )  # fmt: skip


def held(at: int, reason: str, campaign: str = "c", **fields: Any) -> Suppressed:
    return Suppressed(
        customer="u:1", campaign=campaign, at=at, signal="ordered", source=f"e{at}", reason=reason, **fields
    )


A, B = Side("A", engine="same"), Side("B", engine="same")


def test_a_cap_that_an_earlier_difference_used_up_follows_it() -> None:
    a = Told([decision("2", 5 * DAY_MS)], [held(0, "consent")])
    b = Told(
        [decision("1", 0), decision("3", 20 * DAY_MS)],
        [held(5 * DAY_MS, "cap_campaign", rule="1 in 7d", value=1.0, by=("1",))],
    )
    first, second, third = differences(a, b, (A, B))
    assert (first.kind, first.reason, first.follows) == ("new", "consent", "")
    assert (second.kind, second.reason, second.follows) == ("gone", "cap_campaign", "1")
    assert (third.kind, third.follows) == ("new", "")


def test_of_two_that_change_places_neither_follows_the_other() -> None:
    a = Told([decision("x", 0)], [held(0, "outranked", "d", rule="c, gain 2", by=("x",))])
    b = Told([decision("y", 0, "d")], [held(0, "outranked", rule="d, gain 3", by=("y",))])
    assert [(one.reason, one.follows) for one in differences(a, b, (A, B))] == [("outranked", "")] * 2
    # where the other was let in by something else, what it outranks follows
    a = Told(a.decisions, [held(0, "consent", "d")])
    assert {(one.reason, one.follows) for one in differences(a, b, (A, B))} == {("consent", ""), ("outranked", "y")}


def test_numbers_that_are_close_are_equal_and_others_tell_their_models() -> None:
    a, b = (Told([decision("1", 0, scores={"churn": p}, models={"churn": n})], []) for p, n in ((0.61, 7), (0.58, 9)))
    assert differences(a, b, (A, B), tolerance=0.05) == []
    (one,) = differences(a, b, (A, B))
    assert (one.kind, one.reason) == ("changed", "models")
    assert one.why == "scores.churn 0.61 -> 0.58 (models: 7 labels -> 9 labels)"
    # after another contact scores may differ of themselves, with the same engine
    before = decision("0", -HOUR_MS)
    assert differences(a, Told([before, *b.decisions], []), (A, B))[1].follows == "0"
    assert differences(a, Told([before, *b.decisions], []), (A, Side("B", engine="other")))[1].follows == ""


def test_another_action_tells_what_stopped_the_first() -> None:
    mail, text = Action(id="mail", channel="email"), Action(id="text", channel="sms")
    a, b = Told([decision("1", 0, action=text)], []), Told([decision("1", 0, action=mail)], [])
    assert differences(a, b, (A, B))[0].reason == "action"
    stopped = Told(b.decisions, [held(0, "cap_channel", action="text", rule="1 in 1d", value=1.0, by=("0",))])
    (one,) = differences(a, stopped, (A, B))
    assert (one.reason, "in B text cap_channel: 1 in 1d" in one.why) == ("cap_channel", True)
    options = (Option(campaign="c", action="mail", gain=2.0), Option(campaign="c", action="text", gain=1.0))
    ranked = Told([decision("1", 0, action=mail, eligible=options)], [])
    assert differences(a, ranked, (A, B))[0].reason == "gain"


def test_settings_are_told_apart_by_key_and_campaigns_by_id() -> None:
    a = '[policy]\nconsent = "deny"\n[[campaign]]\nid = "x"\nholdout = 0.1\n[[campaign]]\nid = "y"\n'
    b = '# said\n[[campaign]]\nid = "z"\n[[campaign]]\nid = "x"\nholdout = 0.2\n[engine]\nseed = 2\n'
    assert {str(change) for change in changes(a, b)} == {
        '[policy] consent: "deny" -> not set',
        "[campaign x] holdout: 0.1 -> 0.2",
        "[campaign y]: a campaign -> not set",
        "[campaign z]: not set -> a campaign",
        "[engine] seed: not set -> 2",
    }
    assert changes(a, a.replace("\n", " # a note\n")) == []


def test_a_longer_wait_moves_the_same_decision_however_far() -> None:
    at = {days: f"u:1|defer:c@0|{days * DAY_MS}" for days in (10, 20)}
    a, b = (Told([decision(f"{days}", days * DAY_MS, source=at[days])], []) for days in (10, 20))
    (one,) = differences(a, b, (A, B))
    assert (one.kind, one.reason, one.why) == ("moved", "wait", "10d later in B: the same ordered, wait 10d -> 20d")
    moot = Told([], [replace(held(20 * DAY_MS, "moot"), source=at[20])])
    (one,) = differences(a, moot, (A, B))
    assert (one.kind, one.reason) == ("gone", "moot")
    assert "moot: 20d after ordered, which was no longer true" in one.why


def test_a_leaving_follows_its_entering_and_is_matched_by_the_stay() -> None:
    entered = decision("e", 0, membership="entered")
    left = [replace(decision(f"l{days}", days * DAY_MS, membership="left"), signal="over") for days in (7, 14)]
    sides = (Side("A", {"c": {"stay": "7d"}}, engine="same"), Side("B", {"c": {"stay": "14d"}}, engine="same"))
    (one,) = differences(Told([entered, left[0]], []), Told([entered, left[1]], []), sides)
    assert (one.kind, one.why) == ("moved", "7d later in B: the stay was over (stay 7d -> 14d)")
    gone = differences(Told([entered, left[0]], []), Told([], [held(0, "member")]), (A, B))
    assert [(one.membership, one.reason, one.follows) for one in gone] == [
        ("entered", "member", ""),
        ("left", "membership", "e"),
    ]


def test_what_others_led_to_is_told_apart() -> None:
    known: dict[str, Any] = {"c": {"mode": "live", "signal": "ordered", "budget_per_day": 5}}
    sides = (Side("A", known, engine="same"), Side("B", known, engine="same"))
    one, other = (Told([decision("1", 0, scores={"churn": p})], []) for p in (0.6, 0.5))
    assert [found.follows for found in differences(one, other, sides)] == ["learning"]
    assert [found.follows for found in differences(one, other, (sides[0]._replace(learns=False), sides[1]))] == [""]
    assert [found.follows for found in differences(one, Told([], [held(0, "budget")]), sides)] == ["budget"]
    mixed = Told([decision("1", 0, scores={"churn": 0.6}, flag="mixed_history")], [])
    assert [found.follows for found in differences(one, mixed, sides)] == ["device"]
    # a condition that only one of the runs has is a cause of its own
    unmet = Told([], [held(0, "condition", rule="churn >= 0.9", value=0.6)])
    asks = sides[1]._replace(campaigns={"c": {**known["c"], "when": ["churn >= 0.9"]}})
    assert [found.follows for found in differences(one, unmet, (sides[0], asks))] == [""]
    assert [found.follows for found in differences(one, unmet, sides)] == ["learning"]


def test_lines_hold_what_the_docs_say(replayed: Replayed, rapport: Rapport) -> None:
    ended = rapport("diff", replayed(UNCAPPED).path, replayed(capped(1)).path, "--json")
    lines = [json.loads(line) for line in ended.out.splitlines()]
    always = {"kind", "customer", "campaign", "id", "at", "reason", "why"}
    sometimes = {"id_b", "arm_a", "arm_b", "membership", "fields", "follows"}
    assert len(lines) > 30
    for line in lines:
        assert always <= line.keys() <= always | sometimes
        assert line["kind"] in ("gone", "new", "moved", "changed")
    listed = [(line["customer"], line["at"]) for line in lines]
    assert listed == sorted(listed)
