"""Bodies of the Measurement Protocol of Google Analytics 4: one customer, up to 25 events.

https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference
"""

from __future__ import annotations

import json
from datetime import tzinfo
from hashlib import blake2b
from typing import Any

from ..base import anonymous_key, user_key
from ..errors import SchemaError
from ..events import AnyEvent
from ..identity import Identified
from ..limits import IntakeOptions, kind
from .custom import custom
from .draft import Draft
from .ga4_events import HANDLERS
from .members import each, members
from .segment import facts, identity_of, link, object_of, origin_id
from .table import letters
from .times import millis, settle

DEVICES = {"client_id": "web", "app_instance_id": "app"}
_LONGEST_NAME = 128
_LINKING = frozenset({"login", "sign_up"})
_NAMES = {letters(name): name for name in HANDLERS}
_ON_FILE = {"email": "sha256_email_address", "phone": "sha256_phone_number"}


def is_body(record: dict[str, Any]) -> bool:
    """Whether a record is a body of the Measurement Protocol: it has ``events`` and, unlike all other records, no ``type``.

    >>> is_body({"client_id": "1.2", "events": []}), is_body({"type": "track", "events": []})
    (True, False)
    """
    return "events" in record and "type" not in record


class _Body:
    """What the events of a body share."""

    def __init__(
        self,
        record: dict[str, Any],
        arrival: int | None,
        origin: str,
        zone: tzinfo,
        options: IntakeOptions,
        notes: list[str],
    ) -> None:
        self.user = identity_of(record, "user_id", notes)
        found = [(name, text) for name in DEVICES if (text := identity_of(record, name, notes)) is not None]
        if self.user is None and not found:
            remedy = "send client_id or app_instance_id, and user_id where it is known, as text"
            raise SchemaError("identity", "$.client_id", "neither client_id, app_instance_id nor user_id", remedy)
        device, self.device = found[0] if found else ("client_id", "")
        self.customer = user_key(self.user) if self.user is not None else anonymous_key(self.device)
        self.channel = DEVICES[device]
        self.micros = record.get("timestamp_micros")
        self._arrival = arrival
        self._origin = origin
        self._zone = zone
        self.options = options
        self.notes = notes
        self._start = _digest(self.customer, self.device, self.micros)

    def head(self, member: int, micros: object, content: object) -> dict[str, Any]:
        """The fields that all canonical events share.

        Parameters
        ----------
        member
            0 for the user's properties, 1 for the first event: events of one moment sort as they stand in the body.
        micros
            The member's own time; None for the body's.
        content
            What the id is made of besides customer and time.
        """
        value = self.micros if micros is None else micros
        occurred = None if value is None else millis(value, self._zone, self.notes)
        if occurred is None:
            if value is not None:
                self.notes.append("unreadable_time")
            if self._arrival is None:
                found = "nothing" if value is None else kind(value)
                raise SchemaError("time", "$.timestamp_micros", found, "send microseconds since 1970 as a number")
            # Two events of a client that say no time could be one sent twice, or two: the record decides.
            identity = origin_id(f"{self._origin}#{member}")
            self.notes.append("derived_id")
        else:
            identity = f"g:{self._start}-{member:03}-{_digest(micros, content)}"
        at = settle(occurred, None, self._arrival, "$.timestamp_micros", self.options, self.notes)
        return {
            "id": identity,
            "customer": self.customer,
            "occurred_at": at[0],
            "received_at": at[1],
            "channel": self.channel,
        }

    def event(self, event: dict[str, Any], number: int) -> tuple[AnyEvent, ...]:
        """What one event becomes, in the order in which it must be applied."""
        name = event.get("name")
        if type(name) is not str or not name.strip():
            found = "nothing" if name is None else kind(name)
            raise SchemaError("missing", "$.name", found, "send the event's name as text, such as purchase")
        params = object_of(event, "params", self.notes)
        head = self.head(number + 1, event.get("timestamp_micros"), (name, params))
        draft = Draft(head, params, {}, self.options, self.notes, "$.params")
        known = name if name in HANDLERS else _NAMES.get(letters(name)) if len(name) <= _LONGEST_NAME else None
        if known is None:
            self.notes.append("unknown_event")
            return (custom(draft, name),)
        events = HANDLERS[known](draft)
        if known in _LINKING and self.user is not None and self.device:
            return (link(draft, self.device, self.user), *events)
        return events

    def person(self, record: dict[str, Any]) -> tuple[AnyEvent, ...]:
        """Identified, where the body says anything of its person that is kept."""
        properties = object_of(record, "user_properties", self.notes)
        traits = {name: held.get("value") if type(held) is dict else held for name, held in properties.items()}
        data = object_of(record, "user_data", self.notes)
        for trait, name in _ON_FILE.items():
            if data.get(name):
                traits.setdefault(trait, True)
        place = object_of(record, "user_location", self.notes).get("country_id")
        if place is not None:
            traits.setdefault("country", place)
        if not traits:
            return ()
        kept = facts(Draft({}, traits, {}, self.options, self.notes))
        if not any(kept.values()):
            return ()
        return (Identified(**self.head(0, None, kept), **kept),)


def _digest(*parts: object) -> str:
    # json, for it takes numbers of any size; what it cannot write, such as a decimal, has a text
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return blake2b(text.encode(), digest_size=12).hexdigest()


def read_body(
    record: dict[str, Any],
    arrival: int | None,
    origin: str,
    zone: tzinfo,
    options: IntakeOptions,
    notes: list[str],
    refused: list[SchemaError],
) -> tuple[AnyEvent, ...]:
    """The canonical events of one body, in the order in which they must be applied.

    Parameters
    ----------
    record
        The body, as of ``is_body``.
    arrival
        The broker's timestamp, milliseconds UTC; None where there is none.
    origin
        Where the record came from, for the ids of events that say no time.
    zone
        Of times that are texts without an offset.
    refused
        Takes what is wrong with an event; the others are read.

    Raises
    ------
    SchemaError
        Nobody's body, or none with events.
    """
    found = members(record, "events", "send an array of events, each with a name")
    body = _Body(record, arrival, origin, zone, options, notes)
    try:
        person = body.person(record)
    except SchemaError as error:
        if error.reason != "time":
            raise
        person = ()  # the events may have times of their own
        notes.append("dropped_user_properties")
    return (*person, *each(found, "events", body.event, refused))
