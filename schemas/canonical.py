"""Canonical events from untrusted senders: typed by the union, repaired where only an optional field is unusable."""

from __future__ import annotations

import re
from datetime import tzinfo
from decimal import Decimal
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Struct

from .adapters.custom import plain_properties
from .adapters.draft import checked_id
from .adapters.segment import origin_id
from .adapters.times import millis, settle
from .adapters.values import ID_MAX, NAME_MAX, as_amount, as_id, as_label, as_scalar, as_text, as_whole
from .base import CustomerId, Id, Name, Text
from .control import ModelPublished, SlotRequested, Tick, TimerDue
from .errors import SchemaError
from .events import AnyEvent
from .identity import ErasureRequested, HandedOver, Linked, Unlinked
from .limits import IntakeOptions, kind
from .refusals import missing_field, place, refusal
from .transactions import CartChanged

_OURS: frozenset[type[Struct]] = frozenset({Tick, TimerDue, ModelPublished, HandedOver, Unlinked})
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_REPAIRS = 64
CUSTOMER_MAX = 130
# Without these an event would say something else, so they are never dropped.
_MEANING = frozenset({"added", "completed", "granted", "kind", "purpose", "scope", "status"})
_ITEM_OPTIONAL = frozenset({"category", "price", "quantity"})


class _Shape(Struct, frozen=True):
    event: type[Struct]
    optional: frozenset[str]
    ids: tuple[str, ...]
    names: tuple[str, ...]
    texts: tuple[str, ...]
    choices: dict[str, tuple[str, ...]]


def _shape(event: type[Struct]) -> _Shape:
    fields = msgspec.structs.fields(event)

    def of(*types: object) -> tuple[str, ...]:
        return tuple(field.name for field in fields if field.type in types)

    return _Shape(
        event,
        frozenset(field.name for field in fields if not field.required) - _MEANING,
        of(Id, CustomerId),
        of(Name),
        of(Text),
        {f"$.{field.name}": get_args(field.type) for field in fields if get_origin(field.type) is Literal},
    )


_SHAPES = {str(event.__struct_config__.tag): _shape(event) for event in get_args(AnyEvent) if event not in _OURS}
_OUR_TAGS = frozenset(str(event.__struct_config__.tag) for event in _OURS)


def outside_types() -> tuple[str, ...]:
    """The types of events that may come from outside, in the union's order.

    >>> "order_completed" in outside_types(), "tick" in outside_types()
    (True, False)
    """
    return tuple(_SHAPES)


def read_canonical(
    record: dict[str, Any], arrival: int | None, origin: str, zone: tzinfo, options: IntakeOptions, notes: list[str]
) -> AnyEvent:
    """The event of one canonical record.

    Parameters
    ----------
    record
        The JSON object; it is changed.
    arrival
        The broker's timestamp, milliseconds UTC; it stands above the record's ``received_at``.
    origin
        For the id of an event that has none.
    zone
        Of times without an offset.

    Raises
    ------
    SchemaError
        The type is unknown or the engine's own, or a required field is missing or unusable.
    """
    tag = record.get("type")
    shape = _SHAPES.get(tag) if type(tag) is str else None
    if shape is None:
        raise _unknown(tag)
    _fill(record, arrival, origin, zone, options, notes)
    _open_fields(record, shape, options, notes)
    for _ in range(_REPAIRS):
        try:
            event: AnyEvent = msgspec.convert(record, shape.event)  # type: ignore[assignment]  # one of the union's
        except (ValueError, ArithmeticError, RecursionError) as error:
            if not isinstance(error, msgspec.ValidationError) or not _mend(record, shape, error, notes):
                raise refusal(error, shape.choices) from None
        else:
            _check(event, shape)
            return event
    raise SchemaError("type", "$", f"more than {_REPAIRS} unusable values", "send the fields of docs/events.md")


def _unknown(tag: object) -> SchemaError:
    if tag is None:
        remedy = "send the type of a canonical event, or track, page, screen, identify, group or alias"
        return SchemaError("missing", "$.type", "nothing", remedy)
    if type(tag) is str and tag in _OUR_TAGS:
        return SchemaError("unknown_type", "$.type", f'"{tag}"', "leave this type to the engine, which alone writes it")
    plain = type(tag) is str and len(tag) <= 40 and tag.isascii() and tag.replace("_", "").isalnum()
    remedy = "send the type of a canonical event or of a Segment call; other names go into a track call's event"
    return SchemaError("unknown_type", "$.type", f'"{tag}"' if plain else kind(tag), remedy)


def _fill(
    record: dict[str, Any], arrival: int | None, origin: str, zone: tzinfo, options: IntakeOptions, notes: list[str]
) -> None:
    customer = record.get("customer")
    if type(customer) is not str or customer[:2] not in ("u:", "a:") or not 3 <= len(customer) <= CUSTOMER_MAX:
        remedy = f'send "u:" and the user id, or "a:" and the anonymous id, at most {CUSTOMER_MAX} characters'
        raise SchemaError("identity", "$.customer", "nothing" if customer is None else kind(customer), remedy)
    identity = as_id(record.get("id"))
    if identity is None:
        notes.append("derived_id")
        identity = origin_id(origin)
    record["id"] = identity
    occurred = _time(record.get("occurred_at"), zone, notes)
    received = _time(record.get("received_at"), zone, notes)
    record["occurred_at"], record["received_at"] = settle(occurred, received, arrival, "$.occurred_at", options, notes)


def _time(value: object, zone: tzinfo, notes: list[str]) -> int | None:
    if value is None:
        return None
    # A canonical number is in milliseconds, however small; only a text needs reading.
    result = as_whole(value, 0, 253_402_300_799_999) if type(value) is not str else millis(value, zone, notes)
    if result is None:
        notes.append("unreadable_time")
    return result


def _open_fields(record: dict[str, Any], shape: _Shape, options: IntakeOptions, notes: list[str]) -> None:
    for name in shape.texts:
        text = record.get(name)
        if type(text) is str:
            record[name] = as_text(text, notes)
    for name in shape.names:
        label = record.get(name)
        if type(label) is str and (len(label) > NAME_MAX or not label.isprintable()):
            record[name] = as_label(label, notes) or ""
    properties = record.get("properties")
    if type(properties) is dict:
        record["properties"] = plain_properties(properties, options.max_properties, notes)
    traits = record.get("traits")
    if type(traits) is dict:
        kept = {name: as_scalar(traits[name], notes) for name in sorted(options.traits) if name in traits}
        record["traits"] = {name: value for name, value in kept.items() if value is not None}


def _mend(record: dict[str, Any], shape: _Shape, error: Exception, notes: list[str]) -> bool:
    """Repair or drop the one value that the error names; False where the event cannot do without it."""
    what, path = place(error)
    steps = [int(index) if index else name for name, index in _STEP.findall(path)]
    containers: list[Any] = [record]
    for step in steps:
        container = containers[-1]
        if isinstance(step, str) and isinstance(container, dict) and step not in container:
            return False
        containers.append(container[step])
    if steps and missing_field(what) is None and _converted(containers[-2], steps[-1], shape, notes):
        return True
    if missing_field(what) is None and type(containers[-1]) is dict and _rounded(containers[-1], what, notes):
        return True
    for depth in range(len(steps) - 1, -1, -1):
        container, step = containers[depth], steps[depth]
        if isinstance(step, int):
            del container[step]
            notes.append(f"dropped_{steps[depth - 1]}")
            return True
        optional = shape.optional if depth == 0 else _ITEM_OPTIONAL
        if step in optional:
            del container[step]
            notes.append(f"dropped_{step}")
            return True
    return False


def _converted(container: Any, step: str | int, shape: _Shape, notes: list[str]) -> bool:
    value = container[step]
    better: object = None
    if step in shape.names or step == "category":
        better = as_label(value, notes) if type(value) is not str or len(value) > NAME_MAX else None
    elif step in shape.ids or step == "product":
        better = as_id(value) if type(value) is not str else None
    elif step in ("quantity", "position", "score") and type(value) is not int:
        better = as_whole(value, 0, 1_000_000)
    elif step == "currency" and type(value) is str and len(value) == 3 and value.isalpha() and not value.isupper():
        better = value.upper()
    if better is None:
        return False
    container[step] = better
    return True


def _rounded(container: dict[str, Any], what: str, notes: list[str]) -> bool:
    if "at most 6 decimals" not in what:
        return False
    name = "amount" if "amount" in container else "price"
    before: list[str] = []
    amount = as_amount(container.get(name), before)
    if amount is None or not before:
        return False
    container[name] = Decimal(amount)
    notes.append("rounded_amount")
    return True


def _check(event: AnyEvent, shape: _Shape) -> None:
    for name in shape.ids:
        checked_id(getattr(event, name), "$." + name, CUSTOMER_MAX)
    for item in getattr(event, "items", ()):
        checked_id(item.product + item.category, "$.items", ID_MAX + NAME_MAX)
    if isinstance(event, CartChanged):
        checked_id(event.item.product + event.item.category, "$.item", ID_MAX + NAME_MAX)
    elif isinstance(event, SlotRequested):
        for candidate in event.candidates:
            checked_id(candidate, "$.candidates")
    elif isinstance(event, Linked) and not (event.customer[0] == "a" and event.user.startswith("u:")):
        # Links lead from devices to users only, so no chain of them can close.
        raise SchemaError(
            "identity", "$.user", "another pair", 'send "a:" and an id as customer, "u:" and an id as user'
        )
    elif isinstance(event, ErasureRequested) and event.user:
        raise SchemaError(
            "identity", "$.user", "a user", "name the one whose data must go as customer, and leave user out"
        )
