"""The demonstration without a stream: shop and engine in this process, and the engine's figures at the end."""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from models.profile.journey import STAGES
from models.simulator.config import DAY_MS, ShopConfig
from schemas.decisions import Decision
from streams import summary
from streams.closed_loop import Loop
from streams.figures import figures
from streams.replay import Report
from streams.sources import Sources

from . import common
from .examples import example_settings

SHOWN = 12


def run(config: ShopConfig, campaigns: Path | None) -> None:
    """Run it, and show the figures."""
    settings = common.settings(campaigns) if campaigns else example_settings()
    loop = Loop(config, settings)
    days = config.days
    start = loop.world.now_ms
    until = start + days * DAY_MS
    latest: deque[Decision] = deque(maxlen=SHOWN)
    started = time.perf_counter()
    stopped = False
    try:
        if common.out.is_terminal:
            with Live(console=common.out, refresh_per_second=8, transient=True) as live:
                for at, sent in loop.live(until):
                    latest.extend(sent)
                    live.update(
                        _screen(loop, latest, (at - start) / (until - start), at, time.perf_counter() - started)
                    )
        else:
            _follow(loop, until)
    except KeyboardInterrupt:
        stopped = True
    seconds = time.perf_counter() - started
    sources = Sources((), loop.intake)
    sources.records = sources.events = loop.events
    sources.first_at, sources.last_at = start, loop.world.now_ms
    sources.notes = loop.notes
    summary.show(Report(loop.run, sources, seconds, figures(loop.run, sources, stopped), stopped), common.out)


def _follow(loop: Loop, until: int) -> None:
    """Without a terminal: one line a trigger, at most one a simulated day and campaign."""
    common.say("Simulated shop; the first trigger of each campaign and day:")
    shown: set[tuple[int, str]] = set()
    for at, sent in loop.live(until):
        for decision in sent:
            key = (at // DAY_MS, decision.campaign)
            if key not in shown:
                shown.add(key)
                common.say(f"{head(decision)}  because {because(decision)}")


def _screen(loop: Loop, latest: deque[Decision], share: float, at: int, seconds: float) -> Group:
    """What the terminal shows; fits into 80 columns and 24 lines, and shows more triggers where there is room."""
    counts = loop.run.counts
    rate = loop.events / max(seconds, 1e-9)
    title = Text(f"Simulated shop, {moment(at)}   {loop.events:,} events   {rate:,.0f} events/s", "bold")
    bar = Table.grid()
    bar.add_row(ProgressBar(total=1.0, completed=share, width=min(76, common.out.width - 2)))
    funnel = Table(*STAGES, box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="cyan")
    funnel.add_row(*(f"{counts[f'stage|{index}']:,}" for index in range(len(STAGES))))
    decided = Table(
        "campaign",
        "triggers",
        "held out",
        "suppressed",
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        header_style="cyan",
    )
    campaigns = loop.settings.campaigns.all()
    for campaign in campaigns:
        name = campaign.config.id
        stopped = sum(n for key, n in counts.items() if key.startswith(f"suppressed|{name}|"))
        decided.add_row(
            name, f"{counts[f'decided|{name}|treated']:,}", f"{counts[f'decided|{name}|holdout']:,}", f"{stopped:,}"
        )
    room = max(1, min(SHOWN, (common.out.height - 9 - len(campaigns)) // 2))
    lines = []
    for decision in list(latest)[: -room - 1 : -1]:
        lines.append(Text(head(decision), no_wrap=True, overflow="ellipsis"))
        lines.append(Text(f"    because {because(decision)}", "dim", no_wrap=True, overflow="ellipsis"))
    return Group(title, bar, funnel, _learned(loop), decided, Text("Triggers, the latest first", "cyan"), *lines)


def _learned(loop: Loop) -> Text:
    models = loop.run.learner.models.values()
    targets = [(model, target) for model in models for target in model.metrics]
    labels = sum(model.metrics[target].n for model, target in targets)
    answering = sum(model.ready(target) for model, target in targets)
    return Text(
        f"{labels:,} labels learned; a model answers for {answering} of {len(targets)} targets, a rule for the others"
    )


def head(decision: Decision) -> str:
    """A decision in one line."""
    action = decision.action
    return f"{moment(decision.issued_at)}  {decision.customer}  {decision.campaign} -> {action.id} by {action.channel}"


def because(decision: Decision) -> str:
    """Its three strongest reasons."""
    return "; ".join(reason.text for reason in decision.reasons[:3])


def moment(at: int) -> str:
    """A time, to the minute, UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M")
