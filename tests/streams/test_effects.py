"""``rapport effect`` and ``rapport backtest``: what programs read is whole, and exit codes tell what happened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.streams.conftest import ROOT, Rapport

ALL = ROOT / "examples" / "all-campaigns.toml"
LONGER = 2_000  # than a line for people is cut to


@pytest.fixture(scope="session")
def campaigns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All campaigns, and more holdouts than anybody would want."""
    path = tmp_path_factory.mktemp("campaigns") / "all.toml"
    path.write_text(ALL.read_text().replace("holdout = 0.1", "holdout = 0.5"))
    return path


def test_an_effect_as_json_is_whole(rapport: Rapport, shop_file: Path, campaigns: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert rapport("replay", shop_file, "-c", campaigns, "--unsorted", "1d", "--advance", "30d", "-o", out).code == 0
    ended = rapport("effect", out, "--json")
    assert (ended.code, len(ended.out) > LONGER) == (0, True)
    found = json.loads(ended.out)
    lines = (out / "decisions.jsonl").read_text().splitlines()
    decisions = [line for line in map(json.loads, lines) if "arm" in line]
    assert set(found["campaigns"]) - {"*"} == {decision["campaign"] for decision in decisions}
    for campaign, one in found["campaigns"].items():
        low, high = one["interval"]
        assert -1 <= low <= high <= 1
        persons = {d["customer"] for d in decisions if d["campaign"] == campaign or campaign == "*"}
        assert one["treated"]["persons"] + one["holdout"]["persons"] + one["open"] <= len(persons)
    assert found["unsent"] == [str(out)], "nobody was sent anything there"


def test_a_backtest_as_json_is_whole_and_claims_no_effect(rapport: Rapport, shop_file: Path, campaigns: Path) -> None:
    ended = rapport("backtest", campaigns, shop_file, "--unsorted", "1d", "--as-live", "--json")
    assert (ended.code, len(ended.out) > LONGER) == (0, True)
    found = json.loads(ended.out)
    assert found["effect"] is None
    sent = [one["sent"]["total"] for one in found["campaigns"].values()]
    assert found["together"]["total"] == sum(sent)
    assert sum(sent) > 10
    for one in found["campaigns"].values():
        assert sum(one["days"].values()) == one["sent"]["total"]


def test_what_cannot_be_read_is_told(rapport: Rapport, shop_file: Path, campaigns: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.jsonl"
    nothing.write_text("no event\n")
    assert rapport("effect", tmp_path / "nowhere").code == 1
    assert rapport("effect", nothing).code == 1
    assert rapport("backtest", campaigns, nothing).code == 1
    assert rapport("backtest", tmp_path / "nowhere.toml", shop_file).code == 1
    assert rapport("effect", tmp_path, "--at", "yesterday").code == 2
