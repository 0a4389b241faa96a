"""Where a raw record belongs before anything is read of it but its name, its customer and its time."""

from __future__ import annotations

from datetime import UTC, tzinfo
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from .adapters.members import MEMBERS_MAX
from .adapters.segment import CALLS
from .adapters.table import letters
from .adapters.times import millis, settle, when
from .adapters.values import as_id, as_whole
from .errors import SchemaError
from .limits import DEFAULTS

CLICKSTREAM, TRANSACTIONS, FEEDBACK, OUTCOMES = "clickstream", "transactions", "feedback", "outcomes"
RAW_TOPICS = (CLICKSTREAM, TRANSACTIONS, FEEDBACK, OUTCOMES)

# Canonical types and Segment's names alike, for spelling does not count; whatever is not here is clickstream.
_NAMES = {
    TRANSACTIONS: (
        "Cart Changed",
        "Cart Viewed",
        "Product Added",
        "Added Product",
        "Wishlist Product Added to Cart",
        "Product Removed",
        "Removed Product",
        "Checkout Started",
        "Started Order",
        "Checkout Advanced",
        "Checkout Step Viewed",
        "Checkout Step Completed",
        "Payment Info Entered",
        "Order Completed",
        "Completed Order",
        "Order Updated",
        "Updated Order",
        "Order Refunded",
        "Order Cancelled",
        "Order Canceled",
        "Coupon Used",
        "Coupon Entered",
        "Coupon Applied",
        "Coupon Denied",
        "Coupon Removed",
        "Subscription Changed",
        "Subscription Started",
        "Subscription Renewed",
        "Subscription Cancelled",
        "Subscription Canceled",
        "Trial Started",
        "Trial Ended",
        "Account Deleted",
    ),
    FEEDBACK: (
        "Product Reviewed",
        "Survey Answered",
        "Message Received",
        "Live Chat Message Sent",
        "Live Chat Message Received",
    ),
    OUTCOMES: (
        "Email Delivered",
        "Email Opened",
        "Email Link Clicked",
        "Email Bounced",
        "Email Marked as Spam",
        "Unsubscribed",
        "Push Notification Received",
        "Push Notification Tapped",
        "Push Notification Bounced",
        "Outcome Reported",
        "Experiment Viewed",
        "Decision Exposed",
        "Contact Suppressed",
    ),
}
_TOPICS = {letters(name): topic for topic, names in _NAMES.items() for name in names}
_LONGEST_NAME = 128
_BOM = b"\xef\xbb\xbf"


class Glance(Struct, frozen=True, gc=False):
    """What a raw record shows at a glance.

    Parameters
    ----------
    topic
        The raw topic that it belongs to.
    key
        The user id, else the anonymous id; None where it has neither. All of one id goes into one partition.
    at
        When it happened, as the intake will understand it; milliseconds UTC, None where it does not say.
    arrived
        When it reached its sender's collector, else ``at``.
    """

    topic: str = CLICKSTREAM
    key: bytes | None = None
    at: int | None = None
    arrived: int | None = None


class _Fields(Struct, frozen=True, rename="camel"):
    type: Any = None
    event: Any = None
    user_id: Any = None
    anonymous_id: Any = None
    timestamp: Any = None
    original_timestamp: Any = None
    received_at: Any = None
    sent_at: Any = None
    customer: Any = None
    ga4_user_id: Any = msgspec.field(default=None, name="user_id")
    ga4_client_id: Any = msgspec.field(default=None, name="client_id")
    ga4_app_instance_id: Any = msgspec.field(default=None, name="app_instance_id")
    ga4_timestamp_micros: Any = msgspec.field(default=None, name="timestamp_micros")
    events: Any = None
    batch: Any = None
    canonical_occurred_at: Any = msgspec.field(default=None, name="occurred_at")
    canonical_received_at: Any = msgspec.field(default=None, name="received_at")


_UNREADABLE = Glance()
_decode = msgspec.json.Decoder(_Fields, float_hook=Decimal).decode


def raw_topic(name: str) -> str:
    """The raw topic of an event, by the type of a canonical one or the name of a Segment track call.

    >>> raw_topic("order_completed"), raw_topic("Order Completed"), raw_topic("Email Opened"), raw_topic("played")
    ('transactions', 'transactions', 'outcomes', 'clickstream')
    """
    return _TOPICS.get(letters(name), CLICKSTREAM) if len(name) <= _LONGEST_NAME else CLICKSTREAM


def glance(raw: bytes, zone: tzinfo = UTC) -> Glance:
    """Look at a record without reading all of it; one that is no JSON object is clickstream, where the intake says so.

    Of a record that holds several the first that says so decides where it goes and whose it is: a body of GA4 is
    clickstream, whatever happened, and at the time of its first event; it arrived at that of its last.

    Parameters
    ----------
    raw
        The record's bytes.
    zone
        Of times without an offset.

    >>> glance(b'{"type": "track", "event": "Order Completed", "userId": "7", "timestamp": "1970-01-01T00:00:01Z"}')
    Glance(topic='transactions', key=b'7', at=1000, arrived=1000)
    """
    try:
        fields = _decode(raw.removeprefix(_BOM))
    except (ValueError, ArithmeticError, RecursionError):
        return _UNREADABLE
    return _glance(fields, zone)


def _glance(fields: _Fields, zone: tzinfo) -> Glance:
    kind = fields.type
    if type(kind) is not str:
        return _several(fields, zone)
    if kind in CALLS:
        named = kind == "track" and type(fields.event) is str
        topic = raw_topic(fields.event) if named else CLICKSTREAM
        at, arrived = _call_times(fields, zone)
        return Glance(topic, _key(fields.user_id) or _key(fields.anonymous_id), at, arrived)
    at, arrived = _canonical_times(fields, zone)
    customer = fields.customer
    key = _key(customer[2:]) if type(customer) is str and customer[:2] in ("u:", "a:") else None
    return Glance(raw_topic(kind), key, at, arrived)


def _several(fields: _Fields, zone: tzinfo) -> Glance:
    if type(fields.events) is list:
        key = _key(fields.ga4_user_id) or _key(fields.ga4_client_id) or _key(fields.ga4_app_instance_id)
        own = (event.get("timestamp_micros") for event in fields.events if type(event) is dict)
        times = [at for value in (fields.ga4_timestamp_micros, *own) if (at := millis(value, zone, [])) is not None]
        return Glance(CLICKSTREAM, key, min(times), max(times)) if times else Glance(CLICKSTREAM, key)
    if type(fields.batch) is list:
        shared = {"sentAt": fields.sent_at, "receivedAt": fields.received_at}
        calls = [{**shared, **call} for call in fields.batch[:MEMBERS_MAX] if type(call) is dict]
        seen = [_glance(msgspec.convert(call, _Fields), zone) for call in calls if type(call.get("type")) is str]
        first = next((one for one in seen if one.key is not None), _UNREADABLE)
        times = [one.at for one in seen if one.at is not None]
        arrived = [one.arrived for one in seen if one.arrived is not None]
        return Glance(first.topic, first.key, min(times, default=None), max(arrived, default=None))
    return _UNREADABLE


def _key(value: object) -> bytes | None:
    text = None if value is None else as_id(value)
    return None if text is None else text.encode("utf-8", "replace")


def _call_times(fields: _Fields, zone: tzinfo) -> tuple[int | None, int | None]:
    record = {
        "timestamp": fields.timestamp,
        "originalTimestamp": fields.original_timestamp,
        "receivedAt": fields.received_at,
        "sentAt": fields.sent_at,
    }
    try:
        at, arrived = when(record, None, zone, DEFAULTS, [])
    except SchemaError:
        return None, None
    if fields.received_at is None and fields.sent_at is not None:
        # The intake takes arrival - sentAt for the error of the sender's clock, which nobody knows here: none, then.
        return at, millis(fields.sent_at, zone, []) or arrived
    return at, arrived


def _canonical_times(fields: _Fields, zone: tzinfo) -> tuple[int | None, int | None]:
    occurred = _canonical_time(fields.canonical_occurred_at, zone)
    received = _canonical_time(fields.canonical_received_at, zone)
    try:
        return settle(occurred, received, None, "$.occurred_at", DEFAULTS, [])
    except SchemaError:
        return None, None


def _canonical_time(value: object, zone: tzinfo) -> int | None:
    return millis(value, zone, []) if type(value) is str else as_whole(value, 0, 253_402_300_799_999)
