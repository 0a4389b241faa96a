"""What could not be read: origin and reason, never the content, so that it can be found, mended and sent again."""

from __future__ import annotations

from msgspec import Struct

from .base import Millis
from .errors import SchemaError


class DeadLetter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record that was refused.

    Parameters
    ----------
    origin
        Where it came from: ``topic[partition]@offset`` or ``file:line``.
    reason, field, found, remedy
        As in ``SchemaError``.
    size
        Bytes of the whole record. The record itself stays where it came from: it may hold personal data.
    """

    origin: str
    reason: str
    field: str
    found: str
    remedy: str
    received_at: Millis
    size: int


def dead_letter(error: SchemaError, raw: bytes, origin: str, received_at: int) -> DeadLetter:
    """The dead letter of a refused record.

    >>> dead_letter(SchemaError("not_json", "$", "x", "send JSON"), b"x", "raw[0]@7", 0).origin
    'raw[0]@7'
    """
    return DeadLetter(
        origin=origin,
        reason=error.reason,
        field=error.field,
        found=error.found,
        remedy=error.remedy,
        received_at=received_at,
        size=len(raw),
    )
