"""The summary a person reads after a replay."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from models.profile.journey import STAGES
from schemas.base import DAY_MS, HOUR_MS, MINUTE_MS

from .replay import Report


def show(report: Report, console: Console) -> None:
    """Print funnel, triggers, suppressions and model figures."""
    metrics = report.metrics
    _head(report, console)
    _funnel(metrics, console)
    _campaigns(metrics, console)
    _suppressed(metrics, console)
    _models(metrics, console)
    _input(report, console)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", header_style="dim", no_wrap=index == 0)
    return table


def _head(report: Report, console: Console) -> None:
    given = report.metrics["input"]
    rate = given["events"] / report.seconds if report.seconds else 0.0
    span = ""
    if given["first_at"] is not None:
        days = (given["last_at"] - given["first_at"]) / DAY_MS
        span = f", {_day(given['first_at'])} to {_day(given['last_at'])} ({days:,.0f} days)"
    console.print(
        f"\n{given['events']:,} events of {given['customers']:,} customers{span}: "
        f"{report.seconds:,.1f} s, {rate:,.0f} events/s"
    )


def _funnel(metrics: dict[str, Any], console: Console) -> None:
    reached = metrics["funnel"]
    if not reached[0]:
        return
    table = _table("\nFunnel: journeys that reached each stage", "stage", "journeys", "of the stage before", "dropped out")
    for index, stage in enumerate(STAGES):
        if index == 0:
            table.add_row(stage, f"{reached[0]:,}", "", "")
        else:
            before = reached[index - 1]
            share = f"{reached[index] / before:.1%}" if before else "-"
            table.add_row(stage, f"{reached[index]:,}", share, f"{max(0, before - reached[index]):,}")
    console.print(table)
    left = metrics["left"]
    if any(left.values()):
        console.print(f"left behind: {left['browse']:,} browses, {left['cart']:,} carts, {left['checkout']:,} checkouts")


def _campaigns(metrics: dict[str, Any], console: Console) -> None:
    decided = metrics["decided"]
    if not decided:
        console.print("\nNo campaign decided anything: give some with --campaigns FILE.")
        return
    table = _table("\nDecisions by campaign", "campaign", "triggers", "held out", "shadow", "goals reached (t / h)")
    for campaign, arms in decided.items():
        goals = metrics["converted"].get(campaign, {})
        table.add_row(
            campaign,
            f"{arms.get('treated', 0):,}",
            f"{arms.get('holdout', 0):,}",
            f"{arms.get('shadow', 0):,}",
            f"{goals.get('treated', 0):,} / {goals.get('holdout', 0):,}",
        )
    console.print(table)


def _suppressed(metrics: dict[str, Any], console: Console) -> None:
    suppressed = metrics["suppressed"]
    if not suppressed:
        return
    reasons = sorted({reason for reasons in suppressed.values() for reason in reasons})
    table = _table("\nSuppressed, by the first gate that stopped them", "campaign", *reasons)
    for campaign, counts in suppressed.items():
        table.add_row(campaign, *(f"{counts[r]:,}" if r in counts else "" for r in reasons))
    console.print(table)


def _models(metrics: dict[str, Any], console: Console) -> None:
    models = metrics["models"]
    if not models:
        return
    table = _table(
        "\nPredictions whose label has come due, scored before they were learned from\n"
        "(lift: rate in the top tenth over the rate; now: who answers)",
        "target",
        "labels",
        "rate",
        "log loss",
        "null",
        "AUC",
        "ECE",
        "lift",
        "now",
    )
    for target, f in models.items():
        better = f["log_loss"] < f["null_log_loss"]
        table.add_row(
            target,
            f"{f['n']:,}",
            f"{f['base_rate']:.3f}",
            f"[green]{f['log_loss']:.4f}[/]" if better else f"{f['log_loss']:.4f}",
            f"{f['null_log_loss']:.4f}",
            "-" if f["auc"] is None else f"{f['auc']:.3f}",
            f"{f['ece']:.3f}",
            "-" if f["lift"] is None else f"{f['lift']:.2f}",
            "model" if f["in_use"] else "rule",
        )
    console.print(table)


def _input(report: Report, console: Console) -> None:
    given, sources = report.metrics["input"], report.sources
    for reason, n in given["dead_letters"].items():
        letter = sources.first_dead[reason]
        console.print(
            f"[yellow]{n:,} records refused ({reason})[/]; the first, {letter.origin}: "
            f"{letter.field}: found {letter.found}; {letter.remedy}",
            markup=True,
            highlight=False,
        )
    for note, n in given["repairs"].items():
        console.print(f"note: {n:,} x {note}", highlight=False)
    if given["out_of_order"]:
        console.print(
            f"note: {given['out_of_order']:,} events came after a later one, up to "
            f"{_span(given['furthest_out_of_order_ms'])} behind; --unsorted puts them in order",
            highlight=False,
        )
    if report.sources.records and not given["events"]:
        console.print("[red]No record could be read.[/] Records are Segment calls or canonical events, one JSON a line.")


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")


def _span(ms: int) -> str:
    if ms < HOUR_MS:
        return f"{max(1, round(ms / MINUTE_MS))} min"
    return f"{ms / HOUR_MS:.1f} h" if ms < 2 * DAY_MS else f"{ms / DAY_MS:.1f} days"
