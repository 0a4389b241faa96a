"""``rapport backtest``: what a campaigns file would have sent on history."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from models.evaluation.volume import Daily
from schemas.base import DAY_MS
from streams.backtest import Backtest, Options, Planned, Report, Size
from streams.files import STDIO
from streams.tables import figures_table

from . import common
from .replaying import INTERRUPTED, Currency, Files, Unsorted, Zone

NO_EFFECT = (
    "No effect is printed: nobody was contacted by chance in this history. Those who would have been treated and those held out "
    "lived alike, so a difference between them is chance; only a live holdout shows an effect (rapport effect)."
)
WHY = {"assumed": "assumed", "relative": "10 % more", "asked": "asked for"}
FORMAT = 1


def backtest(
    campaigns: Annotated[Path, typer.Argument(metavar="CAMPAIGNS", help="The campaigns file to try (TOML).")],
    files: Files,
    unsorted: Unsorted = None,
    currency: Currency = "",
    timezone: Zone = "UTC",
    as_live: Annotated[
        bool, typer.Option("--as-live", help="Campaigns in shadow mode decide as if they were live.")
    ] = False,
    ignore_arrival: Annotated[
        bool,
        typer.Option(
            "--ignore-arrival", help="Take events as arrived when they occurred: for files that were backfilled."
        ),
    ] = False,
    weekly: Annotated[
        int, typer.Option("--weekly", metavar="N", min=0, help="Count customers with more than N contacts in 7 days.")
    ] = 2,
    gain: Annotated[
        float | None,
        typer.Option("--effect", metavar="GAIN", min=0, max=1, help="A further gain to plan for, such as 0.02."),
    ] = None,
    level: Annotated[float, typer.Option("--level", min=0.5, max=0.9999, help="Of intervals and plans.")] = 0.95,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """What would this campaigns file have sent on that history, and how long must its holdout run to show an effect?

    Volumes, caps, contacts a customer, holdout sizes, base rates. Nothing is sent, and no effect is claimed.

    Example: rapport backtest campaigns.toml history.jsonl.gz --unsorted 1d

    Exit code: 0 done; 1 a file could not be read to its end, or no record was usable; 2 wrong options; 130 Ctrl-C.
    """
    work = Backtest(
        Options(
            files=tuple(files),
            settings=common.settings(campaigns),
            unsorted_ms=common.milliseconds(unsorted),
            intake=common.intake(currency, timezone),
            as_live=as_live,
            ignore_arrival=ignore_arrival,
            often=weekly,
            gain=gain,
            alpha=1 - level,
        )
    )
    with common.bytes_read(list(files), lambda: work.sources.events) as progress:
        report = work.run(progress)
    if as_json:
        common.written(STDIO, [msgspec.json.encode(_plain(report, weekly, level))])
    else:
        _show(report, weekly, level, ignore_arrival)
    if report.stopped:
        raise typer.Exit(INTERRUPTED)
    if report.sources.failed:
        raise typer.Exit(1)


def _plain(report: Report, weekly: int, level: float) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "complete": report.figures["complete"],
        "input": report.figures["input"],
        "level": level,
        "together": report.together._asdict(),
        "contacts": {**report.contacts._asdict(), "often_is_more_than": weekly},
        "suppressed": report.figures["suppressed"],
        "outcomes": report.figures["outcomes"],
        "effect": None,
        "why_no_effect": NO_EFFECT,
        "campaigns": {one.campaign: _campaign(one) for one in report.campaigns},
    }


def _campaign(one: Planned) -> dict[str, Any]:
    fields = one._asdict()
    for name in ("sent", "held_out", "shadow"):
        fields[name] = fields[name]._asdict()
    fields["days"] = {_day(day): count for day, count in one.days.items()}
    fields["sizes"] = [
        {
            **size._asdict(),
            "fixed": size.fixed and size.fixed._asdict(),
            "anytime": size.anytime and size.anytime._asdict(),
        }
        for size in one.sizes
    ]
    return fields


def _show(report: Report, weekly: int, level: float, ignored: bool) -> None:
    given = report.figures["input"]
    for error in report.sources.broken:
        common.say(f"not read to its end: {error}", "red")
    if report.stopped:
        common.say("Stopped early; so far:", "yellow")
    if not given["events"]:
        common.say(
            f"No events: {given['records']:,} records, none of them usable." if given["records"] else "No records."
        )
        return
    days = (given["last_at"] - given["first_at"]) / DAY_MS
    common.say(
        f"{given['events']:,} events of {given['customers']:,} customers, {_day(given['first_at'])} to "
        f"{_day(given['last_at'])} ({days:,.0f} days). Nothing was sent."
    )
    for reason, n in given["dead_letters"].items():
        common.say(f"{n:,} records refused ({reason}); rapport replay writes them to dead-letters.jsonl", "yellow")
    if not report.campaigns:
        common.say("The file has no campaign: nothing would have been sent.")
        return
    _volumes(report)
    _contacts(report, weekly)
    _suppressed(report, ignored)
    _samples(report, level)
    messages = sum(report.figures["outcomes"].values())
    if messages:
        common.say(
            f"\nThis history holds {messages:,} reported outcomes of messages: customers were contacted then, "
            "and base rates are theirs with those messages.",
            "yellow",
        )
    common.say(f"\n{NO_EFFECT}", "yellow")


def _volumes(report: Report) -> None:
    common.say("\nSent, by UTC day", "bold")
    table = figures_table("campaign", "sent", "mean a day", "median", "peak", "on", "held out", "shadow")
    for one in report.campaigns:
        name = one.campaign if one.mode == "live" else f"{one.campaign} ({one.mode})"
        table.add_row(name, *_counts(one.sent), f"{one.held_out.total:,}", f"{one.shadow.total:,}")
    if len(report.campaigns) > 1:
        together = report.together
        held, shadow = (sum(getattr(one, name).total for one in report.campaigns) for name in ("held_out", "shadow"))
        table.add_row("together", *_counts(together), f"{held:,}", f"{shadow:,}")
    common.out.print(table)
    if any(one.mode == "shadow" for one in report.campaigns):
        common.say("A campaign in shadow mode sends nothing; --as-live tries what it would send.", "dim")


def _counts(daily: Daily) -> list[str]:
    when = "-" if daily.peak_day is None else _day(daily.peak_day)
    return [f"{daily.total:,}", f"{daily.mean:,.1f}", f"{daily.median:,.0f}", f"{daily.peak:,}", when]


def _contacts(report: Report, weekly: int) -> None:
    contacts, customers = report.contacts, report.figures["input"]["customers"]
    common.say("\nContacts a customer", "bold")
    if not contacts.customers:
        common.say("nobody would have been contacted")
        return
    common.say(
        f"{contacts.customers:,} of {customers:,} customers ({contacts.customers / customers:.1%}) would have been contacted: "
        f"median {contacts.median}, 99th percentile {contacts.p99}, most {contacts.most}\n"
        f"{contacts.often:,} of them ({contacts.often / contacts.customers:.1%}) more than {weekly} times in some 7 days"
    )


def _suppressed(report: Report, ignored: bool) -> None:
    suppressed = report.figures["suppressed"]
    if not suppressed:
        return
    common.say("\nSuppressed, by the first gate that stopped them", "bold")
    table = figures_table("reason", *suppressed)
    for reason in sorted({reason for reasons in suppressed.values() for reason in reasons}):
        table.add_row(reason, *(f"{counts[reason]:,}" if reason in counts else "" for counts in suppressed.values()))
    common.out.print(table)
    decided = sum(one.sent.total + one.held_out.total + one.shadow.total for one in report.campaigns)
    if report.stale > decided and not ignored:
        common.say(
            f"{report.stale:,} were stale: their events arrived long after they occurred, as in a backfill. "
            "If arrival times are those of the export, add --ignore-arrival.",
            "yellow",
        )


def _samples(report: Report, level: float) -> None:
    common.say("\nHoldouts, and how long they must run", "bold")
    common.say(
        "persons: first decisions, by arm; base rate: share of them that reached the goal in its window, untreated, those whose window "
        f"is over\npersons and days until an effect shows (level {level:.4g}, power .8): with one look at the end, and with looks at any time",
        "dim",
    )
    table = figures_table(
        "campaign",
        "treated",
        "held out",
        "base rate",
        "interval",
        "effect",
        "points",
        "one look",
        "days",
        "any look",
        "days",
    )
    for one in report.campaigns:
        low, high = one.base_interval
        rate = "-" if one.base_rate is None else f"{one.base_rate:.1%}"
        interval = "-" if one.base_rate is None else f"{low:.1%} to {high:.1%}"
        head = [one.campaign, f"{one.treated:,}", f"{one.holdout:,}", rate, interval]
        for index, cells in enumerate([_size(size) for size in one.sizes] or [["-"] * 6]):
            table.add_row(*(head if index == 0 else [""] * 5), *cells)
    common.out.print(table)
    for one in report.campaigns:
        left = [f"{n:,} {flag.replace('_', ' ')}" for flag, n in one.excluded.items()]
        if one.open:
            left.append(f"{one.open:,} whose window is not over")
        if left:
            common.say(f"{one.campaign}: without {', '.join(left)}", "dim")


def _size(size: Size) -> list[str]:
    plans = [
        cell
        for plan, days in ((size.fixed, size.days_fixed), (size.anytime, size.days_anytime))
        for cell in ("never" if plan is None else f"{plan.persons:,}", "-" if days is None else f"{days:,.0f}")
    ]
    return [WHY[size.why], f"{100 * size.effect:+.2f}", *plans]


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")
