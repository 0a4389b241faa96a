"""One installation and one browser for all tests here; where there is no browser they are skipped, and say why."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser import chromium
from tests.browser.chromium import Watched
from tests.browser.installation import TOKEN, Dashboard, running

Visit = Callable[..., Watched]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium."""
    if reason := chromium.missing():
        if os.environ.get("RAPPORT_REQUIRE_BROWSER") == "1":
            pytest.fail(f"RAPPORT_REQUIRE_BROWSER is 1, but {reason}", pytrace=False)
        pytest.skip(reason)
    with chromium.browser() as found:
        yield found


@pytest.fixture(scope="session")
def dashboard(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """The dashboard of an installation into which a shop was played."""
    with running(tmp_path_factory.mktemp("installation")) as found:
        yield found


@pytest.fixture
def visit(browser: Any, dashboard: Dashboard) -> Iterator[Visit]:
    """Opens a browser of a size and a colour scheme, logged in; in the end it must have done nothing wrong."""
    visits: list[Watched] = []

    def make(width: int = 1280, height: int = 850, scheme: str = "light", log_in: bool = True) -> Watched:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
        )
        context.set_default_timeout(60_000)
        found = Watched(context.new_page(), dashboard.address)
        visits.append(found)
        if log_in:
            found.log_in(TOKEN)
        return found

    yield make
    for one in visits:
        errors, foreign = one.errors, one.foreign
        one.page.context.close()
        assert not errors
        assert not foreign
        assert not [url for url in one.addresses if "u:" in url or "u%3A" in url]
