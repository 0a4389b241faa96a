"""Every canonical struct survives its codec; old bytes and bytes of other versions still decode."""

import json
import string
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.codec import (
    decode_conversion,
    decode_dead_letter,
    decode_decision,
    decode_event,
    encode_conversion,
    encode_dead_letter,
    encode_decision,
    encode_event,
)
from schemas.dead_letters import DeadLetter
from schemas.decisions import Action, Candidate, Conversion, Decision, Reason
from schemas.errors import SchemaError
from schemas.events import AnyEvent
from schemas.export import event_types, export, export_events
from schemas.money import Item, Money

OLD = Path(__file__).parent / "fixtures" / "events-v1.jsonl"
OLD_LINES = OLD.read_bytes().splitlines()
# Runs repeat exactly, and a busy machine fails none of them.
exact = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])

# No UTF-8 carries half a surrogate pair.
characters = st.characters(codec="utf-8")
texts = st.text(characters, max_size=20)
amounts = st.decimals(min_value=Decimal(-999999999), max_value=Decimal(999999999), places=2)
currencies = st.text(string.ascii_uppercase, min_size=3, max_size=3)
money = st.builds(Money, amounts, currencies)
items = st.builds(
    Item,
    product=texts.filter(bool),
    category=texts,
    price=st.none() | amounts,
    quantity=st.integers(1, 1_000_000),
)


def strategy(annotation: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, its bounds kept."""
    known = msgspec.inspect.type_info(annotation)
    return from_info(known)


def from_info(info: Any) -> st.SearchStrategy[Any]:
    kinds = msgspec.inspect
    match info:
        case kinds.Metadata():
            return from_info(info.type)
        case kinds.UnionType():
            return st.one_of([from_info(part) for part in info.types])
        case kinds.NoneType():
            return st.none()
        case kinds.BoolType():
            return st.booleans()
        case kinds.IntType():
            return st.integers(info.ge if info.ge is not None else -(2**53), info.le if info.le is not None else 2**53)
        case kinds.FloatType():
            return st.floats(info.ge, info.le, allow_nan=False, allow_infinity=False)
        case kinds.StrType() if info.pattern:
            return currencies
        case kinds.StrType():
            return st.text(characters, min_size=info.min_length or 0, max_size=min(info.max_length or 30, 30))
        case kinds.BytesType():
            return st.binary(max_size=30)
        case kinds.DecimalType():
            return amounts
        case kinds.LiteralType():
            return st.sampled_from(info.values)
        case kinds.VarTupleType():
            return st.lists(from_info(info.item_type), max_size=3).map(tuple)
        case kinds.DictType():
            return st.dictionaries(from_info(info.key_type), from_info(info.value_type), max_size=3)
        case kinds.StructType():
            return structs(info.cls)
    raise NotImplementedError(info)


def structs(cls: type[Any]) -> st.SearchStrategy[Any]:
    if cls is Money:
        return money
    if cls is Item:
        return items
    fields = msgspec.structs.fields(cls)
    required = {field.name: strategy(field.type) for field in fields if field.required}
    optional = {field.name: strategy(field.type) for field in fields if not field.required}
    return st.fixed_dictionaries(required, optional=optional).map(lambda values: cls(**values))


@pytest.mark.parametrize("cls", get_args(AnyEvent), ids=lambda cls: cls.__name__)
@exact
@given(data=st.data())
def test_events_round_trip(cls: type[Any], data: st.DataObject) -> None:
    event = data.draw(structs(cls))
    encoded = encode_event(event)
    assert decode_event(encoded) == event
    assert encode_event(decode_event(encoded)) == encoded


@exact
@given(structs(Decision))
def test_decisions_round_trip(decision: Decision) -> None:
    assert decode_decision(encode_decision(decision)) == decision


@exact
@given(structs(Conversion))
def test_conversions_round_trip(conversion: Conversion) -> None:
    assert decode_conversion(encode_conversion(conversion)) == conversion


@exact
@given(structs(DeadLetter))
def test_dead_letters_round_trip(letter: DeadLetter) -> None:
    assert decode_dead_letter(encode_dead_letter(letter)) == letter


def test_keys_of_open_fields_have_one_order() -> None:
    first, second = ({"b": 1.0, "a": 2.0}, {"a": 2.0, "b": 1.0})
    assert encode_decision(decision(scores=first)) == encode_decision(decision(scores=second))


def decision(**fields: Any) -> Decision:
    return Decision(
        id="d1", customer="u:1", campaign="c", topic="offers", action=Action(id="a", channel="email"), arm="treated",
        issued_at=1, expires_at=2, source="e1", signal="s", effect=0.1,
        reasons=(Reason(feature="f", value=1.0),), eligible=(Candidate(campaign="c", action="a", gain=0.0),), **fields,
    )  # fmt: skip


def test_old_bytes_hold_every_event_type() -> None:
    assert {json.loads(line)["type"] for line in OLD_LINES} == set(event_types())


@pytest.mark.parametrize("line", OLD_LINES, ids=lambda line: str(json.loads(line)["type"]))
def test_old_bytes_decode(line: bytes) -> None:
    event = decode_event(line)
    written = json.loads(line)
    # Whatever was written then is still said now, a default included.
    assert {**msgspec.to_builtins(event, builtin_types=(Decimal,)), "type": written["type"]}.keys() >= written.keys()
    assert decode_event(encode_event(event)) == event


@pytest.mark.parametrize("line", OLD_LINES, ids=lambda line: str(json.loads(line)["type"]))
def test_other_versions_decode(line: bytes) -> None:
    record = json.loads(line)
    expected = decode_event(line)
    assert decode_event(json.dumps({**record, "of_a_later_version": {"a": [1]}}).encode()) == expected
    cls = event_types()[record["type"]]
    for field in msgspec.structs.fields(cls):
        older = {name: value for name, value in record.items() if name != field.name}
        if field.required:
            with pytest.raises(SchemaError) as caught:
                decode_event(json.dumps(older).encode())
            assert caught.value.field == f"$.{field.name}"
        else:
            assert type(decode_event(json.dumps(older).encode())) is cls


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"[" * 100_000, "type"),
        (b'"\xff"', "type"),
        (b"{}", "missing"),
        (b'{"type":"nothing"}', "unknown_type"),
        (b'{"type":"page_viewed","id":5}', "type"),
        (b'{"type":"page_viewed","id":""}', "range"),
    ],
)
def test_what_is_no_event_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(SchemaError) as caught:
        decode_event(data)
    assert caught.value.reason == reason


def test_schemas_describe_every_record() -> None:
    schemas = export()
    assert set(schemas) == {*event_types(), "decision", "conversion", "suppressed", "dead_letter"}
    assert all(schema["description"] and schema["type"] == "object" for schema in schemas.values())
    assert json.loads(json.dumps(schemas)) == schemas
    assert len(export_events()["anyOf"]) == len(event_types())
