"""``rapport simulate`` and ``rapport demo``: the shop with known truth."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from models.profile.journey import STAGES
from models.simulator.config import DAY_MS, ShopConfig
from models.simulator.shop import Shop
from models.simulator.truth import Oracle
from schemas.decisions import Decision
from streams import summary
from streams.closed_loop import Loop
from streams.connection import kafka_from_environment
from streams.files import STDIO
from streams.live_demo import LiveShop
from streams.replay import Report, figures
from streams.sources import Sources
from streams.stack import Stack

from . import common
from .examples import example_settings

SHOWN = 12
TRUTH_DAYS = 30


def simulate(
    out: common.EventsOut = STDIO,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another shop.")] = 1,
    customers: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Customers who can become known; guests come on top.")
    ] = 3000,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Days to live through.")] = 120,
    truth: Annotated[
        str | None,
        typer.Option(
            "--truth",
            metavar="FILE",
            help="Also write P(silent for 30 days | history) for each known customer and week (CSV).",
        ),
    ] = None,
) -> None:
    """Write the Segment events of a simulated shop whose truth is known.

    Example: rapport simulate -o shop.jsonl.gz

    Then: rapport replay shop.jsonl.gz -c examples/campaigns.toml --unsorted 1d

    In a pipe: rapport simulate --days 30 | rapport replay - -c examples/campaigns.toml
    """
    if truth == STDIO and out == STDIO:
        raise typer.BadParameter(
            "events and truth cannot both go to standard output: name a file with --out or --truth"
        )
    config = ShopConfig(seed=seed, customers=customers, days=days)
    shop = Shop(config)
    count = 0

    def lived() -> Iterator[bytes]:
        nonlocal count
        for day in range(1, days + 1):
            for line in shop.advance(config.start_ms + day * DAY_MS):
                count += 1
                yield line
            report(day)

    with common.days_lived(days, lambda: count) as report:
        common.written(out, lived())
    place = "standard output" if out == STDIO else out
    common.say(f"{count:,} events of {days} days, seed {seed}, written to {place}", console=common.err)
    if truth is not None:
        with common.err.status("true probabilities: following every history on"):
            points = common.written(truth, _truth(shop, days)) - 1
        common.say(f"{points:,} true probabilities written to {truth}", console=common.err)


def _truth(shop: Shop, days: int) -> Iterator[bytes]:
    config = shop.config
    shop.silence()
    oracle = Oracle(shop, days + TRUTH_DAYS)
    times = [config.start_ms + day * DAY_MS for day in range(7, days + 1, 7)]
    points = oracle.points(times, recent_days=TRUTH_DAYS)
    p = oracle.given_history(points, TRUTH_DAYS)
    yield b"customer,at_ms,horizon_days,p_silent"
    for point, chance in zip(points, p, strict=True):
        user = shop.population.persons[point.customer].user_id
        yield f"u:{user},{point.at_ms},{TRUTH_DAYS},{chance:.6f}".encode()


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
        bool, typer.Option("--in-process", help="Without broker and store: the engine in this process, and its figures.")
    ] = False,
) -> None:
    """A simulated shop on a real stream: events go into Kafka topics, triggers come out, customers answer them.

    Brings up an embedded broker, a state store and a worker, plays the shop into the raw topics, shows the triggers as a
    subscriber sees them, and feeds back what they bring about. Takes a minute; Ctrl-C ends it early, and cleanly.

    Example: rapport demo --customers 300 --days 30 --speed 5
    """
    config = ShopConfig(seed=seed, customers=customers, days=days)
    if in_process:
        _in_process(config, campaigns)
        return
    common.say("Bringing up broker, state store and worker ...", console=common.err)
    with Stack(None, campaigns) as stack:
        shop = LiveShop(kafka_from_environment({}, stack.kafka), config, speed)
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
    head = Text(
        f"Simulated shop, {_moment(at)}   {shop.sent:,} events in   {shop.triggers.total():,} triggers out   "
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
        lines.append(Text(_head(decision), no_wrap=True, overflow="ellipsis"))
        lines.append(Text(f"    because {_because(decision)}", "dim", no_wrap=True, overflow="ellipsis"))
    return Group(head, bar, sent, Text("Triggers as a subscriber sees them, the latest first", "cyan"), *lines)


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
                common.say(f"{_head(decision)}  because {_because(decision)}")


def _live_summary(shop: LiveShop, seconds: float, stopped: bool) -> None:
    ended = "stopped early" if stopped else "done"
    common.say(f"\n{ended}: {shop.sent:,} events in, {shop.triggers.total():,} triggers out, {seconds:.0f} s")
    for campaign, count in sorted(shop.triggers.items()):
        common.say(f"  {campaign:<24}{count:>7,}")
    if shop.first_after_s is not None:
        common.say(f"first trigger {shop.first_after_s:.1f} s after the first event; {shop.repeats} came twice")


def _in_process(config: ShopConfig, campaigns: Path | None) -> None:
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
    common.say(NEXT)


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


def _follow(loop: Loop, until: int) -> None:
    """Without a terminal: one line a trigger, at most one a simulated day and campaign."""
    common.say("Simulated shop; the first trigger of each campaign and day:")
    shown: set[tuple[int, str]] = set()
    for at, sent in loop.live(until):
        for decision in sent:
            key = (at // DAY_MS, decision.campaign)
            if key not in shown:
                shown.add(key)
                common.say(f"{_head(decision)}  because {_because(decision)}")


def _screen(loop: Loop, latest: deque[Decision], share: float, at: int, seconds: float) -> Group:
    """What the terminal shows; fits into 80 columns and 24 lines, and shows more triggers where there is room."""
    counts = loop.run.counts
    rate = loop.events / max(seconds, 1e-9)
    head = Text(f"Simulated shop, {_moment(at)}   {loop.events:,} events   {rate:,.0f} events/s", "bold")
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
        lines.append(Text(_head(decision), no_wrap=True, overflow="ellipsis"))
        lines.append(Text(f"    because {_because(decision)}", "dim", no_wrap=True, overflow="ellipsis"))
    return Group(head, bar, funnel, _learned(loop), decided, Text("Triggers, the latest first", "cyan"), *lines)


def _learned(loop: Loop) -> Text:
    models = loop.run.learner.models.values()
    targets = [(model, target) for model in models for target in model.metrics]
    labels = sum(model.metrics[target].n for model, target in targets)
    answering = sum(model.ready(target) for model, target in targets)
    return Text(
        f"{labels:,} labels learned; a model answers for {answering} of {len(targets)} targets, a rule for the others"
    )


def _head(decision: Decision) -> str:
    action = decision.action
    return f"{_moment(decision.issued_at)}  {decision.customer}  {decision.campaign} -> {action.id} by {action.channel}"


def _because(decision: Decision) -> str:
    return "; ".join(reason.text for reason in decision.reasons[:3])


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M")
