"""The files that people start from are valid, and each of their campaigns can send."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.policy.reading import read
from streams.commands.examples import example_text

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_is_valid_and_live(file: Path) -> None:
    campaigns = read(file.read_text(encoding="utf-8"), file.name).campaigns.all()
    assert campaigns
    assert {campaign.config.mode for campaign in campaigns} == {"live"}


def test_the_shipped_example_is_the_one_in_the_checkout() -> None:
    assert example_text() == (ROOT / "examples" / "campaigns.toml").read_text(encoding="utf-8")
