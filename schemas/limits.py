"""From untrusted bytes to one JSON object: caps before decoding, duplicate keys, and what is wrong otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from .base import DAY_MS, MINUTE_MS
from .errors import SchemaError

# Untyped decimals stay exact, and 1e999 is judged field by field instead of refusing the record.
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_LONGEST_NUMBER = 40
_SMALL = 16 * 1024
_BOM = b"\xef\xbb\xbf"


class IntakeOptions(Struct, frozen=True, kw_only=True):
    """What the intake accepts.

    Parameters
    ----------
    max_bytes
        Largest record in bytes.
    max_depth
        Deepest nesting of objects and arrays, the record itself being level 1.
    max_keys
        Most keys in a record, all levels together; above 16 KiB also most objects and arrays.
    max_properties
        Most properties kept of a custom event.
    max_ahead_ms
        How far ``occurred_at`` may lie after the arrival, milliseconds.
    reject_ahead
        True refuses a record further ahead; False sets it to its arrival.
    max_skew_ms
        Largest difference between arrival and ``sentAt`` that counts as a wrong clock, milliseconds; a greater one is a
        backfill, whose times are right. The record's own ``receivedAt`` is not limited.
    traits
        Names of the traits that may enter profiles; all others are dropped.
    currency
        Currency of amounts sent without one (ISO 4217); empty: such amounts are dropped.
    timezone
        IANA name of the zone of times sent without an offset.
    """

    max_bytes: int = 256 * 1024
    max_depth: int = 32
    max_keys: int = 2_000
    max_properties: int = 32
    max_ahead_ms: int = 5 * MINUTE_MS
    reject_ahead: bool = False
    max_skew_ms: int = DAY_MS
    traits: frozenset[str] = frozenset()
    currency: str = ""
    timezone: str = "UTC"


DEFAULTS = IntakeOptions()


def kind(value: object) -> str:
    """Describe a value by type and size; of its content only numbers are shown.

    >>> kind("jane@example.org"), kind(-3), kind([1, 2]), kind(None)
    ('text of 16 characters', 'number -3', 'array of 2', 'null')
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"text of {len(value)} characters"
        case int() | float() | Decimal():
            text = str(value)
            return f"number {text}" if len(text) <= _LONGEST_NUMBER else f"number of {len(text)} digits"
        case list():
            return f"array of {len(value)}"
        case dict():
            return f"object of {len(value)} keys"
    return type(value).__name__


def parse(raw: bytes, options: IntakeOptions, notes: list[str]) -> dict[str, Any]:
    """Read one JSON object; numbers with a fraction come as ``Decimal``.

    Parameters
    ----------
    raw
        The record.
    options
        The caps.
    notes
        Repairs are appended here.

    Raises
    ------
    SchemaError
        Too large, too deep, too many keys, a duplicate key, not UTF-8, not JSON or not an object.

    >>> parse(b'{"a": 1.10}', IntakeOptions(), [])
    {'a': Decimal('1.10')}
    """
    if len(raw) > options.max_bytes:
        raise SchemaError(
            "too_large", "$", f"{len(raw)} bytes", f"send at most {options.max_bytes} bytes, or raise max_bytes"
        )
    if len(raw) > _SMALL:
        # Tens of thousands of empty arrays would keep the garbage collector busy; text only adds to the count.
        nodes = raw.count(b"{") + raw.count(b"[")
        if nodes > options.max_keys:
            remedy = f"send at most {options.max_keys}, or split the record"
            raise SchemaError("too_many_keys", "$", f"{nodes} objects and arrays", remedy)
    try:
        record = _decode(raw)
    except RecursionError:
        raise _too_deep() from None
    except (ValueError, ArithmeticError):
        record = _read_again(raw, notes)
    if type(record) is not dict:
        raise SchemaError("type", "$", kind(record), "send one JSON object per record")
    keys = len(record) + _count_keys(record.values(), options.max_depth)
    if keys > options.max_keys:
        remedy = f"send at most {options.max_keys} keys, or split the record"
        raise SchemaError("too_many_keys", "$", f"{keys} keys", remedy)
    # Every key is followed by `":` unless space comes between; text can only add to that count, so equality is proof.
    if raw.count(b'":') != keys or b" :" in raw or b"\n" in raw or b"\t" in raw or b"\r" in raw:
        _check_duplicates(raw)
    return record


def _too_deep() -> SchemaError:
    return SchemaError("too_deep", "$", "more levels than max_depth", "send flatter properties, or raise max_depth")


def _not_json(error: json.JSONDecodeError) -> SchemaError:
    found = f"{error.msg} at character {error.pos} of {len(error.doc)}"
    return SchemaError("not_json", "$", found, "send one complete JSON object per record")


def _count_keys(values: Iterable[Any], levels: int) -> int:
    """The keys of all objects among the values of an object or a list, and within them, ``levels`` deep."""
    if levels == 0:
        raise _too_deep()
    count = 0
    for value in values:
        of = type(value)
        if of is str:
            continue
        if of is dict:
            count += len(value) + _count_keys(value.values(), levels - 1)
        elif of is list:
            count += _count_keys(value, levels - 1)
    return count


def _check_duplicates(raw: bytes) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> None:
        if len({key for key, _ in pairs}) != len(pairs):
            keys = [key for key, _ in pairs]
            repeated = next(key for index, key in enumerate(keys) if key in keys[:index])
            raise SchemaError("duplicate_key", "$", _key(repeated), "send every key once")

    raw = raw.removeprefix(_BOM)
    try:
        json.loads(raw.decode(), object_pairs_hook=unique, parse_int=len, parse_float=len)
    except json.JSONDecodeError as error:
        raise _not_json(error) from None


def _key(name: str) -> str:
    # A short plain word is a field's name; anything else may be content.
    plain = len(name) <= 40 and name.isascii() and name.replace("_", "").isalnum()
    return f'the key "{name}" twice' if plain else f"a key of {len(name)} characters twice"


def _read_again(raw: bytes, notes: list[str]) -> Any:
    """Read what the strict decoder refused: NaN, huge numbers, half an emoji; or say what is wrong with it."""
    if raw.startswith(_BOM):
        raw = raw[len(_BOM) :]
        notes.append("byte_order_mark")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise SchemaError("encoding", "$", f"no UTF-8 at byte {error.start}", "send JSON in UTF-8") from None

    def constant(_: str) -> Any:
        notes.append("non_finite")
        return None

    def integer(digits: str) -> Any:
        return int(digits) if len(digits) <= _LONGEST_NUMBER else constant(digits)

    def fraction(digits: str) -> Any:
        try:
            return Decimal(digits)
        except ArithmeticError:
            return constant(digits)

    try:
        record = json.loads(text, parse_constant=constant, parse_int=integer, parse_float=fraction)
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        raise _not_json(error) from None
    if r"\u" in text or r"\U" in text:
        record = _mended(record, notes)
    return record


def _mended(value: Any, notes: list[str]) -> Any:
    """The value without lone surrogates, which no UTF-8 can carry."""
    if isinstance(value, dict):
        return {_mended(key, notes): _mended(member, notes) for key, member in value.items()}
    if isinstance(value, list):
        return [_mended(member, notes) for member in value]
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        notes.append("cleaned_text")
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value
