"""Events outside the vocabulary: kept with their plain properties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..control import Custom
from .draft import Draft
from .table import letters
from .values import as_label, as_scalar

# Custom properties travel through the log as they are, so what is surely personal stays out of them.
_PERSONAL = frozenset(
    {
        "address", "birthday", "birthdate", "cardnumber", "dateofbirth", "email", "emailaddress", "firstname", "fullname",
        "iban", "ip", "ipaddress", "lastname", "mobile", "password", "phone", "phonenumber", "recipient", "ssn", "street",
        "token", "useragent", "username",
    }
)  # fmt: skip


def plain_properties(
    properties: Mapping[str, Any], limit: int, notes: list[str]
) -> dict[str, str | float | bool | None]:
    """At most ``limit`` plain values; nested, missing, non-finite and personal ones are dropped and noted.

    >>> plain_properties({"step": 2, "email": "jane@example.org", "deep": {}}, 32, notes := []), notes
    ({'step': 2}, ['personal_property', 'dropped_property'])
    """
    kept: dict[str, str | float | bool | None] = {}
    for key, value in properties.items():
        if len(kept) == limit:
            notes.append("cut_properties")
            break
        if letters(key) in _PERSONAL:
            notes.append("personal_property")
            continue
        scalar = as_scalar(value, notes)
        label = as_label(key, notes)
        if scalar is None or label is None:
            notes.append("dropped_property")
        else:
            kept[label] = scalar
    return kept


def custom(draft: Draft, name: str) -> Custom:
    """The event as ``Custom``, with its plain properties."""
    properties = plain_properties(draft.properties, draft.options.max_properties, draft.notes)
    return Custom(**draft.head, name=as_label(name, draft.notes) or "unnamed", properties=properties)
