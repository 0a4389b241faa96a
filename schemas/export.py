"""JSON Schemas of everything that travels, made from the structs themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any, get_args

import msgspec
from msgspec import Struct

from .base import Event
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

    Descriptions are those of the docstrings: the first paragraph of a record, and what is said of each field.

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
    _describe(definitions)
    return _plain({"$schema": DIALECT, "title": "Event", **schema, "$defs": definitions})


def components(structs: Iterable[type[Struct]], ref_template: str) -> dict[str, dict[str, Any]]:
    """The schemas of structs and of all that they hold, by name, for a document that gathers them.

    >>> components([DeadLetter], "#/schemas/{name}")["DeadLetter"]["properties"]["size"]["type"]
    'integer'
    """
    _, definitions = msgspec.json.schema_components(list(structs), ref_template=ref_template)
    _describe(definitions)
    return _plain(definitions)


def _schema(struct: type[Struct]) -> dict[str, Any]:
    _, definitions = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    _describe(definitions)
    schema = definitions.pop(struct.__name__)
    return {"$schema": DIALECT, **schema, **({"$defs": definitions} if definitions else {})}


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    # A default that is a tuple becomes the array that JSON knows.
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schema))
    return plain


def _describe(definitions: dict[str, Any]) -> None:
    """Of each record the first paragraph of its docstring, of each field what the docstring's list says."""
    for definition in definitions.values():
        text = definition.get("description")
        if text is None:
            continue
        definition["description"] = _one_line(text.split("\n\n", 1)[0])
        fields = definition.get("properties", {})
        told = parameters(inspect.cleandoc(text))
        if "via" in fields:
            told = {**parameters(inspect.getdoc(Event) or ""), **told}
        for name, schema in fields.items():
            if name in told and "$ref" not in schema:
                schema["description"] = told[name]


def parameters(docstring: str) -> dict[str, str]:
    """The fields of a docstring's list, each with its text in one line.

    >>> parameters("Said.\\n\\nParameters\\n----------\\na, b\\n    Two\\n    things.")
    {'a': 'Two things.', 'b': 'Two things.'}
    """
    _, _, section = docstring.partition("Parameters\n----------\n")
    found: dict[str, str] = {}
    for names, text in _FIELD.findall(section.partition("\n\n")[0] + "\n"):
        found.update(dict.fromkeys(names.split(", "), _one_line(text)))
    return found


def _one_line(text: str) -> str:
    return " ".join(text.split())


_FIELD = re.compile(r"^(\w[\w, ]*)\n((?:[ \t]+.*\n)+)", re.MULTILINE)
