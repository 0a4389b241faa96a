"""``rapport schemas export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import common
from .contracting import write_schemas

app = typer.Typer(help="The JSON Schemas of events in and decisions out.", no_args_is_help=True)


@app.callback()
def schemas() -> None:
    """The JSON Schemas of events in and decisions out."""


@app.command("export")
def export(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder to write one JSON Schema a record into.")
    ] = Path("json-schemas"),
) -> None:
    """Write the JSON Schema of every event, the decision and the dead letter.

    Example: rapport schemas export json-schemas
    """
    common.say(f"{write_schemas(folder)} schemas written to {folder}/")
