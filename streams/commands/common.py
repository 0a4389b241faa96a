"""What several commands share: consoles, progress, configuration, durations on the command line."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from models.policy.durations import duration_ms
from models.policy.reading import Settings, read
from schemas.errors import printable
from schemas.intake import Intake, IntakeOptions
from streams.errors import ConnectionSettingsError, system_reason
from streams.files import STDIO, FileError, write_lines

EventsOut = Annotated[
    str,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help="Where to write: FILE.jsonl, .jsonl.gz, .jsonl.zst; - is standard output.",
    ),
]

KEY_VARIABLE = "RAPPORT_SNAPSHOT_KEY"
LONGEST = 2000
WIDTH = 120


class ReaderLeftError(Exception):
    """Whoever read our output has left: no error of ours, and nothing more to do."""


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        raise ReaderLeftError


out = _Console(highlight=False)
err = _Console(stderr=True, highlight=False)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out.width = WIDTH


def say(text: str, style: str = "", console: Console = out) -> None:
    """Print a line literally: no markup is read, no control character reaches the terminal, a pipe gets it unbroken."""
    shown = "\n".join(printable(line, LONGEST) for line in text.split("\n"))
    console.print(Text(shown, style=style), soft_wrap=not console.is_terminal)


def settings(path: Path | None) -> Settings:
    """The configuration in a file, or the defaults: no campaigns, default models."""
    return Settings() if path is None else read(configuration(path), str(path))


def configuration(path: Path | None) -> str:
    """The text of a configuration; empty for the defaults."""
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise FileError(str(path), "no such file", "write one, or start from examples/campaigns.toml") from error
    except UnicodeDecodeError as error:
        raise FileError(str(path), f"no UTF-8 at byte {error.start}", "name a file of TOML in UTF-8") from error
    except OSError as error:
        raise FileError(str(path), error.strerror or str(error), "name a readable file of TOML") from error


def snapshot_key() -> bytes:
    """The key that signs snapshots, from the environment or the file that it names; empty where neither is set.

    Raises
    ------
    ConnectionSettingsError
        Where the file cannot be read or is empty, or both are set.
    """
    source, given = f"{KEY_VARIABLE}_FILE", os.environ.get(KEY_VARIABLE, "")
    file = os.environ.get(source)
    if not file:
        return given.encode()
    if given:
        raise ConnectionSettingsError(source, f"a file, and {KEY_VARIABLE} besides", "set one of the two")
    try:
        key = Path(file).read_bytes().strip()
    except (OSError, ValueError) as error:
        # The path is not shown: it may be the key itself, set in the wrong variable.
        raise ConnectionSettingsError(source, system_reason(error), "name a file that can be read") from None
    if not key:
        raise ConnectionSettingsError(source, "an empty file", "write the key into it: openssl rand -hex 32")
    return key


def milliseconds(text: str | None) -> int:
    """A duration from the command line; 0 for none."""
    if text is None:
        return 0
    try:
        return duration_ms(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def moment(text: str | None) -> int | None:
    """A time from the command line in milliseconds UTC; None for none.

    >>> moment("1970-01-02"), moment("1970-01-01T01:00")
    (86400000, 3600000)
    """
    if text is None:
        return None
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time: write 2025-11-30 or 2025-11-30T18:00") from error
    return int((given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp() * 1000)


def intake(currency: str, timezone: str) -> IntakeOptions:
    """What the intake is told on the command line, checked."""
    if currency and not (len(currency) == 3 and currency.isascii() and currency.isalpha()):
        raise typer.BadParameter(f"{currency!r} is no currency: write three letters, such as EUR")
    options = IntakeOptions(currency=currency.upper(), timezone=timezone)
    Intake(options)
    return options


def written(path: str, lines: Iterable[bytes]) -> int:
    """Write lines to a file or to standard output, whose reader may leave; returns how many."""
    try:
        return write_lines(path, lines)
    except BrokenPipeError as error:
        raise ReaderLeftError from error


@contextmanager
def bytes_read(files: list[str], events: Callable[[], int]) -> Iterator[Callable[[int], None]]:
    """A progress bar over the bytes of ``files``, with events a second and the time left; none where nobody watches."""
    whole = all(name != STDIO and Path(name).is_file() for name in files)
    total = sum(Path(name).stat().st_size for name in files) if whole else None
    with _bar(DownloadColumn(), total, events) as report:
        yield report


@contextmanager
def days_lived(days: int, events: Callable[[], int]) -> Iterator[Callable[[int], None]]:
    """A progress bar over simulated days."""
    with _bar(MofNCompleteColumn(), days, events) as report:
        yield report


@contextmanager
def _bar(
    done: DownloadColumn | MofNCompleteColumn, total: int | None, events: Callable[[], int]
) -> Iterator[Callable[[int], None]]:
    if not err.is_terminal:
        yield lambda completed: None
        return
    progress = Progress(
        SpinnerColumn(),
        BarColumn(bar_width=None),
        done,
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        expand=True,
    )
    with progress:
        task = progress.add_task("", total=total, rate="")

        def report(completed: int) -> None:
            elapsed = progress.tasks[0].elapsed or 0.0
            count = events()  # none yet where all is read before the first event is made
            rate = f"{count / elapsed:>7,.0f} events/s" if count and elapsed else ""
            progress.update(task, completed=completed, rate=rate)

        yield report


def end_on_term() -> None:
    """Let SIGTERM, which is how supervisors end a process, end it in order as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
