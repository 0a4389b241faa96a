"""``rapport replay`` and ``rapport bootstrap``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from schemas.intake import IntakeOptions
from streams import summary
from streams.files import FileError
from streams.replay import Options, Replay

from . import common

Files = Annotated[
    list[str],
    typer.Argument(metavar="FILE...", help="Event files: JSON lines (plain, gz, xz, zst), Segment or canonical; - reads standard input."),
]
Config = Annotated[Path | None, typer.Option("--campaigns", "-c", help="Campaigns and engine settings (TOML).")]
Unsorted = Annotated[str | None, typer.Option("--unsorted", help="Events are out of order by up to this: 10m, 3h, 2d.")]
Currency = Annotated[str, typer.Option("--currency", help="Currency of amounts that name none, such as EUR.")]


def replay(
    files: Files,
    campaigns: Config = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for triggers, decisions, dead letters and metrics.")] = Path("rapport-out"),
    unsorted: Unsorted = None,
    advance: Annotated[str | None, typer.Option("--advance", help="Let time go on after the last event: 30d.")] = None,
    state: Annotated[Path | None, typer.Option("--state", help="Start from a state that bootstrap or --save wrote.")] = None,
    save: Annotated[Path | None, typer.Option("--save", help="Write the state at the end.")] = None,
    currency: Currency = "",
) -> None:
    """Run event files through the engine: what would it have learned and sent?

    Time is the events' own, so a year takes seconds and the same run twice gives the same bytes.

    Example: rapport replay events.jsonl.gz --campaigns examples/campaigns.toml --advance 30d
    """
    _run(
        Options(
            files=tuple(files),
            settings=common.settings(campaigns),
            out=out,
            unsorted_ms=common.milliseconds(unsorted),
            advance_ms=common.milliseconds(advance),
            intake=IntakeOptions(currency=currency),
            state=_read(state),
            key=common.snapshot_key(),
        ),
        save,
    )
    common.out.print(f"\nwritten to {out}/: triggers.jsonl, decisions.jsonl, dead-letters.jsonl, metrics.json")


def bootstrap(
    files: Files,
    save: Annotated[Path, typer.Option("--save", help="Where to write the state.")] = Path("rapport-state.bin"),
    campaigns: Config = None,
    unsorted: Unsorted = None,
    currency: Currency = "",
) -> None:
    """Build profiles and models from history and send nothing.

    Example: rapport bootstrap history.jsonl.gz --save state.bin, then rapport replay today.jsonl --state state.bin
    """
    _run(
        Options(
            files=tuple(files),
            settings=common.settings(campaigns),
            unsorted_ms=common.milliseconds(unsorted),
            quiet=True,
            intake=IntakeOptions(currency=currency),
            key=common.snapshot_key(),
        ),
        save,
    )


def _run(options: Options, save: Path | None) -> None:
    work = Replay(options)
    with common.bytes_read(list(options.files), lambda: work.sources.events) as progress:
        report = work.run(progress)
    summary.show(report, common.out)
    if save is not None:
        try:
            save.write_bytes(report.run.snapshot(options.key))
        except OSError as error:
            raise FileError(str(save), error.strerror or str(error), "name a place that can be written") from error
        common.out.print(f"\nstate of {len(report.run.profiles):,} customers written to {save}")
    if report.sources.records and not report.sources.events:
        raise typer.Exit(1)


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(str(path), error.strerror or str(error), "name a file that bootstrap or --save wrote") from error
