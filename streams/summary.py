"""The summary a person reads after a replay."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from schemas.base import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from schemas.errors import printable

from .replay import Report
from .tables import figures_table

WIDEST = 500
SHOWN = 3
LEFT_OUT = {
    "duplicate": "repeats of an event (same id), counted once",
    "duplicate_order": "repeats of an order (same number), counted once",
    "after_erasure": "events of erased customers from before the erasure",
    "hand_over_erased": "devices of erased customers from before the erasure",
}


def show(report: Report, console: Console) -> None:
    """Print funnel, triggers, suppressions and model figures; then what was wrong with the input."""
    metrics = report.metrics
    _head(report, console)
    if metrics["input"]["events"]:
        _funnel(metrics, console)
        _campaigns(report, console)
        _suppressed(metrics, console)
        _models(report, console)
    if "log" in metrics:
        _log(metrics["log"], console)
    _input(report, console)


def _say(console: Console, text: str, style: str = "") -> None:
    """Print a sentence literally; in a pipe it stays one line."""
    console.print(Text(printable(text, WIDEST), style), soft_wrap=not console.is_terminal)


def _title(console: Console, text: str, explained: str = "") -> None:
    console.print()
    _say(console, text, "bold")
    if explained:
        _say(console, explained, "dim")


def _head(report: Report, console: Console) -> None:
    given = report.metrics["input"]
    console.print()
    if report.stopped:
        _say(console, "Stopped early; so far:", "yellow")
    if not given["records"]:
        _say(console, "No records: the input is empty.", "yellow")
        return
    rate = given["events"] / report.seconds if report.seconds else 0.0
    span = ""
    if given["first_at"] is not None:
        days = (given["last_at"] - given["first_at"]) / DAY_MS
        span = f", {_day(given['first_at'])} to {_day(given['last_at'])} ({days:,.0f} days)"
    _say(console, f"{_many(given['events'], 'event')} of {_many(given['customers'], 'customer')}{span}")
    _say(
        console,
        f"{report.seconds:,.1f} s, {rate:,.0f} events/s; {_many(report.metrics['steps'], 'step')}, timers included",
    )


def _funnel(metrics: dict[str, Any], console: Console) -> None:
    reached: dict[str, int] = metrics["funnel"]
    if not any(reached.values()):
        return
    _title(console, "Funnel: journeys that reached each stage")
    table = figures_table("stage", "journeys", "of the stage before", "dropped out")
    before: int | None = None
    for stage, count in reached.items():
        share = "" if before is None else f"{count / before:.1%}" if before else "-"
        table.add_row(stage, f"{count:,}", share, "" if before is None else f"{max(0, before - count):,}")
        before = count
    console.print(table)
    left = metrics["left"]
    if any(left.values()):
        counts = (_many(left["browse"], "browse"), _many(left["cart"], "cart"), _many(left["checkout"], "checkout"))
        _say(console, "left behind: " + ", ".join(counts))


def _campaigns(report: Report, console: Console) -> None:
    metrics = report.metrics
    campaigns = [campaign.config for campaign in report.run.engine.decider.campaigns.all()]
    if not campaigns:
        if report.run.settings.campaigns.all():
            _title(console, "Nothing is sent while bootstrapping.")
        else:
            _title(console, "No campaigns: nothing was decided. Give some with --campaigns FILE.")
        return
    _title(
        console, "Triggers by campaign", "goals: how many of the treated / of the held out reached the campaign's goal"
    )
    shadow = any(config.mode == "shadow" for config in campaigns)
    table = figures_table(
        "campaign", "triggers", "held out", *(["shadow"] * shadow), "suppressed", "goals: treated", "held out"
    )
    for config in campaigns:
        arms = metrics["decided"].get(config.id, {})
        goals = metrics["converted"].get(config.id, {})
        table.add_row(
            config.id,
            f"{arms.get('treated', 0):,}",
            f"{arms.get('holdout', 0):,}",
            *([f"{arms.get('shadow', 0):,}"] * shadow),
            f"{sum(metrics['suppressed'].get(config.id, {}).values()):,}",
            _share(goals.get("treated", 0), arms.get("treated", 0)),
            _share(goals.get("holdout", 0), arms.get("holdout", 0)),
        )
    console.print(table)


def _suppressed(metrics: dict[str, Any], console: Console) -> None:
    suppressed = metrics["suppressed"]
    if not suppressed:
        return
    _title(console, "Suppressed, by the first gate that stopped them")
    table = figures_table("reason", *suppressed)
    for reason in sorted({reason for reasons in suppressed.values() for reason in reasons}):
        table.add_row(reason, *(f"{counts[reason]:,}" if reason in counts else "" for counts in suppressed.values()))
    console.print(table)


def _models(report: Report, console: Console) -> None:
    models = report.metrics["models"]
    if not models:
        return
    _title(
        console,
        "Models: each prediction scored before its label was learned",
        "null: log loss of the plain rate; lift: top tenth; answers: model or rule by now",
    )
    table = figures_table("target", "labels", "rate", "log loss", "null", "AUC", "ECE", "lift", "answers")
    for target, f in models.items():
        better = f["log_loss"] < f["null_log_loss"]
        table.add_row(
            target,
            f"{f['n']:,}",
            f"{f['base_rate']:.3f}",
            Text(f"{f['log_loss']:.4f}", "green" if better else ""),
            f"{f['null_log_loss']:.4f}",
            "-" if f["auc"] is None else f"{f['auc']:.3f}",
            f"{f['ece']:.3f}",
            "-" if f["lift"] is None else f"{f['lift']:.2f}",
            "model" if f["in_use"] else "rule",
        )
    console.print(table)
    for model in report.run.learner.models.values():
        if model.rollbacks:
            again = "once" if model.rollbacks == 1 else f"{model.rollbacks:,} times"
            _say(console, f"{model.name} went back to a good state {again}; last because {model.trouble}", "yellow")
        if model.full:
            _say(
                console, f"{model.name} is full and learns no more: bound it (a forest: n_models, max_depth)", "yellow"
            )


def _log(log: dict[str, Any], console: Console) -> None:
    """Whether it was the stream again."""
    _title(console, "Log")
    if log["learning"] == "elsewhere":
        _say(console, f"{_many(log['adopted'], 'model version')} taken over where the log names them")
    if log["start"]:
        _say(console, f"it begins at offset {log['start']:,}: what came before is gone, and the state it led to", "red")
    missing = log["missing"]
    if missing:
        first = ", ".join(f"{one['model']}@{one['version']} (record {one['record']:,})" for one in missing[:SHOWN])
        more = f" and {len(missing) - SHOWN:,} more" if len(missing) > SHOWN else ""
        _say(console, f"{_many(len(missing), 'model version')} not kept: {first}{more}", "red")
    if log["exact"] is False:
        _say(console, f"inexact from record {log['inexact_from']:,} on: decisions may differ from the stream's", "red")
    elif log["exact"] is None:
        _say(console, "not known to be whole: a saved state was given, or no .provenance.json lies beside it", "yellow")
    else:
        _say(console, "whole: with the campaigns of the workers, decisions are the stream's byte for byte")


def _input(report: Report, console: Console) -> None:
    given, sources, counts = report.metrics["input"], report.sources, report.metrics["counts"]
    said = [
        *sources.broken,
        *given["dead_letters"],
        *given["repairs"],
        *(name for name in LEFT_OUT if counts.get(name)),
    ]
    if said or given["out_of_order"]:
        _title(console, "Input")
    for error in sources.broken:
        _say(console, f"not read to its end: {error}", "red")
    for reason, n in given["dead_letters"].items():
        letter = sources.first_dead[reason]
        _say(
            console,
            f"{_many(n, 'record')} refused ({reason}); the first, {letter.origin}: "
            f"{letter.field}: found {letter.found}; {letter.remedy}",
            "yellow",
        )
    for note, n in given["repairs"].items():
        _say(console, f"repaired: {n:,} x {note}")
    for name, text in LEFT_OUT.items():
        if counts.get(name):
            _say(console, f"{counts[name]:,} {text}")
    if given["out_of_order"]:
        furthest = given["furthest_out_of_order_ms"]
        _say(
            console,
            f"{given['out_of_order']:,} events came after a later one, up to {_span(furthest)} behind; "
            f"--unsorted {-(-(furthest + report.unsorted_ms) // HOUR_MS)}h puts them in order",
        )
    if given["records"] and not given["events"]:
        _say(
            console,
            "No record could be read. Records are Segment calls or canonical events, one JSON object a line.",
            "red",
        )


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _share(n: int, of: int) -> str:
    return f"{n:,} ({n / of:.0%})" if of else "-"


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")


def _span(ms: int) -> str:
    if ms < MINUTE_MS:
        return f"{ms / SECOND_MS:.3g} s"
    if ms < HOUR_MS:
        return f"{ms / MINUTE_MS:.0f} min"
    return f"{ms / HOUR_MS:.1f} h" if ms < 2 * DAY_MS else f"{ms / DAY_MS:.1f} days"
