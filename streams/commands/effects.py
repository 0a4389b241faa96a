"""``rapport effect``: what campaigns brought about, read off their holdouts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from models.evaluation import effect as effects
from models.evaluation.effect import Arm, Effect
from models.evaluation.first_decisions import ALL
from streams.effects import Recorded, read
from streams.files import STDIO
from streams.tables import figures_table

from . import common

EXCLUDED = {
    "mixed_history": "a device with contacts of its own was merged in",
    "global_holdout": "in the global holdout, so no campaign reaches them",
    "shadow": "decided in shadow mode only: nobody was treated",
}


def effect(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FOLDER...",
            help="What rapport replay wrote, or files that rapport record decisions kept; rapport-out without it.",
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="TIME", help="Read as of then, UTC: 2025-11-30 (its beginning) or 2025-11-30T18:00."
        ),
    ] = None,
    level: Annotated[
        float, typer.Option("--level", min=0.5, max=0.9999, help="Of the intervals, over all looks together.")
    ] = 0.95,
    gain: Annotated[
        float | None,
        typer.Option(
            "--effect",
            metavar="GAIN",
            min=0,
            max=1,
            help="The gain to look for, such as 0.02 for two points; what each campaign assumes (prior_effect) without it.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """What did each campaign bring about? Treated against held out, by intention to treat.

    The intervals hold however often you look: read them every day, and stop when you have seen enough.

    Example: rapport effect rapport-out

    A stream: rapport record decisions -o decisions.jsonl && rapport effect decisions.jsonl

    Exit code: 0 read, whatever the verdict; 1 a file cannot be read; 2 wrong options.
    """
    asked = common.moment(at)
    recorded = read(paths or [Path("rapport-out")])
    now = recorded.last_at if asked is None else min(asked, recorded.last_at)
    found = {
        campaign: effects.read(recorded.firsts.rows(campaign, now), 1 - level, gain)
        for campaign in recorded.firsts.campaigns()
    }
    shadow = {campaign: recorded.firsts.shadowed(campaign) for campaign in found}
    if as_json:
        common.written(STDIO, [_json(found, shadow, recorded, now, level)])
        return
    _show(found, shadow, recorded, now, level)
    for folder in recorded.unsent:
        common.say(
            f"\n{folder}: no message's outcome (delivered, opened, ...) is among its events. If nothing was sent, as in a replay "
            "of history, treated and held out lived alike, and every difference above is chance.",
            "yellow",
        )
    if asked is not None and asked > recorded.last_at:
        common.say(f"\nRead as of {_when(now)}: nothing is known of later.")


def _when(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _json(found: dict[str, Effect], shadow: dict[str, int], recorded: Recorded, now: int, level: float) -> bytes:
    campaigns = {}
    for campaign, one in found.items():
        fields: dict[str, Any] = {
            "goal": recorded.firsts.goals.get(campaign),
            **{name: {**arm._asdict(), "rate": arm.rate} for name, arm in _arms(one)},
            "difference": one.difference,
            "interval": list(one.interval),
            "verdict": one.verdict,
            "assumed": one.assumed,
            "needed": one.needed,
            "open": one.open,
            "excluded": _excluded(one, shadow[campaign]),
        }
        campaigns[campaign] = fields
    return msgspec.json.encode({"at": now, "level": level, "unsent": recorded.unsent, "campaigns": campaigns})


def _arms(one: Effect) -> tuple[tuple[str, Arm], ...]:
    return ("treated", one.treated), ("holdout", one.holdout)


def _excluded(one: Effect, shadow: int) -> dict[str, int]:
    return {**one.excluded, **({"shadow": shadow} if shadow else {})}


def _show(found: dict[str, Effect], shadow: dict[str, int], recorded: Recorded, now: int, level: float) -> None:
    if not found:
        common.say("No decisions: no campaign decided about anybody. Were campaigns given with --campaigns FILE?")
        return
    common.say(f"Effects as of {_when(now)}", "bold")
    common.say(
        "A person counts once a campaign, by its first decision, once the attribution window that began there is over; "
        f"the goal counts however it was reached.\nIntervals hold at {level:.4g} over all looks together.",
        "dim",
    )
    table = figures_table(
        "campaign", "treated", "reached goal", "held out", "reached goal", "difference", "interval", "open"
    )
    for campaign, one in found.items():
        cells = [cell for _, arm in _arms(one) for cell in (f"{arm.persons:,}", _share(arm))]
        difference = "-" if one.difference is None else _points(one.difference)
        interval = f"{_points(one.interval.low)} to {_points(one.interval.high)}"
        table.add_row(_name(campaign), *cells, difference, interval, f"{one.open:,}")
    common.out.print(table)
    for campaign, one in found.items():
        common.say(f"\n{_name(campaign)}: {_words(one)}")
        for flag, persons in _excluded(one, shadow[campaign]).items():
            common.say(
                f"  left out: {persons:,} {'person' if persons == 1 else 'persons'} ({EXCLUDED.get(flag, flag)})"
            )


def _name(campaign: str) -> str:
    return "all campaigns" if campaign == ALL else campaign


def _share(arm: Arm) -> str:
    return "-" if arm.rate is None else f"{arm.converted:,} ({arm.rate:.1%})"


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}"


def _words(one: Effect) -> str:
    low, high, assumed = (_points(value) for value in (*one.interval, one.assumed))
    if one.verdict == "works":
        return f"works: {low} to {high} points more of the treated reached the goal."
    if one.verdict == "harms":
        return f"harms: the difference is {low} to {high} points; fewer of the treated reached the goal."
    if one.verdict == "no holdout":
        return (
            "no holdout: nobody was withheld, or nobody treated, by chance; set holdout to 0.1 in the campaigns file."
        )
    if one.verdict == "no effect":
        return f"no effect of {assumed} points, the size assumed, is there: at most {high}."
    if one.verdict == "unclear":
        return f"unclear: an effect of {assumed} points would mostly have shown by now; neither it nor 0 is ruled out."
    n = one.treated.persons + one.holdout.persons
    if not n:
        return f"too early: nobody's attribution window is over yet, {one.open:,} are open."
    if one.needed is None:
        return f"too early: {n:,} persons, and no size of effect to look for; give one with --effect 0.02."
    return (
        f"too early: {n:,} persons; an effect of {assumed} points shows after about {one.needed:,}, "
        f"so about {one.missing:,} more are needed{f', {one.open:,} of them are on their way' if one.open else ''}."
    )
