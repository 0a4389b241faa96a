"""Whether a contract still holds what an earlier one promised: AsyncAPI documents compared, field by field.

What we write must be readable by those who hold the earlier contract: no field gone, none of another type, none that was
always there now missing at times, no value of a list of values that they do not know. What we read must be readable as
they write it: the same from the other side. Of the log, which we write and read ourselves, both must hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_ANYTHING = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_WIDER = {"number": {"integer", "number"}}


def breaks(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What the later contract breaks of the earlier one, a line each; empty where it holds.

    Parameters
    ----------
    before, after
        AsyncAPI 3 documents.

    >>> def contract(**fields):
    ...     payload = {"type": "object", "properties": fields, "required": ["id"]}
    ...     channel = {"address": "offers", "messages": {"trigger": {"payload": payload}}}
    ...     sends = {"action": "send", "channel": {"$ref": "#/channels/offers"}}
    ...     return {"channels": {"offers": channel}, "operations": {"send.offers": sends}}
    >>> held = contract(id={"type": "string"}, cost={"type": "number"})
    >>> breaks(held, contract(id={"type": "integer"}, cost={"type": "number"}, more={}))
    ['offers: trigger.id: string became integer']
    >>> breaks(held, contract(id={"type": "string"}))
    ['offers: trigger.cost: gone']
    """
    found: list[str] = []
    for name, channel in before["channels"].items():
        later = after["channels"].get(name)
        if later is None:
            found.append(f"{name}: gone")
            continue
        if channel["address"] != later["address"]:
            found.append(f"{name}: {channel['address']} became {later['address']}")
        actions = {
            operation["action"]
            for operation in before["operations"].values()
            if operation["channel"]["$ref"] == f"#/channels/{name}"
        }
        comparison = _Comparison(before, after, written="send" in actions, read="receive" in actions)
        found += (f"{name}: {line}" for line in comparison.messages(channel, later))
    return found


class _Comparison:
    """Two documents, and who writes and reads the channel at hand."""

    def __init__(self, before: dict[str, Any], after: dict[str, Any], written: bool, read: bool) -> None:
        self._before = before
        self._after = after
        self._written = written
        self._read = read
        self._open: set[tuple[int, int]] = set()

    def messages(self, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
        for name, message in before["messages"].items():
            later = after["messages"].get(name)
            if later is None:
                yield f"{name}: gone"
                continue
            old, new = _resolved(message, self._before), _resolved(later, self._after)
            if old.get("contentType") != new.get("contentType"):
                yield f"{name}: {old.get('contentType')} became {new.get('contentType')}"
            yield from self.schema(name, old["payload"], new["payload"])
            if "headers" in old:
                yield from self.schema(f"{name} (headers)", old["headers"], new.get("headers", {"type": "object"}))

    def schema(self, at: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
        old, new = _resolved(before, self._before), _resolved(after, self._after)
        pair = id(old), id(new)
        if old == new == {} or pair in self._open:
            return
        self._open.add(pair)
        yield from self._types(at, old, new)
        yield from self._values(at, old, new)
        yield from self._fields(at, old, new)
        for key in ("items", "additionalProperties"):
            if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
                yield from self.schema(at + "[]", old[key], new[key])
        yield from self._branches(at, old, new)
        self._open.discard(pair)

    def _types(self, at: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        earlier, later = self._possible(old, self._before), self._possible(new, self._after)
        if (self._written and not _covers(earlier, later)) or (self._read and not _covers(later, earlier)):
            yield f"{at}: {_said(earlier)} became {_said(later)}"
        elif old.get("format") != new.get("format"):
            yield f"{at}: format {old.get('format')} became {new.get('format')}"

    def _possible(self, schema: dict[str, Any], document: dict[str, Any]) -> frozenset[str]:
        schema = _resolved(schema, document)
        if "type" in schema:
            kind = schema["type"]
            return frozenset([kind] if isinstance(kind, str) else kind)
        if "enum" in schema:
            return frozenset(map(_kind, schema["enum"]))
        branches = [self._possible(branch, document) for branch in _alternatives(schema)]
        return frozenset().union(*branches) if branches else _ANYTHING

    def _values(self, at: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        if "enum" not in old and "enum" not in new:
            return
        earlier, later = old.get("enum"), new.get("enum")
        if self._written and earlier is not None:
            if later is None:
                yield f"{at}: any value instead of {earlier}"
            elif more := [value for value in later if value not in earlier]:
                yield f"{at}: new values {more}, unknown to those who read it"
        if self._read and later is not None:
            if earlier is None:
                yield f"{at}: only {later} instead of any value"
            elif gone := [value for value in earlier if value not in later]:
                yield f"{at}: values {gone} gone"

    def _fields(self, at: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        fields = new.get("properties", {})
        for name, field in old.get("properties", {}).items():
            if name in fields:
                yield from self.schema(f"{at}.{name}", field, fields[name])
            else:
                yield f"{at}.{name}: gone"
        earlier, later = set(old.get("required", ())), set(new.get("required", ()))
        if self._written:
            yield from (f"{at}.{name}: may be missing now" for name in sorted((earlier - later) & fields.keys()))
        if self._read:
            yield from (f"{at}.{name}: required now" for name in sorted(later - earlier))

    def _branches(self, at: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        """Alternatives of one kind are compared with each other; which kinds there are, ``_types`` compares."""
        later = {self._possible(branch, self._after): branch for branch in _alternatives(new)}
        for branch in _alternatives(old):
            kinds = self._possible(branch, self._before)
            if kinds in later:
                yield from self.schema(at, branch, later[kinds])


def _alternatives(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [branch for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())) if branch.keys() != {"required"}]


def _covers(wide: frozenset[str], narrow: frozenset[str]) -> bool:
    return narrow <= wide.union(*(_WIDER.get(kind, ()) for kind in wide))


def _said(kinds: frozenset[str]) -> str:
    return "anything" if kinds == _ANYTHING else " or ".join(sorted(kinds))


def _kind(value: object) -> str:
    return {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}.get(
        type(value), "object"
    )


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    while (ref := schema.get("$ref")) is not None:
        schema = document
        for step in ref.removeprefix("#/").split("/"):
            schema = schema[step]
    return schema
