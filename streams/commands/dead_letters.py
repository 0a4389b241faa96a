"""``rapport dead-letters``: what was refused and why, the records themselves, sending them again."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from schemas.codec import encode_dead_letter
from schemas.dead_letters import DeadLetter
from schemas.errors import REASONS, printable
from streams import dead_letters, redriving
from streams.dead_letters import Letters, Wanted
from streams.errors import StreamError
from streams.files import STDIO
from streams.log_reader import Progress, Record
from streams.redriving import Candidates, Redriven
from streams.topic_plan import TopicPlan

from . import common
from .topics import Kafka, Prefix, connection

SHOWN = 10
CUT = 1500

app = typer.Typer(
    help="Records that were refused: list them by reason, look at one, send them again.", no_args_is_help=True
)

Reason = Annotated[
    list[str] | None,
    typer.Option(
        "--reason", metavar="REASON", help="Only this reason; may be given again. One of " + ", ".join(REASONS)
    ),
]


@app.callback()
def dead_letters_() -> None:
    """Records that were refused: list them by reason, look at one, send them again."""


@app.command("list")
def list_(
    reason: Reason = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DURATION", help="Only what arrived within this time: 90m, 2d.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=0, help=f"Show at most so many letters, the latest; {SHOWN}, with --json all, without it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The letters, one JSON object a line.")] = False,
    prefix: Prefix = "",
    kafka: Kafka = None,
) -> None:
    """Count the dead letters by reason, and show the latest.

    A letter says where the record lies and what was wrong with it, never what was in it.

    Example: rapport dead-letters list --since 1d --reason not_json

    For programs: rapport dead-letters list --json | jq -r .origin
    """
    wanted = Wanted(reasons=_reasons(reason), since=_since(since))
    plan, at = TopicPlan(prefix), connection(kafka)
    with _bar("" if as_json else "reading") as progress:  # lines and a bar would mix on a terminal
        letters = Letters(at, plan, wanted, progress)
        if as_json and limit is None:
            common.written(STDIO, map(encode_dead_letter, letters))
            return
        found = dead_letters.summary(letters, SHOWN if limit is None else limit)
    if as_json:
        common.written(STDIO, map(encode_dead_letter, found.latest))
        return
    if not found.count:
        common.say(f"no dead letters{' of that kind' if wanted != Wanted() else ''} on {at.address}")
    else:
        _show(found)
    if letters.unreadable:
        common.say(f"note: {letters.unreadable:,} records of {plan.name('dead-letters')} are no dead letters")


@app.command("show")
def show(
    origin: Annotated[str, typer.Argument(metavar="ORIGIN", help="As list shows it, in quotes: 'clickstream[0]@7'.")],
    content: Annotated[
        bool, typer.Option("--content", help="Also the record itself; it may hold personal data.")
    ] = False,
    prefix: Prefix = "",
    kafka: Kafka = None,
) -> None:
    """Show one dead letter, and with --content the record it speaks of.

    Example: rapport dead-letters show 'clickstream[0]@7' --content

    Exit code: 0 shown; 1 no such dead letter, or no broker answers.
    """
    plan, at = TopicPlan(prefix), connection(kafka)
    with _bar("reading") as progress:
        found = list(Letters(at, plan, Wanted(origins=frozenset({origin})), progress))
    if not found:
        remedy = "name an origin as `rapport dead-letters list` shows it, in quotes"
        raise StreamError(printable(origin), "no such dead letter", remedy)
    letter = found[-1]
    for name, value in (
        ("origin", letter.origin),
        ("arrived", _moment(letter.received_at)),
        ("reason", letter.reason),
        ("field", letter.field),
        ("found", letter.found),
        ("remedy", letter.remedy),
        ("size", f"{letter.size:,} bytes"),
    ):
        common.say(f"{name:8} {value}")
    if len(found) > 1:
        common.say(f"refused {len(found)} times")
    if content:
        _content(redriving.content(at, letter, plan))


@app.command("redrive")
def redrive(
    reason: Reason = None,
    origin: Annotated[
        list[str] | None, typer.Option("--origin", metavar="ORIGIN", help="Only this record; may be given again.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    prefix: Prefix = "",
    kafka: Kafka = None,
) -> None:
    """Send refused records again, once what refused them is mended: a limit raised, a currency or time zone set.

    Each goes back to the partition it came from, byte for byte, marked with its first origin. Sending it twice is
    harmless: events that take their id from the origin, or carry one, count once. What is still wrong is refused again.

    Example: rapport dead-letters redrive --reason too_large --dry-run

    Exit code: 0 sent, or nothing to send; 1 the broker did not take them, or a question could not be asked.
    """
    plan, at = TopicPlan(prefix), connection(kafka)
    wanted = Wanted(_reasons(reason), frozenset(origin or ()))
    with _bar("reading") as progress:
        found = redriving.candidates(Letters(at, plan, wanted, progress), plan)
    _announce(found)
    if dry_run or not found.letters:
        return
    if not yes:
        _ask(len(found.letters))
    with _bar("sending") as progress:
        result = redriving.redrive(at, found.letters, progress)
    _account(result)
    if result.refused:
        raise typer.Exit(1)


def _announce(found: Candidates) -> None:
    counts = Counter((at.topic, letter.reason) for at, letter in found.letters.items())
    for (topic, reason), count in sorted(counts.items()):
        common.say(f"{count:>9,}  {topic}  {reason}")
    if found.elsewhere:
        common.say(f"{found.elsewhere:>9,}  not from a raw topic of this installation: left where they are")
    if not found.letters:
        common.say("nothing to send")


def _ask(count: int) -> None:
    if not sys.stdin.isatty():
        raise StreamError("redrive", "nobody to ask", "look with --dry-run, then send with --yes")
    if not typer.confirm(f"Send {count:,} records again?", err=True):
        common.say("nothing sent")
        raise typer.Exit


def _account(result: Redriven) -> None:
    for topic, count in sorted(result.sent.items()):
        common.say(f"{count:,} sent to {topic}")
    if result.refused:
        common.say(f"{result.refused:,} not taken by the broker: larger, or older, than their topic allows now", "red")
    if result.gone:
        common.say(f"{result.gone:,} no longer there: retention has removed them")
    if not result.sent:
        common.say("nothing sent")


def _show(found: dead_letters.Summary) -> None:
    table = _table("reason", "count", "first", "last", "what to do, as of the last")
    table.columns[1].justify = "right"
    for reason, tally in found.tallies.items():
        first, last = _moment(tally.first), _moment(tally.last)
        table.add_row(printable(reason), f"{tally.count:,}", first, last, Text(printable(tally.remedy)))
    common.out.print(table)
    if found.latest:
        latest = _table("origin", "arrived", "reason", "field", "found")
        for letter in found.latest:
            latest.add_row(*(Text(printable(text)) for text in _cells(letter)))
        common.say("")
        common.out.print(latest)
    common.say(f"{found.count:,} dead letters; look at one: rapport dead-letters show ORIGIN")


def _table(*names: str) -> Table:
    return Table(*names, box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="cyan")


def _cells(letter: DeadLetter) -> tuple[str, ...]:
    return letter.origin, _moment(letter.received_at), letter.reason, letter.field, letter.found


def _content(record: Record | None) -> None:
    if record is None:
        common.say("\nthe record is no longer there: retention has removed it, or it never came from a raw topic")
        return
    common.say("")
    common.say(f"key      {_text(record.key)}")
    for name, value in record.headers:
        common.say(f"header   {printable(name)}: {_text(value)}")
    common.say(f"content  {_text(record.value)}")
    if len(record.value or b"") > CUT:
        common.say(f"cut to {CUT:,} characters")


def _text(data: bytes | None) -> str:
    return "none" if data is None else printable(data[: 4 * CUT].decode("utf-8", "replace"), CUT)


def _reasons(given: list[str] | None) -> frozenset[str]:
    for reason in given or ():
        if reason not in REASONS:
            raise typer.BadParameter(f"{reason!r} is no reason: write one of {', '.join(REASONS)}")
    return frozenset(given or ())


def _since(text: str | None) -> int:
    within = common.milliseconds(text)
    return int(time.time() * 1000) - within if within else 0


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S") if at else "unknown"


@contextmanager
def _bar(what: str) -> Iterator[Progress | None]:
    """A progress bar; none where nobody watches, or without a name for it."""
    if not what or not common.err.is_terminal:
        yield None
        return
    columns = ("{task.description}", BarColumn(bar_width=None), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=common.err, transient=True, expand=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
