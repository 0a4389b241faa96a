"""Debian's chromium under playwright, and what a page did that it must not."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
VIOLATIONS = "document.addEventListener('securitypolicyviolation', e => console.error('CSP ' + e.violatedDirective));"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def missing() -> str:
    """Why there is no browser to drive; empty where there is one."""
    if program() is None:
        return "no chromium: apt-get install chromium, or name one in RAPPORT_CHROMIUM"
    for package in ("playwright", "axe_playwright_python"):
        if importlib.util.find_spec(package) is None:
            return f"no {package}: make install"
    return ""


def program() -> str | None:
    """The browser's path; none is ever downloaded."""
    return os.environ.get("RAPPORT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright  # only where there is one

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program(), headless=True, args=OPTIONS)
        try:
            yield found
        finally:
            found.close()


@dataclass
class Watched:
    """A page, and what it did.

    Attributes
    ----------
    errors
        Console errors and warnings, exceptions, violations of the content security policy.
    foreign
        Requests to anybody else.
    addresses
        All that it asked for.
    """

    page: Page
    address: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.add_init_script(VIOLATIONS)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._asked)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.type}: {message.text} at {message.location}")

    def _asked(self, request: Any) -> None:
        self.addresses.append(request.url)
        if urlsplit(request.url).netloc != urlsplit(self.address).netloc:
            self.foreign.append(request.url)

    def log_in(self, token: str) -> None:
        """By the form."""
        self.page.goto(f"{self.address}/login")
        self.page.fill("#token", token)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url("**/stream")

    def open(self, name: str) -> None:
        """Go to a page and wait until it is live."""
        self.page.goto(f"{self.address}/{name}")
        self.page.wait_for_selector("#status[data-state=live]")

    def hurdles(self) -> list[str]:
        """What axe finds that keeps people out."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page, options={"runOnly": {"type": "tag", "values": RULES}})
        return [
            f"{one['id']}: {one['help']}: {node['target']} {node.get('failureSummary', '')}"
            for one in found.response["violations"]
            for node in one["nodes"][:3]
        ]

    def tab_to(self, selector: str, most: int = 40) -> None:
        """Press Tab until the focus is where it should be."""
        for _ in range(most):
            self.page.keyboard.press("Tab")
            if self.page.evaluate("s => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(f"{selector} cannot be reached by Tab")

    def picture(self, folder: Path, name: str, whole: bool = True) -> None:
        """A screenshot of the whole page, or of what is in sight."""
        folder.mkdir(exist_ok=True)
        self.page.screenshot(path=folder / f"{name}.png", full_page=whole)
