"""JSON Schemas of the foreign forms that raw topics take: what a record must have to be read; more may be in it."""

from __future__ import annotations

from typing import Any

from .adapters.members import MEMBERS_MAX
from .adapters.segment import CALLS, MESSAGE_ID_MAX
from .adapters.values import ID_MAX

_ID = {"type": ["string", "number", "null"], "maxLength": ID_MAX}
_TIME = {
    "description": "RFC 3339, or seconds, milliseconds or microseconds since 1970",
    "type": ["string", "number", "null"],
}
_OBJECT = {"type": ["object", "null"]}

CALL: dict[str, Any] = {
    "title": "Call",
    "description": "A call of the Segment Spec, as Segment and RudderStack send it.",
    "type": "object",
    "properties": {
        "type": {"enum": sorted(CALLS)},
        "messageId": {
            "description": "The dedupe key",
            "type": ["string", "number", "null"],
            "maxLength": MESSAGE_ID_MAX,
        },
        "userId": _ID,
        "anonymousId": _ID,
        "previousId": {**_ID, "description": "Of alias: the id used before"},
        "groupId": {**_ID, "description": "Of group"},
        "event": {"description": "Of track: the event's name, such as Order Completed", "type": ["string", "null"]},
        "timestamp": _TIME,
        "originalTimestamp": _TIME,
        "sentAt": _TIME,
        "receivedAt": _TIME,
        "properties": _OBJECT,
        "traits": _OBJECT,
        "context": _OBJECT,
    },
    "required": ["type"],
    "anyOf": [{"required": ["userId"]}, {"required": ["anonymousId"]}],
}

CALL_BATCH: dict[str, Any] = {
    "title": "CallBatch",
    "description": "A batch of calls, as the HTTP APIs of Segment and RudderStack take it.",
    "type": "object",
    "properties": {
        "batch": {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": MEMBERS_MAX},
        "sentAt": _TIME,
        "receivedAt": _TIME,
    },
    "required": ["batch"],
}

GA4_BODY: dict[str, Any] = {
    "title": "Ga4Body",
    "description": "A body of the Measurement Protocol of Google Analytics 4: one customer, several events.",
    "type": "object",
    "properties": {
        "client_id": {**_ID, "description": "Of a web stream"},
        "app_instance_id": {**_ID, "description": "Of an app stream"},
        "user_id": _ID,
        "timestamp_micros": {"description": "Microseconds since 1970", "type": ["string", "number", "null"]},
        "user_properties": _OBJECT,
        "user_data": _OBJECT,
        "user_location": _OBJECT,
        "events": {
            "type": "array",
            "minItems": 1,
            "maxItems": MEMBERS_MAX,
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "params": _OBJECT,
                    "timestamp_micros": {"type": ["string", "number", "null"]},
                },
                "required": ["name"],
            },
        },
    },
    "required": ["events"],
    "anyOf": [{"required": ["client_id"]}, {"required": ["app_instance_id"]}, {"required": ["user_id"]}],
}

FORMS = {"call": CALL, "call_batch": CALL_BATCH, "ga4_body": GA4_BODY}


def from_outside(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a canonical event as raw topics take it: what the intake fills in may be missing.

    Parameters
    ----------
    schema
        Of the event in the log.

    >>> event = {"title": "Tick", "properties": {"occurred_at": {}, "via": {}}, "required": ["id", "type"]}
    >>> from_outside(event)["required"], list(from_outside(event)["properties"])
    (['type'], ['occurred_at'])
    """
    fields = {name: field for name, field in schema["properties"].items() if name != "via"}
    fields["occurred_at"] = {**_TIME, "description": "Milliseconds since 1970-01-01 UTC, or an RFC 3339 time"}
    required = [name for name in schema["required"] if name not in ("id", "occurred_at", "received_at")]
    return {**schema, "title": schema["title"] + "Raw", "properties": fields, "required": required}
