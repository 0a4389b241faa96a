"""``rapport simulate`` and ``rapport demo``: the shop with known truth."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from models.policy.reading import Settings, read
from models.profile.journey import STAGES
from models.simulator.config import DAY_MS, ShopConfig
from models.simulator.shop import Shop
from models.simulator.truth import Oracle
from schemas.decisions import Decision
from streams import summary
from streams.closed_loop import Loop
from streams.files import STDIO, write_lines
from streams.replay import Report, figures
from streams.sources import Sources

from . import common

SHOWN = 12


def simulate(
    out: Annotated[str, typer.Option("--out", "-o", help="Where to write the events: FILE.jsonl, .jsonl.gz, .jsonl.zst; - is standard output.")] = STDIO,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another shop.")] = 1,
    customers: Annotated[int, typer.Option(min=1, max=1_000_000, help="Customers who can become known; guests come on top.")] = 3000,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Days to live through.")] = 120,
    truth: Annotated[str | None, typer.Option("--truth", help="Also write P(silent for 30 days | history) for each known customer and week (CSV).")] = None,
) -> None:
    """Write the Segment events of a simulated shop whose truth is known.

    Example: rapport simulate -o shop.jsonl.gz, then rapport replay shop.jsonl.gz -c examples/campaigns.toml
    """
    config = ShopConfig(seed=seed, customers=customers, days=days)
    shop = Shop(config)
    count = write_lines(out, _lived(shop, days))
    common.err.print(f"{count:,} events of {days} days, seed {seed}, written to {out}", highlight=False)
    if truth is not None:
        horizon = 30
        last_day = days
        shop.silence()
        oracle = Oracle(shop, last_day + horizon)
        times = [config.start_ms + day * DAY_MS for day in range(7, days + 1, 7)]
        points = oracle.points(times, recent_days=horizon)
        p = oracle.given_history(points, horizon)
        lines = [b"customer,at_ms,horizon_days,p_silent"]
        lines += [
            f"u:{shop.population.persons[point.customer].user_id},{point.at_ms},{horizon},{chance:.6f}".encode()
            for point, chance in zip(points, p, strict=True)
        ]
        write_lines(truth, lines)
        common.err.print(f"{len(points):,} true probabilities written to {truth}", highlight=False)


def _lived(shop: Shop, days: int) -> Iterator[bytes]:
    for day in range(1, days + 1):
        yield from shop.advance(shop.config.start_ms + day * DAY_MS)


def demo(
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another shop.")] = 1,
    customers: Annotated[int, typer.Option(min=10, max=100_000, help="Customers who can become known.")] = 1000,
    days: Annotated[int, typer.Option(min=1, max=400, help="Days to live through.")] = 100,
    campaigns: Annotated[Path | None, typer.Option("--campaigns", "-c", help="Campaigns; the shipped example without it.")] = None,
) -> None:
    """A simulated shop, live: events stream in, models learn, triggers go out and change what customers do next.

    Ends with the figures and what to try next. Ctrl-C ends it early.
    """
    settings = common.settings(campaigns) if campaigns else example()
    loop = Loop(ShopConfig(seed=seed, customers=customers, days=days), settings)
    start = loop.world.now_ms
    until = start + days * DAY_MS
    latest: deque[Decision] = deque(maxlen=SHOWN)
    started = time.perf_counter()
    try:
        if common.out.is_terminal:
            with Live(console=common.out, refresh_per_second=8, transient=True) as live:
                for at, sent in loop.live(until):
                    latest.extend(sent)
                    live.update(_screen(loop, latest, (at - start) / (until - start), at, time.perf_counter() - started))
        else:
            _follow(loop, until)
    except KeyboardInterrupt:
        common.out.print("stopped early; so far:")
    seconds = time.perf_counter() - started
    sources = Sources((), loop.intake)
    sources.records = sources.events = loop.events
    sources.first_at, sources.last_at = start, loop.world.now_ms
    sources.notes = loop.notes
    summary.show(Report(loop.run, sources, seconds, figures(loop.run, sources)), common.out)
    common.out.print(NEXT, highlight=False)


NEXT = """
[bold]What to try next[/] (in this checkout the command is .venv/bin/rapport)
  rapport simulate -o shop.jsonl.gz                        such a shop as a file of events
  rapport replay shop.jsonl.gz -c examples/campaigns.toml  run it; results in rapport-out/
  rapport validate examples/campaigns.toml                 change a campaign, then check it
  rapport replay YOURS.jsonl -c examples/campaigns.toml    your own Segment events"""


def example() -> Settings:
    """The campaigns that are shipped with the package."""
    source = files("streams") / "example_campaigns.toml"
    return read(source.read_text(encoding="utf-8"), "examples/campaigns.toml")


def _follow(loop: Loop, until: int) -> None:
    """Without a terminal: one line a trigger, at most one a simulated day and campaign."""
    shown: set[tuple[int, str]] = set()
    for at, sent in loop.live(until):
        for decision in sent:
            key = (at // DAY_MS, decision.campaign)
            if key not in shown:
                shown.add(key)
                common.out.print(_line(decision), highlight=False, soft_wrap=True)


def _screen(loop: Loop, latest: deque[Decision], share: float, at: int, seconds: float) -> Group:
    counts = loop.run.counts
    head = Text(f"Simulated shop, {_moment(at)}   {loop.events:,} events   {loop.events / max(seconds, 1e-9):,.0f} events/s", "bold")
    funnel = Text("   ".join(f"{stage} {counts[f'stage|{i}']:,}" for i, stage in enumerate(STAGES)), "cyan")
    decided = Table("campaign", "triggers", "held out", "suppressed", box=None, padding=(0, 2, 0, 0))
    for campaign in loop.settings.campaigns.all():
        name = campaign.config.id
        stopped = sum(n for key, n in counts.items() if key.startswith(f"suppressed|{name}|"))
        decided.add_row(name, f"{counts[f'decided|{name}|treated']:,}", f"{counts[f'decided|{name}|holdout']:,}", f"{stopped:,}")
    lines = [Text(_line(decision), no_wrap=True, overflow="ellipsis") for decision in reversed(latest)]
    return Group(head, ProgressBar(total=1.0, completed=share, width=60), funnel, decided, Text("\nTriggers, the latest first", "bold"), *lines)


def _line(decision: Decision) -> str:
    because = "; ".join(reason.text for reason in decision.reasons[:3])
    return f"{_moment(decision.issued_at)}  {decision.customer:<12} {decision.campaign} -> {decision.action.id} by {decision.action.channel}  because {because}"


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M")
