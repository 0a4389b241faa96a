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


def sections() -> dict[str, str]:
    """The examples in the page on campaigns, by the title above each."""
    page = (ROOT / "docs" / "campaigns.md").read_text(encoding="utf-8")
    found = {}
    for section in page.split("\n### ")[1:]:
        title, _, text = section.partition("\n")
        found[title] = "\n".join(part.partition("```")[0] for part in text.split("```toml\n")[1:])
    return found


@pytest.mark.parametrize("title", sections())
def test_an_example_in_the_docs_is_valid(title: str) -> None:
    assert read(sections()[title], title).campaigns.all()


def test_the_docs_and_the_file_of_all_campaigns_say_the_same() -> None:
    """But for mode and holdout, which the page leaves to their defaults, and comments."""
    file = (ROOT / "examples" / "all-campaigns.toml").read_text(encoding="utf-8")
    written = {c.config.id: c for c in read(file).campaigns.all()}
    shown = {c.config.id: c for text in sections().values() for c in read(text).campaigns.all()}
    assert shown.keys() <= written.keys()
    assert (
        {c.config.signal for c in shown.values()} == {c.config.signal for c in written.values()} > {"joined", "churned"}
    )
    for name, campaign in shown.items():
        assert campaign.conditions == written[name].conditions
        assert (campaign.delay_ms, campaign.stay_ms) == (written[name].delay_ms, written[name].stay_ms)
        assert {a.id for a in campaign.config.actions} <= {a.id for a in written[name].config.actions}


def test_the_shipped_example_is_the_one_in_the_checkout() -> None:
    assert example_text() == (ROOT / "examples" / "campaigns.toml").read_text(encoding="utf-8")
