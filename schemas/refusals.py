"""From msgspec's messages to a ``SchemaError`` with field, what was found, and the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from .errors import SchemaError

_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(\w+)`")
_TYPE = re.compile(r"^Expected `(.*)`, got `(\w+)`")
_BOUND = re.compile(r"^Expected `(.*)`$", re.DOTALL)
_NAME = re.compile(r"^Invalid value '([a-z][a-z0-9_]{0,39})'")
_AS_DESCRIBED = "send what the JSON Schema of the event describes"
_WORDS = {
    "str": "text", "int": "whole number", "float": "number", "bool": "true or false", "array": "array", "object": "object",
    "null": "null", "decimal": "decimal number",
}  # fmt: skip


def place(error: Exception) -> tuple[str, str]:
    """The message and the path of msgspec's error; the path is ``$`` for the whole record.

    >>> place(msgspec.ValidationError("Expected `int`, got `str` - at `$.total`"))
    ('Expected `int`, got `str`', '$.total')
    """
    match = _AT.match(str(error))
    return (match["what"], match["path"] or "$") if match else (str(error), "$")


def missing_field(what: str) -> str | None:
    """The name of the field that msgspec's message misses; None where it says something else.

    >>> missing_field("Object missing required field `order`")
    'order'
    """
    match = _MISSING.match(what)
    return match[1] if match else None


def refusal(error: Exception, choices: Mapping[str, tuple[str, ...]] = MappingProxyType({})) -> SchemaError:
    """Say in our words what msgspec refused; no content of the record is repeated.

    Parameters
    ----------
    error
        What the decoder raised.
    choices
        The values that fields with a closed set of them may have, by path.

    >>> print(refusal(msgspec.ValidationError("Expected `int`, got `str` - at `$.total`")))
    $.total: found text; send a whole number
    """
    if isinstance(error, UnicodeDecodeError):
        return SchemaError("encoding", "$", f"no UTF-8 at byte {error.start}", "send JSON in UTF-8")
    if not isinstance(error, msgspec.ValidationError):
        what = str(error) if isinstance(error, msgspec.DecodeError) else type(error).__name__
        return SchemaError("not_json", "$", what, "send one complete JSON object per record")
    what, path = place(error)
    field = missing_field(what)
    if field is not None:
        return SchemaError("missing", f"{path}.{field}", "nothing", f"send the field {field}")
    if path == "$.type":
        name = _NAME.match(what)
        found = f'"{name[1]}"' if name else "another value"
        return SchemaError("unknown_type", path, found, "send the type of a canonical event or of a Segment call")
    kinds = _TYPE.match(what)
    if kinds:
        wanted = " or ".join(_WORDS.get(word.strip(), word.strip()) for word in kinds[1].split("|"))
        return SchemaError("type", path, _WORDS.get(kinds[2], kinds[2]), f"send a {wanted}")
    bound = _BOUND.match(what)
    if bound:
        return SchemaError("range", path, "a value out of bounds", "send " + bound[1].replace("`", ""))
    if what.startswith("Invalid enum value"):
        # The message goes on with the value itself, which may be anything.
        remedy = "send one of " + ", ".join(choices[path]) if path in choices else _AS_DESCRIBED
        return SchemaError("range", path, "another value", remedy)
    if what == "Invalid decimal string":
        return SchemaError("type", path, "text that is no number", "send a decimal number such as 12.34")
    if what.startswith("an amount"):
        return SchemaError("range", path, "an unusable amount", "mind that " + what)
    return SchemaError("range", path, "an unusable value", _AS_DESCRIBED)
