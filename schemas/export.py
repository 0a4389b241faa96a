"""JSON Schemas of everything that travels, made from the structs themselves."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
from msgspec import Struct

from .dead_letters import DeadLetter
from .decisions import Conversion, Decision, Suppressed
from .events import AnyEvent

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def event_types() -> dict[str, type[Struct]]:
    """The canonical events by their type tag, in the union's order.

    >>> event_types()["tick"].__name__
    'Tick'
    """
    return {str(event.__struct_config__.tag): event for event in get_args(AnyEvent)}


def export() -> dict[str, dict[str, Any]]:
    """A JSON Schema (2020-12) for each event by its tag, and for what comes out, such as ``decision``.

    Descriptions are the first paragraphs of the docstrings.

    >>> export()["order_completed"]["description"]
    'An order was placed.'
    """
    structs: dict[str, type[Struct]] = {
        **event_types(),
        "decision": Decision,
        "conversion": Conversion,
        "suppressed": Suppressed,
        "dead_letter": DeadLetter,
    }
    return _plain({name: _schema(struct) for name, struct in structs.items()})


def export_events() -> dict[str, Any]:
    """One JSON Schema of any record in the ``events`` log, told apart by ``type``.

    >>> export_events()["discriminator"]["propertyName"]
    'type'
    """
    (schema,), definitions = msgspec.json.schema_components([AnyEvent], ref_template="#/$defs/{name}")
    _shorten(definitions)
    return _plain({"$schema": DIALECT, "title": "Event", **schema, "$defs": definitions})


def _schema(struct: type[Struct]) -> dict[str, Any]:
    _, definitions = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    _shorten(definitions)
    schema = definitions.pop(struct.__name__)
    return {"$schema": DIALECT, **schema, **({"$defs": definitions} if definitions else {})}


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    # A default that is a tuple becomes the array that JSON knows.
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schema))
    return plain


def _shorten(definitions: dict[str, Any]) -> None:
    for definition in definitions.values():
        if "description" in definition:
            definition["description"] = " ".join(definition["description"].split("\n\n", 1)[0].split())
