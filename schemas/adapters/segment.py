"""The six calls of the Segment Spec (https://segment.com/docs/connections/spec/), which RudderStack sends too."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import tzinfo
from hashlib import blake2b
from typing import Any

from ..base import anonymous_key, user_key
from ..clickstream import PageViewed
from ..errors import SchemaError
from ..events import AnyEvent
from ..identity import Identified, Linked
from ..limits import IntakeOptions, kind
from . import commerce, messages
from .custom import custom
from .draft import Draft, checked_id
from .table import both_spellings, find
from .times import when
from .values import as_id, as_label, as_scalar, as_text

MESSAGE_ID_MAX = 100
TRACK = both_spellings({**commerce.HANDLERS, **messages.HANDLERS})

_APP = frozenset({"mobile", "ios", "android", "app", "tablet", "phone"})
_WEB = frozenset({"browser", "desktop", "web", "client"})
_OFFSET = re.compile(r"GMT([+-])(\d\d):?(\d\d)", re.ASCII)
# What broken senders write for "nobody": one id for thousands of people would make one customer of them.
_NOBODY = frozenset(
    {"null", "undefined", "none", "nan", "(null)", "[object object]", "0" * 32, "00000000-0000-0000-0000-000000000000"}
)


def origin_id(origin: str) -> str:
    """The id of an event that came without one: the same whenever its record is read again.

    >>> origin_id("clickstream[0]@7")
    'o:413fa35d993efd844dc6dfbfaf2e51ca'
    """
    return "o:" + blake2b(origin.encode("utf-8", "replace"), digest_size=16).hexdigest()


def object_of(record: dict[str, Any], name: str, notes: list[str]) -> dict[str, Any]:
    """The object in a field; an empty one where there is none, and noted where something else is."""
    value = record.get(name)
    if type(value) is dict:
        return value
    if value is not None:
        notes.append("dropped_" + name)
    return {}


def identity_of(record: dict[str, Any], name: str, notes: list[str]) -> str | None:
    """The id in a field; None where there is none, or one that broken senders write for everybody.

    Raises
    ------
    SchemaError
        It is longer than 128 characters or not printable.
    """
    value = record.get(name)
    if value is None:
        return None
    text = as_id(value)
    if text is None:
        if value != "":
            notes.append("dropped_" + name)
        return None
    if text.lower() in _NOBODY:
        notes.append("placeholder_id")
        return None
    return checked_id(text, "$." + name)


def message_id(record: dict[str, Any], origin: str, notes: list[str]) -> str:
    """The call's ``messageId``, else one made of its origin.

    Raises
    ------
    SchemaError
        It is longer than 100 characters or not printable.
    """
    value = record.get("messageId")
    text = None if value is None else as_id(value)
    if text is None:
        notes.append("derived_id")
        return origin_id(origin)
    return checked_id(text, "$.messageId", MESSAGE_ID_MAX)


def channel_of(record: dict[str, Any], context: dict[str, Any], default: str, notes: list[str]) -> str:
    """``context.channel``, else the device's type, else the default; a browser is ``web``, a telephone ``app``."""
    value = context.get("channel") or record.get("channel")
    if value is None:
        device = context.get("device")
        if type(device) is not dict:
            return default
        value = device.get("type")
    if value is None:
        return default
    name = (as_label(value, notes) or default).lower()
    return "app" if name in _APP else "web" if name in _WEB else name


def identify(draft: Draft, record: dict[str, Any], user: str | None, anonymous: str | None) -> tuple[AnyEvent, ...]:
    """Identified; after a Linked of the anonymous customer, where the call names both."""
    event = Identified(**draft.head, **facts(draft))
    if user is None or anonymous is None:
        return (event,)
    return (link(draft, anonymous, user), event)


def link(draft: Draft, anonymous: str, user: str) -> Linked:
    """The anonymous customer turned out to be the user; the link comes before the event that tells it."""
    head = {**draft.head, "id": draft.head["id"] + "#link", "customer": anonymous_key(anonymous)}
    return Linked(**head, user=user_key(user))


def facts(draft: Draft) -> dict[str, Any]:
    """What ``Identified`` keeps of traits: of addresses and numbers whether there is one, of traits the allow-listed."""
    traits, context, notes = draft.properties, draft.context, draft.notes
    get = traits.get
    address = get("address")
    country = get("country") or (address.get("country") if type(address) is dict else None)
    locale = context.get("locale")
    if country is None and type(locale) is str and len(locale) >= 5 and locale[-3] in "-_":
        country = locale[-2:]
    name = as_label(country, notes) or ""
    kept = {}
    for trait in draft.options.traits:
        value = get(trait)
        if value is not None:
            scalar = as_scalar(value, notes)
            if scalar is None:
                notes.append("dropped_trait")
            else:
                kept[trait] = scalar
    return {
        "email": _on_file(get("email")),
        "phone": _on_file(get("phone")),
        "timezone": zone_name(as_label(get("timezone") or context.get("timezone"), notes) or "", notes),
        "country": name.upper() if len(name) == 2 else name,
        # In the order of names, because that of a set differs from process to process.
        "traits": dict(sorted(kept.items())),
    }


def _on_file(value: object) -> bool:
    return value is True or (type(value) is str and bool(value.strip()))


def group(draft: Draft, record: dict[str, Any], user: str | None, anonymous: str | None) -> tuple[AnyEvent, ...]:
    """Identified with the trait ``group``, where that is allow-listed."""
    value = as_id(record.get("groupId"))
    if value is None:
        raise SchemaError("missing", "$.groupId", "nothing", "send the group's id as text")
    traits = {"group": checked_id(value, "$.groupId")} if "group" in draft.options.traits else {}
    return (Identified(**draft.head, traits=traits),)


def alias(draft: Draft, record: dict[str, Any], user: str | None, anonymous: str | None) -> tuple[AnyEvent, ...]:
    """Linked: ``previousId`` turned out to be ``userId``."""
    previous = identity_of(record, "previousId", draft.notes) or anonymous
    if user is None:
        raise SchemaError("identity", "$.userId", "nothing", "send the user's id as userId")
    if previous is None:
        raise SchemaError("identity", "$.previousId", "nothing", "send the id used before as previousId")
    # The link is all there is, so it keeps the call's own id.
    return (Linked(**{**draft.head, "customer": anonymous_key(previous)}, user=user_key(user)),)


def page(draft: Draft, record: dict[str, Any], user: str | None, anonymous: str | None) -> tuple[AnyEvent, ...]:
    """PageViewed of a page or a screen; addresses are kept without their query, which may hold personal data."""
    shown = draft.context.get("page")
    where: dict[str, Any] = shown if type(shown) is dict else {}
    get, notes = draft.properties.get, draft.notes
    path = get("path") or where.get("path") or path_of(get("url") or where.get("url"))
    campaign = draft.context.get("campaign")
    source = campaign.get("source") if type(campaign) is dict else None
    return (
        PageViewed(
            **draft.head,
            path=plain_address(as_text(path, notes)),
            title=as_text(get("title") or record.get("name") or get("name") or where.get("title"), notes) or "",
            referrer=plain_address(as_text(get("referrer") or where.get("referrer"), notes)),
            source=as_label(source or get("utm_source"), notes) or "",
        ),
    )


def plain_address(address: str | None) -> str:
    """An address without query and fragment, which may hold personal data.

    >>> plain_address("/cart?email=jane#top")
    '/cart'
    """
    # RudderStack writes $direct where there is no referrer
    return address.partition("?")[0].partition("#")[0] if address and address != "$direct" else ""


def zone_name(text: str, notes: list[str]) -> str:
    """The IANA name of an offset as RudderStack writes it; one of half an hour has none, and is dropped and noted.

    >>> zone_name("GMT+0100", []), zone_name("Europe/Paris", []), zone_name("GMT+0530", notes := []), notes
    ('Etc/GMT-1', 'Europe/Paris', '', ['dropped_timezone'])
    """
    found = _OFFSET.fullmatch(text)
    if found is None:
        return text
    sign, hours, minutes = found.groups()
    if minutes != "00" or int(hours) > (14 if sign == "+" else 12):
        notes.append("dropped_timezone")
        return ""
    # IANA counts these names from the other side
    return "Etc/UTC" if hours == "00" else f"Etc/GMT{'-' if sign == '+' else '+'}{int(hours)}"


def path_of(url: object) -> object:
    """The path of a URL; what is none stays as it is.

    >>> path_of("https://shop.example/cart?x=1"), path_of("/cart")
    ('/cart?x=1', '/cart')
    """
    if type(url) is not str:
        return url
    _, scheme, rest = url.partition("://")
    return "/" + rest.partition("/")[2] if scheme else url


def track(draft: Draft, record: dict[str, Any], user: str | None, anonymous: str | None) -> tuple[AnyEvent, ...]:
    """The event of the vocabulary with this name, else ``Custom``."""
    name = record.get("event")
    if type(name) is not str or not name.strip():
        found = "nothing" if name is None else kind(name)
        raise SchemaError("missing", "$.event", found, "send the event's name as text, such as Order Completed")
    handler = find(TRACK, name)
    if handler is not None:
        return (handler(draft),)
    draft.notes.append("unknown_event")
    return (custom(draft, name),)


Call = Callable[[Draft, dict[str, Any], str | None, str | None], tuple[AnyEvent, ...]]
CALLS: dict[str, tuple[Call, str, str]] = {
    "track": (track, "properties", "web"),
    "page": (page, "properties", "web"),
    "screen": (page, "properties", "app"),
    "identify": (identify, "traits", "web"),
    "group": (group, "traits", "web"),
    "alias": (alias, "traits", "web"),
}


def read_call(
    record: dict[str, Any], arrival: int | None, origin: str, zone: tzinfo, options: IntakeOptions, notes: list[str]
) -> tuple[AnyEvent, ...]:
    """The canonical events of one call, in the order in which they must be applied.

    Parameters
    ----------
    record
        The call; its ``type`` is a key of ``CALLS``.
    arrival
        The broker's timestamp, milliseconds UTC; None where there is none.
    origin
        Where the record came from, for the id of an event that has none.
    zone
        Of times without an offset.

    Raises
    ------
    SchemaError
        What is missing or unusable cannot be done without.
    """
    call, content, default_channel = CALLS[record["type"]]
    user = identity_of(record, "userId", notes)
    anonymous = None if user is not None and call is track else identity_of(record, "anonymousId", notes)
    if user is None and anonymous is None:
        remedy = "send userId or anonymousId as text"
        raise SchemaError("identity", "$.userId", "neither userId nor anonymousId", remedy)
    context = object_of(record, "context", notes)
    occurred_at, received_at = when(record, arrival, zone, options, notes)
    head = {
        "id": message_id(record, origin, notes),
        "customer": user_key(user) if user is not None else anonymous_key(anonymous or ""),
        "occurred_at": occurred_at,
        "received_at": received_at,
        "channel": channel_of(record, context, default_channel, notes),
    }
    properties = object_of(record, content, notes)
    if content == "traits" and not properties:
        # Server libraries put the traits of an identify call into its context.
        properties = object_of(context, "traits", notes)
    draft = Draft(head, properties, context, options, notes, "$." + content)
    return call(draft, record, user, anonymous)
