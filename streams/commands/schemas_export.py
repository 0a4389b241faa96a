"""``rapport schemas export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from schemas.export import export as exported
from streams.files import FileError

from . import common

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
    found = exported()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, schema in found.items():
            text = msgspec.json.format(msgspec.json.encode(schema), indent=2)
            (folder / f"{name}.json").write_bytes(text + b"\n")
    except OSError as error:
        raise FileError(str(folder), error.strerror or str(error), "name a folder that can be written") from error
    common.say(f"{len(found)} schemas written to {folder}/")
