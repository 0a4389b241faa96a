"""Records that hold several: each member is read by itself, so that one that is refused takes no other with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Any

from ..errors import SchemaError
from ..events import AnyEvent
from ..limits import IntakeOptions, kind
from .segment import CALLS, read_call

MEMBERS_MAX = 500
REFUSALS_MAX = 25


def members(record: dict[str, Any], name: str, remedy: str) -> list[Any]:
    """The members in a field.

    Raises
    ------
    SchemaError
        It is no list, empty, or longer than 500.
    """
    found = record[name]
    if type(found) is not list:
        raise SchemaError("type", "$." + name, kind(found), remedy)
    if not found:
        raise SchemaError("missing", "$." + name, "an empty array", remedy)
    if len(found) > MEMBERS_MAX:
        raise SchemaError("range", "$." + name, kind(found), f"send at most {MEMBERS_MAX} in one record")
    return found


def each(
    found: Sequence[Any], name: str, read: Callable[[Any, int], tuple[AnyEvent, ...]], refused: list[SchemaError]
) -> tuple[AnyEvent, ...]:
    """The events of all members in their order; refusals are appended, with where the member lies.

    After 25 of them one more says how many there were besides: a small record must not become hundreds of dead letters.

    Parameters
    ----------
    found
        The members.
    name
        Of the field that holds them.
    read
        Gives the events of a member and its number; errors name fields below ``$``.
    refused
        Takes the refusals.
    """
    events: list[AnyEvent] = []
    more = 0
    for number, member in enumerate(found):
        try:
            if type(member) is not dict:
                raise SchemaError("type", "$", kind(member), "send an object for each")
            events += read(member, number)
        except SchemaError as error:
            if len(refused) == REFUSALS_MAX:
                more += 1
                continue
            field = f"$.{name}[{number}]{error.field[1:]}"
            refused.append(SchemaError(error.reason, field, error.found, error.remedy))
    if more:
        remedy = "mend what the letters before name, and send the record again"
        refused.append(SchemaError("range", "$." + name, f"{more} more that were refused", remedy))
    return tuple(events)


def read_batch(
    record: dict[str, Any],
    arrival: int | None,
    origin: str,
    zone: tzinfo,
    options: IntakeOptions,
    notes: list[str],
    refused: list[SchemaError],
) -> tuple[AnyEvent, ...]:
    """The events of a batch of Segment's or RudderStack's HTTP API: its ``sentAt`` is that of calls without one.

    Raises
    ------
    SchemaError
        It is no batch; what is wrong with a call is in ``refused``.
    """
    shared: dict[str, Any] = {name: record[name] for name in ("sentAt", "receivedAt") if name in record}

    def read(call: dict[str, Any], number: int) -> tuple[AnyEvent, ...]:
        tag = call.get("type")
        if type(tag) is not str or tag not in CALLS:
            found = "nothing" if tag is None else kind(tag)
            raise SchemaError("unknown_type", "$.type", found, "send one of " + ", ".join(CALLS))
        return read_call({**shared, **call}, arrival, f"{origin}#{number}", zone, options, notes)

    return each(members(record, "batch", "send an array of calls"), "batch", read, refused)
