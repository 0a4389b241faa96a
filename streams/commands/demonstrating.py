"""``rapport demo``: the simulated shop on a stream."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from models.simulator.config import DAY_MS, ShopConfig
from streams.environment import from_environment
from streams.live_demo import LiveShop
from streams.stack import Stack

from . import common, demo_in_process
from .demo_in_process import SHOWN, because, head, moment


def demo(
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another shop.")] = 1,
    customers: Annotated[int, typer.Option(min=10, max=100_000, help="Customers who can become known.")] = 1000,
    days: Annotated[int, typer.Option(min=1, max=400, help="Days to live through.")] = 60,
    speed: Annotated[float, typer.Option(min=0.01, max=1000, help="Simulated days to a second.")] = 2.0,
    campaigns: Annotated[
        Path | None,
        typer.Option("--campaigns", "-c", metavar="FILE", help="Campaigns; the shipped example without it."),
    ] = None,
    in_process: Annotated[
        bool,
        typer.Option("--in-process", help="Without broker and store: the engine in this process, and its figures."),
    ] = False,
) -> None:
    """A simulated shop on a real stream: events go into Kafka topics, triggers come out, customers answer them.

    Brings up an embedded broker, a state store and a worker, plays the shop into the raw topics, shows the triggers as a
    subscriber sees them, and feeds back what they bring about. Takes a minute; Ctrl-C ends it early, and cleanly.

    Example: rapport demo --customers 300 --days 30 --speed 5
    """
    config = ShopConfig(seed=seed, customers=customers, days=days)
    if in_process:
        demo_in_process.run(config, campaigns)
        common.say(NEXT)
        return
    common.say("Bringing up broker, state store and worker ...", console=common.err)
    common.end_on_term()
    with Stack(None, campaigns) as stack:
        connection = from_environment({}, kafka=stack.kafka, redis=stack.redis)
        shop = LiveShop(connection.kafka, connection.redis, config, speed)
        started = time.perf_counter()
        stopped = False
        try:
            if common.out.is_terminal:
                with Live(console=common.out, refresh_per_second=8, transient=True) as live:
                    for at in shop.live():
                        live.update(_live_screen(shop, at, time.perf_counter() - started))
            else:
                _follow_live(shop)
        except KeyboardInterrupt:
            stopped = True
        seconds = time.perf_counter() - started
        _live_summary(shop, seconds, stopped)
    common.say(NEXT)


def _live_screen(shop: LiveShop, at: int, seconds: float) -> Group:
    """What the terminal shows while the stream runs."""
    config = shop.shop
    title = Text(
        f"Simulated shop, {moment(at)}   {shop.sent:,} events in   {shop.triggers.total():,} triggers out   "
        f"{shop.sent / max(seconds, 1e-9):,.0f} events/s",
        "bold",
    )
    share = (at - config.start_ms) / (config.days * DAY_MS)
    bar = Table.grid()
    bar.add_row(ProgressBar(total=1.0, completed=share, width=min(76, common.out.width - 2)))
    sent = Table("campaign", "triggers", box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="cyan")
    for campaign, count in sorted(shop.triggers.items()):
        sent.add_row(campaign, f"{count:,}")
    room = max(1, min(SHOWN, (common.out.height - 8 - len(shop.triggers)) // 2))
    lines = []
    for decision in list(shop.latest)[: -room - 1 : -1]:
        lines.append(Text(head(decision), no_wrap=True, overflow="ellipsis"))
        lines.append(Text(f"    because {because(decision)}", "dim", no_wrap=True, overflow="ellipsis"))
    return Group(title, bar, sent, Text("Triggers as a subscriber sees them, the latest first", "cyan"), *lines)


def _follow_live(shop: LiveShop) -> None:
    """Without a terminal: one line a trigger, at most one a simulated day and campaign."""
    common.say("Simulated shop on a stream; the first trigger of each campaign and day, as a subscriber sees it:")
    shown: set[tuple[int, str]] = set()
    known = 0
    for at in shop.live():
        fresh = shop.triggers.total() - known
        known += fresh
        for decision in list(shop.latest)[len(shop.latest) - min(fresh, len(shop.latest)) :]:
            key = (at // DAY_MS, decision.campaign)
            if key not in shown:
                shown.add(key)
                common.say(f"{head(decision)}  because {because(decision)}")


def _live_summary(shop: LiveShop, seconds: float, stopped: bool) -> None:
    ended = "stopped early" if stopped else "done"
    common.say(f"\n{ended}: {shop.sent:,} events in, {shop.triggers.total():,} triggers out, {seconds:.0f} s")
    for campaign, count in sorted(shop.triggers.items()):
        common.say(f"  {campaign:<24}{count:>7,}")
    if shop.first_after_s is not None:
        common.say(f"first trigger {shop.first_after_s:.1f} s after the first event; {shop.repeats} came twice")


NEXT = """
What to try next (in a checkout the command is .venv/bin/rapport)
  rapport simulate -o shop.jsonl.gz
      such a shop as a file of events
  rapport replay shop.jsonl.gz -c examples/campaigns.toml --unsorted 1d
      run it; triggers, decisions and figures go to rapport-out/
  rapport validate examples/campaigns.toml
      change a campaign, then check it
  rapport replay YOURS.jsonl -c examples/campaigns.toml
      your own Segment events"""
