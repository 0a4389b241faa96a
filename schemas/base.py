"""What every canonical event carries, and the constrained types that its fields are made of."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Millis = Annotated[int, Meta(ge=0, le=253_402_300_799_999, description="Milliseconds since 1970-01-01 UTC")]
Id = Annotated[str, Meta(min_length=1, max_length=128, description="An identifier, 1 to 128 characters")]
CustomerId = Annotated[
    str, Meta(min_length=3, max_length=130, description="`u:` and the user id, or `a:` and the anonymous id")
]
Name = Annotated[str, Meta(max_length=128)]
Text = Annotated[str, Meta(max_length=4096)]
Scalar = str | int | float | bool | None

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The part that all canonical events share.

    Parameters
    ----------
    id
        The dedupe key: the sender's message id, or one derived from the record's origin.
    customer
        ``u:<user id>`` or ``a:<anonymous id>``: the key of the event's partition.
    occurred_at, received_at
        Milliseconds UTC: when it happened (clock skew corrected), and when it reached us.
    channel
        Where it happened: web, app, email, store, ...
    via
        The partition of a raw topic that it came through, such as ``clickstream/0``; empty for what the engine itself
        wrote, and in files. Partition time follows it.
    """

    id: Id
    customer: CustomerId
    occurred_at: Millis
    received_at: Millis
    channel: Name = "web"
    via: Name = ""


def user_key(user_id: str) -> str:
    """The customer id of a known user.

    >>> user_key("17850")
    'u:17850'
    """
    return "u:" + user_id


def anonymous_key(anonymous_id: str) -> str:
    """The customer id of an anonymous device.

    >>> anonymous_key("9f2c")
    'a:9f2c'
    """
    return "a:" + anonymous_id
