"""``rapport contracts``: what is on the topics, for those who write to them and read from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from schemas.compatibility import breaks
from schemas.export import export
from streams.asyncapi import document
from streams.files import STDIO, FileError
from streams.topic_plan import TopicPlan

from . import common


def contracts(
    json_schema: Annotated[
        Path | None,
        typer.Option("--json-schema", metavar="FOLDER", help="Write one JSON Schema a record into a folder instead."),
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", help="Put before every topic's name.")] = "",
    against: Annotated[
        Path | None,
        typer.Option(
            "--against", metavar="FILE", help="Say what this version breaks of an earlier document, if anything."
        ),
    ] = None,
) -> None:
    """Print the AsyncAPI 3 document of all topics: messages, fields, headers, retention.

    Example: rapport contracts > asyncapi.json

    After an upgrade, what those who hold the earlier document must know: rapport contracts --against asyncapi.json

    Exit code: 0 done, and with --against nothing is broken; 1 something is.
    """
    if json_schema is not None:
        common.say(f"{write_schemas(json_schema)} schemas written to {json_schema}/")
        return
    made = document(TopicPlan(prefix=prefix))
    if against is None:
        common.written(STDIO, formatted(made).splitlines())
        return
    found = breaks(_earlier(against), made)
    for line in found:
        common.say(line)
    if found:
        raise typer.Exit(1)
    common.say(f"nothing is broken of {against}")


def write_schemas(folder: Path) -> int:
    """Write the JSON Schema of each record into a folder; returns how many.

    Raises
    ------
    FileError
        The folder cannot be written.
    """
    found = export()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, schema in found.items():
            (folder / f"{name}.json").write_bytes(formatted(schema))
    except OSError as error:
        raise FileError(str(folder), error.strerror or str(error), "name a folder that can be written") from error
    return len(found)


def formatted(value: dict[str, Any]) -> bytes:
    """JSON as people read it, with a line's end."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _earlier(path: Path) -> dict[str, Any]:
    remedy = "name a document that rapport contracts wrote"
    try:
        found = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise FileError(str(path), error.strerror or str(error), remedy) from error
    except msgspec.DecodeError as error:
        raise FileError(str(path), f"no JSON ({error})", remedy) from error
    if not isinstance(found, dict) or not {"channels", "operations", "components"} <= found.keys():
        raise FileError(str(path), "no AsyncAPI 3 document with channels, operations and components", remedy)
    return found
