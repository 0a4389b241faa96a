"""``rapport diff``."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from models.errors import ModelError
from schemas.errors import SchemaError
from streams import diff_text, settings_diff
from streams.difference import LEARNING
from streams.diffing import Diff
from streams.errors import StreamError
from streams.files import STDIO, FileError
from streams.matching import NEAR_MS, TOLERANCE
from streams.replay import Options, Replay
from streams.run_folder import RunFolder

from . import common
from .replaying import INTERRUPTED, Currency, Unsorted, Zone, read_state

SHOWN = 20
DIFFERENT, TROUBLE = 1, 2
_encoder = msgspec.json.Encoder(order="deterministic")


def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="A folder that replay wrote; with --on, a campaigns file.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The other one.")],
    on: Annotated[
        list[str] | None,
        typer.Option("--on", metavar="FILE", help="Replay this event file with both; may be given again."),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="FOLDER", help="With --on: keep the replays in FOLDER/a, FOLDER/b.")
    ] = None,
    customer: Annotated[
        list[str] | None,
        typer.Option("--customer", metavar="ID", help="Only this customer, such as u:7; may be given again."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=0,
            help=f"Show at most so many customers; {SHOWN}, with --json all, without it. Totals count all.",
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0, help="Scores and gains this close are equal; over 1, as a share.")
    ] = TOLERANCE,
    near: Annotated[
        str | None,
        typer.Option("--near", metavar="DURATION", help="A decision this close to its like has moved; 24h without it."),
    ] = None,
    everybody: Annotated[
        bool,
        typer.Option(
            "--all", help="Show those too whose scores alone moved, as models learned from what others were sent."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The differences, one JSON object a line.")] = False,
    unsorted: Unsorted = None,
    advance: Annotated[
        str | None, typer.Option("--advance", metavar="DURATION", help="With --on: as of replay.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="FILE", help="With --on: start both from this state.")
    ] = None,
    currency: Currency = "",
    timezone: Zone = "UTC",
) -> None:
    """Which decisions differ between two runs, customer by customer, and why.

    The runs are folders that rapport replay wrote of the same events: of two configurations, or of two versions of the
    code, each run with its own. With --on, two campaigns files are compared: both are replayed first.

    Example: rapport diff before/ after/

    A changed configuration: rapport diff old.toml new.toml --on events.jsonl.gz --advance 30d

    For programs: rapport diff before/ after/ --json | jq -r .customer | sort -u

    Times are in UTC. Exit code: 0 nothing differs; 1 something does; 2 trouble.
    """
    if on is None and (keep or state or unsorted or advance or currency):
        raise typer.BadParameter("only events that are replayed here need it: name them with --on", param_hint="--on")
    try:
        with ExitStack() as stack:
            if on is not None:
                folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rapport-diff-")))
                options = Options(
                    files=tuple(on),
                    unsorted_ms=common.milliseconds(unsorted),
                    advance_ms=common.milliseconds(advance),
                    intake=common.intake(currency, timezone),
                    key=common.snapshot_key(),
                    state=read_state(state),
                )
                runs = [_replayed(side, folder / name, options) for side, name in ((a, "a"), (b, "b"))]
            else:
                _folders(a, b)
                runs = [RunFolder(a), RunFolder(b)]
            only = [known for one in customer or () for known in (one, f"u:{one}", f"a:{one}")]
            found = Diff(runs[0], runs[1], only, tolerance, common.milliseconds(near) if near else NEAR_MS)
            if as_json:
                _lines(found, limit)
            else:
                _text(found, SHOWN if limit is None else limit, everybody or bool(customer))
    except (FileError, ModelError, SchemaError, StreamError) as error:
        common.say(f"rapport: {error}", console=common.err)
        raise typer.Exit(TROUBLE) from error
    if found.customers:
        raise typer.Exit(DIFFERENT)


def _folders(a: Path, b: Path) -> None:
    for path in (a, b):
        if path.suffix == ".toml" and not path.is_dir():
            remedy = "name the events to replay with it: --on events.jsonl, or two folders that replay wrote"
            raise FileError(str(path), "a configuration, and no events", remedy)


def _replayed(campaigns: Path, out: Path, options: Options) -> RunFolder:
    """Replay with one of the configurations; a folder is taken as it is."""
    if campaigns.is_dir():
        return RunFolder(campaigns)
    if STDIO in options.files:
        raise FileError(STDIO, "standard input, which can be read once only", "name a file: --on FILE")
    settings, text = common.settings(campaigns), common.configuration(campaigns)
    work = Replay(replace(options, settings=settings, configuration=text, out=out))
    with common.bytes_read(list(options.files), lambda: work.sources.events) as progress:
        report = work.run(progress)
    if report.stopped:
        raise typer.Exit(INTERRUPTED)
    return RunFolder(out, str(campaigns))


def _lines(found: Diff, limit: int | None) -> None:
    shown = (one for differences in islice(found, limit) for one in differences)
    common.written(STDIO, map(_encoder.encode, shown))


def _text(found: Diff, limit: int, everybody: bool) -> None:
    a, b = found.runs
    common.say(f"A: {a.name}")
    common.say(f"B: {b.name}")
    for line in settings_diff.of_runs(a, b):
        common.say(f"  {line}")
    shown = hidden = 0
    for differences in found:
        if not everybody and all(one.follows == LEARNING for one in differences):
            hidden += 1
        elif shown < limit:
            shown += 1
            common.say("")
            for line in diff_text.of_customer(differences):
                common.say(line)
    rest = found.customers - hidden - shown
    if rest or hidden:
        common.say("")
    if rest:
        common.say(f"and {diff_text.many(rest, 'more customer')}: --limit {shown + rest} shows all")
    if hidden:
        common.say(
            f"besides {diff_text.many(hidden, 'customer')} only by way of the models, which learned from what others were sent: "
            "--all shows them"
        )
    common.say("")
    if found.customers:
        for line in diff_text.table(diff_text.totals(found), ["campaign", "differs", "reason", "count", "following"]):
            common.say(line)
        common.say("")
    for line in diff_text.goals(a.metrics, b.metrics):
        common.say(line)
    common.say(diff_text.in_a_line(found))
