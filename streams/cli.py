"""The command line: ``rapport``."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer
from rich.text import Text

from models.errors import ModelError
from models.simulator.config import SimulationError
from schemas.errors import SchemaError

from .commands import (
    backtesting,
    common,
    comparing,
    contracting,
    customers,
    dashboard,
    dead_letters,
    demonstrating,
    effects,
    examples,
    importing,
    lagging,
    playing,
    recording,
    replaying,
    running,
    schemas_export,
    simulating,
    topics,
    validating,
)
from .errors import StreamError
from .files import FileError
from .memory import settle

app = typer.Typer(
    name="rapport",
    help="Real-time engagement: customer events in, learned decisions out.\n\n"
    "Try first: rapport demo\n\n"
    "With your own events: rapport replay events.jsonl --campaigns examples/campaigns.toml",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)
app.command("demo")(demonstrating.demo)
app.command("worker")(running.worker)
app.command("up")(running.up)
app.command("kill")(running.kill)
app.command("lag")(lagging.lag)
app.command("ui")(dashboard.ui)
app.command("play")(playing.play)
app.command("record")(recording.record)
app.command("replay")(replaying.replay)
app.command("diff")(comparing.diff)
app.command("customer")(customers.customer)
app.command("bootstrap")(replaying.bootstrap)
app.command("backtest")(backtesting.backtest)
app.command("effect")(effects.effect)
app.command("import")(importing.import_file)
app.command("simulate")(simulating.simulate)
app.command("example")(examples.example)
app.command("validate")(validating.validate)
app.command("contracts")(contracting.contracts)
app.add_typer(topics.app, name="topics")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(schemas_export.app, name="schemas")

EXPECTED = (FileError, ModelError, SchemaError, SimulationError, StreamError)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rapport {version('rapport')}")
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options that come before a command."""


def main() -> None:
    """Run a command; what can go wrong is said in one line with its remedy, and ends with code 1."""
    settle()
    try:
        app()
    except EXPECTED as error:
        _complain(str(error))
        sys.exit(1)
    except common.ReaderLeftError:
        _abandon_output()
        sys.exit(0)
    except OSError as error:
        _abandon_output()
        _complain(f"{error.filename or 'standard output'}: found {error.strerror}; check its disk and permissions")
        sys.exit(1)


def _abandon_output() -> None:
    """Python flushes standard output once more at its end, which would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str) -> None:
    try:
        common.err.print(Text("rapport: ", "red"), end="")
        common.say(message, console=common.err)
    except common.ReaderLeftError:
        return
