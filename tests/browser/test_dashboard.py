"""The dashboard in a real browser, on an installation with a shop played in."""

from __future__ import annotations

import os
import signal
import statistics
from collections.abc import Callable

import pytest

from streams.ui.app import PAGES
from tests.browser.chromium import Watched
from tests.browser.installation import ROOT, TOKEN, Dashboard

pytestmark = [pytest.mark.browser, pytest.mark.live]

Visit = Callable[..., Watched]
SHOTS = ROOT / "screenshots"
SIZES = {"desktop": (1280, 850, "light"), "phone": (390, 844, "dark")}
MANY = 10_000
FEW = 300
FILLED = {
    "stream": "#partitions tbody tr >> nth=5",
    "funnel": "#stages tbody tr >> nth=5",
    "triggers": ".list .data >> nth=5",
    "models": "#table tbody tr >> nth=5",
    "customer": "#search",
    "campaigns": "#effects tbody tr >> nth=1",
}
FRAMES = """async steps => {
  const view = document.querySelector('.rows'), times = [];
  const far = Math.min(view.scrollHeight - view.clientHeight, 400 * 200);
  let last = null;
  for (let n = 0; n < steps; n += 1) {
    view.scrollTop = far * n / steps;
    const now = await new Promise(requestAnimationFrame);
    if (last !== null) times.push(now - last);
    last = now;
  }
  view.scrollTop = 0;
  return times;
}"""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PAGES)
def test_each_page_is_filled_sound_and_open_to_all(visit: Visit, dashboard: Dashboard, name: str, size: str) -> None:
    width, height, scheme = SIZES[size]
    watched = visit(width, height, scheme)
    page = watched.page
    watched.open(name)
    page.wait_for_selector(FILLED[name], state="attached")
    if name == "customer":
        page.fill("#id", dashboard.decisions()[-1].customer)
        page.click("#search button")
        page.wait_for_selector(".moments li")
    if name == "stream":
        dashboard.refuse()
        page.wait_for_selector("#reasons >> text=not_json")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    watched.picture(SHOTS, f"{name}-{size}")
    assert not watched.hurdles()
    if name == "triggers":
        page.click(".list .data >> nth=2")
        page.wait_for_selector("#record h3")
        watched.picture(SHOTS, f"decision-{size}")
        assert not watched.hurdles()


def test_the_log_in_page(visit: Visit) -> None:
    watched = visit(*SIZES["phone"], log_in=False)
    watched.page.goto(f"{watched.address}/triggers")
    assert watched.page.url.endswith("/login")
    watched.picture(SHOTS, "login-phone")
    assert not watched.hurdles()


def test_by_keyboard_from_the_log_in_to_the_kill_switch(visit: Visit, dashboard: Dashboard) -> None:
    watched = visit(log_in=False)
    page, press = watched.page, watched.page.keyboard.press
    page.goto(f"{watched.address}/login")
    page.wait_for_function("document.activeElement.id === 'token'")
    page.keyboard.type(TOKEN)
    press("Enter")
    page.wait_for_url("**/stream")
    watched.tab_to("a[href='/triggers']")
    press("Enter")
    page.wait_for_url("**/triggers")
    page.wait_for_selector(".list .data")
    watched.tab_to(".list .data")
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp"):
        press(key)
    chosen = page.evaluate("document.activeElement.getAttribute('aria-rowindex')")
    assert chosen == "4", "the head is row 1, and the third row of data is chosen"
    press("Enter")
    page.wait_for_selector("#record h3")
    record = page.inner_text("#record")
    for part in ("Why", "What else was possible", "What was stopped, and why"):
        assert part in record
    assert page.evaluate("document.activeElement.id") == "record"
    press("Escape")
    assert page.evaluate("document.activeElement.getAttribute('aria-rowindex')") == chosen
    assert not page.is_visible("#record")
    page.goto(f"{watched.address}/campaigns")
    page.wait_for_selector("#kill-button:not(:disabled)")
    for button, said, killed in (("Stop", "On", True), ("Let", "Off", False)):
        watched.tab_to("#kill-button")
        assert page.inner_text("#kill-button").startswith(button)
        press("Enter")
        page.wait_for_selector("#confirm[open]")
        assert page.evaluate("document.activeElement.id") == "confirm-no", "what does no harm comes first"
        assert dashboard.killed() is not killed
        if killed:
            watched.picture(SHOTS, "kill-desktop", whole=False)
            assert not watched.hurdles()
        watched.tab_to("#confirm-yes")
        press("Enter")
        page.wait_for_selector("#confirm:not([open])", state="attached")
        page.wait_for_function("said => document.querySelector('#kill-state').textContent.startsWith(said)", arg=said)
        assert dashboard.killed() is killed


def test_a_decision_appears_by_itself_and_filters_hold(visit: Visit, dashboard: Dashboard) -> None:
    watched = visit()
    page = watched.page
    watched.open("triggers")
    page.wait_for_selector(".list .data")
    [new] = dashboard.copies(1, "new")
    dashboard.decide([new])
    count = "() => Number(document.querySelector('#count').textContent.match(/last ([0-9,]+)/)[1].replaceAll(',', ''))"
    page.wait_for_function(f"wanted => ({count})() === wanted", arg=len(dashboard.decisions()))
    page.select_option("#campaign", new.campaign)
    assert set(page.locator(".list .data .name").all_inner_texts()) == {new.campaign}
    page.select_option("#arm", "holdout")
    assert set(page.locator(".list .data .arm").all_inner_texts()) <= {"held out"}


def test_an_erasure_asks_for_the_id_and_is_carried_out(visit: Visit, dashboard: Dashboard) -> None:
    watched = visit()
    page = watched.page
    customer = next(one.customer for one in dashboard.decisions() if one.customer.startswith("u:"))
    watched.open("customer")
    page.fill("#id", customer)
    page.click("#search button")
    page.click("text=Erase …")
    page.fill("#confirm", "u:another")
    assert page.is_disabled("#erase-yes")
    page.fill("#confirm", customer)
    watched.picture(SHOTS, "erase-desktop", whole=False)
    assert not watched.hurdles()
    page.click("#erase-yes")
    page.wait_for_selector("#erase:not([open])", state="attached")
    page.wait_for_selector("#said.good")
    again = "document.querySelector('#life').textContent.includes('Erased: nothing else is kept')"
    for _ in range(20):
        page.click("#search button")
        page.wait_for_function("() => document.querySelector('#search').getAttribute('aria-busy') === null")
        if page.evaluate(again):
            break
    assert page.evaluate(again)


def test_a_list_of_ten_thousand_stays_smooth(visit: Visit, dashboard: Dashboard) -> None:
    watched = visit()
    page = watched.page
    figures: dict[int, tuple[float, float, int]] = {}
    for wanted in (FEW, MANY):
        known = len(dashboard.decisions())
        dashboard.decide(dashboard.copies(max(0, wanted - known), f"many-{wanted}"))
        watched.open("triggers")
        page.wait_for_function(
            "wanted => Number(document.querySelector('.rows').getAttribute('aria-rowcount')) > wanted", arg=wanted - 1
        )
        times = sorted(page.evaluate(FRAMES, 200))
        elements = page.evaluate("document.querySelectorAll('*').length")
        figures[wanted] = statistics.median(times), times[int(0.95 * len(times))], elements
        rows = page.get_attribute(".rows", "aria-rowcount")
        print(
            f"\n{rows} rows: frame p50 {figures[wanted][0]:.1f} ms, p95 {figures[wanted][1]:.1f} ms, {elements} elements"
        )
    few, many = figures[FEW], figures[MANY]
    assert many[2] <= few[2] * 1.2
    assert many[0] <= few[0] * 2
    page.focus(".list .data[tabindex='0']")
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.getAttribute('aria-rowindex')") == page.get_attribute(
        ".rows", "aria-rowcount"
    )


def test_a_dashboard_that_stands_still_is_seen_to(visit: Visit, dashboard: Dashboard) -> None:
    watched = visit(*SIZES["desktop"])
    page = watched.page
    watched.open("stream")
    page.wait_for_selector(FILLED["stream"])
    os.kill(dashboard.process.pid, signal.SIGSTOP)
    try:
        page.wait_for_selector("#status[data-state=lost]")
        assert "disconnected" in page.inner_text("#status")
        assert "old" in page.inner_text("#trouble")
        watched.picture(SHOTS, "disconnected-desktop")
        assert not watched.hurdles()
    finally:
        os.kill(dashboard.process.pid, signal.SIGCONT)
    page.wait_for_selector("#status[data-state=live]")
    assert not page.is_visible("#trouble")


def test_a_store_that_is_away_makes_figures_stale(visit: Visit, dashboard: Dashboard) -> None:
    watched = visit(*SIZES["phone"])
    page = watched.page
    watched.open("campaigns")
    page.wait_for_selector(FILLED["campaigns"])
    dashboard.store.suspend()
    try:
        page.wait_for_selector("#status[data-state=stale]")
        page.wait_for_selector("#trouble >> text=State store")
        watched.picture(SHOTS, "stale-phone")
        assert not watched.hurdles()
    finally:
        dashboard.store.resume()
    page.wait_for_selector("#status[data-state=live]")
    assert not page.is_visible("#trouble")
