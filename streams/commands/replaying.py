"""``rapport replay`` and ``rapport bootstrap``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from models.errors import SnapshotError
from streams import saved, summary
from streams.files import FileError, write_whole
from streams.recorded import RecordedLog, recorded_log
from streams.replay import Options, Replay
from streams.results import RESULTS

from . import common

INTERRUPTED = 130
INEXACT = 3

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        help="Event files: JSON lines (plain, gz, xz, zst) of Segment, RudderStack, GA4 or canonical; several are merged by time; - reads standard input.",
    ),
]
Config = Annotated[
    Path | None, typer.Option("--campaigns", "-c", metavar="FILE", help="Campaigns and engine settings (TOML).")
]
Unsorted = Annotated[
    str | None,
    typer.Option("--unsorted", metavar="DURATION", help="Events are out of order by up to this: 10m, 3h, 2d."),
]
Currency = Annotated[
    str, typer.Option("--currency", metavar="CODE", help="Currency of amounts that name none, such as EUR.")
]
Zone = Annotated[
    str, typer.Option("--timezone", metavar="NAME", help="Zone of times without an offset, such as Europe/Berlin.")
]


def replay(
    files: Files,
    campaigns: Config = None,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FOLDER", help="Folder for triggers, decisions and the rest."),
    ] = Path("rapport-out"),
    unsorted: Unsorted = None,
    advance: Annotated[
        str | None,
        typer.Option(
            "--advance", metavar="DURATION", help="Let time go on after the last event, so that later timers fire: 30d."
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="FILE", help="Start from a state that bootstrap or --save wrote.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write the state at the end, to go on from.")
    ] = None,
    currency: Currency = "",
    timezone: Zone = "UTC",
    log: Annotated[
        bool, typer.Option("--log", help="FILE is a log that rapport record wrote: events, one partition.")
    ] = False,
    sources: Annotated[
        str | None,
        typer.Option(
            "--sources",
            metavar="NAMES",
            help="With --log: what its time waited for, clickstream/0,transactions/0; all it names without it.",
        ),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(
            "--models",
            metavar="FOLDER",
            help="With --log: the model versions that it names; without it the folder that record put beside it.",
        ),
    ] = None,
) -> None:
    """Run event files through the engine: what would it have learned and sent?

    Time is the events' own, so a year takes seconds and the same run twice gives the same bytes.

    Example: rapport replay events.jsonl.gz --campaigns examples/campaigns.toml --advance 30d

    From a pipe: zcat events.jsonl.gz | rapport replay - -c examples/campaigns.toml

    What the running engine did, again: rapport replay --log log.jsonl.gz -c examples/campaigns.toml

    Exit code: 0 done; 1 a file could not be read to its end, or no record was usable; 2 wrong options;
    3 done, but the log cannot give the stream's bytes: its beginning or a model version is gone; 130 Ctrl-C.
    """
    if sources is not None and not log:
        raise typer.BadParameter("only a recorded log has sources: write --log too", param_hint="--sources")
    if models is not None and not log:
        raise typer.BadParameter("only a recorded log names model versions: write --log too", param_hint="--models")
    if log and (len(files) > 1 or unsorted):
        raise typer.BadParameter("a recorded log is one file, and in order: leave the rest out", param_hint="--log")
    _run(
        Options(
            files=tuple(files),
            log=_log(files[0], sources, models) if log else None,
            settings=common.settings(campaigns),
            configuration=common.configuration(campaigns),
            out=out,
            unsorted_ms=common.milliseconds(unsorted),
            advance_ms=common.milliseconds(advance),
            intake=common.intake(currency, timezone),
            key=common.snapshot_key(),
        ),
        state,
        save,
    )


def bootstrap(
    files: Files,
    save: Annotated[Path, typer.Option("--save", metavar="FILE", help="Where to write the state.")] = Path(
        "rapport-state.bin"
    ),
    campaigns: Config = None,
    unsorted: Unsorted = None,
    currency: Currency = "",
    timezone: Zone = "UTC",
) -> None:
    """Build profiles and models from history and send nothing.

    Give it the campaigns file of the later replay: its engine settings are built into the state.

    Example: rapport bootstrap history.jsonl.gz -c examples/campaigns.toml --save state.bin

    Then: rapport replay today.jsonl -c examples/campaigns.toml --state state.bin
    """
    _run(
        Options(
            files=tuple(files),
            settings=common.settings(campaigns),
            unsorted_ms=common.milliseconds(unsorted),
            quiet=True,
            intake=common.intake(currency, timezone),
            key=common.snapshot_key(),
        ),
        None,
        save,
    )


def _log(file: str, sources: str | None, models: Path | None) -> RecordedLog:
    named = None if sources is None else tuple(sorted({name.strip() for name in sources.split(",")} - {""}))
    return recorded_log(file, named, models)


def _run(options: Options, state: Path | None, save: Path | None) -> None:
    if save is not None:
        _check(save)
    work = Replay(replace(options, state=read_state(state)))
    with common.bytes_read(list(options.files), lambda: work.sources.events) as progress:
        try:
            report = work.run(progress)
        except SnapshotError as error:
            raise SnapshotError(f"{state}: {error}") from error
    said = []
    if options.out is not None:
        said.append(f"written to {options.out}/: {', '.join(RESULTS)}")
    if save is not None and report.complete:
        state_of_run = saved.snapshot(report.run, options.key)
        write_whole(save, state_of_run, "name a place that can be written: --save FILE")
        said.append(f"state of {report.run.customers:,} customers written to {save}")
    elif save is not None:
        said.append(f"{save} not written: the run is not complete")
    summary.show(report, common.out)
    for line in ("", *said):
        common.say(line)
    if report.stopped:
        raise typer.Exit(INTERRUPTED)
    if report.sources.failed:
        raise typer.Exit(1)
    if report.inexact:
        raise typer.Exit(INEXACT)


def _check(save: Path) -> None:
    """Say before a long run that its state could not be written after it."""
    folder = save.parent
    if save.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        found = "a folder" if save.is_dir() else f"no folder {folder} that can be written"
        raise FileError(str(save), found, "name a file in a folder that can be written: --save FILE")


def read_state(path: Path | None) -> bytes | None:
    """The bytes of a state; None for none."""
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(
            str(path), error.strerror or str(error), "name a file that bootstrap or --save wrote"
        ) from error
