"""What several commands share: consoles, progress, configuration, durations on the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from models.policy.durations import duration_ms
from models.policy.reading import Settings, read
from streams.files import FileError

KEY_VARIABLE = "RAPPORT_SNAPSHOT_KEY"

out = Console()
err = Console(stderr=True)


def settings(path: Path | None) -> Settings:
    """The configuration in a file, or the defaults: no campaigns, default models."""
    if path is None:
        return Settings()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise FileError(str(path), "no such file", "write one, or start from examples/campaigns.toml") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(str(path), str(error), "name a readable file of TOML in UTF-8") from error
    return read(text, str(path))


def snapshot_key() -> bytes:
    """The key that signs snapshots, from the environment; empty where it is not set."""
    return os.environ.get(KEY_VARIABLE, "").encode()


def milliseconds(text: str | None) -> int:
    """A duration from the command line; 0 for none."""
    if text is None:
        return 0
    try:
        return duration_ms(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@contextmanager
def bytes_read(files: list[str], events: Callable[[], int]) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar over the bytes of ``files``, with events a second and the time left; none where nobody watches."""
    if not err.is_terminal:
        yield lambda done, total: None
        return
    progress = Progress(
        SpinnerColumn(),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]:>9,.0f} events/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    )
    sizes = [Path(f).stat().st_size for f in files if f != "-" and Path(f).is_file()]
    with progress:
        task = progress.add_task("", total=sum(sizes) if sizes else None, rate=0.0)
        seen: dict[int | None, int] = {}

        def report(done: int, total: int | None) -> None:
            seen[total] = done
            elapsed = progress.tasks[0].elapsed or 0.0
            progress.update(task, completed=sum(seen.values()), rate=events() / elapsed if elapsed else 0.0)

        yield report
