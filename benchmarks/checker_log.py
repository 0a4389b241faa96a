"""What an event log says of people: who is whose device, who lives where, who consented to what. For ``checker.py``.

Of the standard library only, as the checker must not share a mistake with the engine.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

Json = dict[str, Any]
DAY_MS = 86_400_000
UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}
ANY = "*"
COMPLAINTS = {"Unsubscribed", "Email Marked as Spam"}
NO_ACTIVITY = {"Consent Changed", "Erasure Requested", "Lead Changed", "Order Refunded", "Order Cancelled"}
JOININGS = {"Signed Up", "Form Submitted"}


def duration_ms(text: str) -> int:
    """A duration such as ``36h`` in milliseconds.

    >>> duration_ms("36h")
    129600000
    """
    return int(text[:-1]) * UNITS_MS[text[-1]]


def millis(text: str) -> int:
    """An RFC 3339 time in milliseconds UTC.

    >>> millis("1970-01-01T00:00:01.5Z")
    1500
    """
    moment = datetime.fromisoformat(text)
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


def occurred_ms(call: Json) -> int:
    """When a call happened: its ``timestamp`` with the sender's wrong clock taken out, not after its arrival."""
    received = millis(call["receivedAt"])
    return min(received, millis(call["timestamp"]) + received - millis(call["sentAt"]))


@lru_cache(maxsize=256)
def _zone(name: str, fallback: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return ZoneInfo(fallback)


def quiet(at: int, zone: str, fallback: str, start: str, end: str) -> bool:
    """Whether an instant (milliseconds UTC) lies in the quiet hours of a zone, ``end`` not included.

    >>> quiet(22 * 3_600_000, "UTC", "UTC", "21:00", "08:00"), quiet(0, "Asia/Tokyo", "UTC", "21:00", "08:00")
    (True, False)
    """
    local = datetime.fromtimestamp(at / 1000, _zone(zone, fallback)).strftime("%H:%M")
    return start <= local < end if start <= end else local >= start or local < end


@dataclass
class Person:
    """What the log says of a user or a device so far, and what was decided about it.

    Parameters
    ----------
    said
        Channel (``*``: all) -> granted, in the order of the last word.
    contacts
        (issued at, campaign, channel, shadow) of each decision, in order.
    arms
        Campaign -> treated or holdout.
    active_ms, days
        Last activity, and the UTC days with any.
    orders
        Order id -> when it was placed, milliseconds UTC.
    reversed
        Ids of orders that were refunded or cancelled.
    products
        Products looked at, put into a cart, or taken to the checkout.
    joinings
        When somebody signed up or sent a form.
    given
        (campaign, issued at) of each decision.
    """

    said: dict[str, bool] = field(default_factory=dict)
    zone: str = ""
    contacts: list[tuple[int, str, str, bool]] = field(default_factory=list)
    arms: dict[str, str] = field(default_factory=dict)
    active_ms: int = 0
    days: set[int] = field(default_factory=set)
    orders: dict[str, int] = field(default_factory=dict)
    reversed: set[str] = field(default_factory=set)
    products: set[str] = field(default_factory=set)
    joinings: list[int] = field(default_factory=list)
    given: list[tuple[str, int]] = field(default_factory=list)

    def say(self, channel: str, granted: bool) -> None:
        """Note a word on consent; one about all channels overrides what was said before."""
        if channel == ANY:
            self.said.clear()
        self.said.pop(channel, None)
        self.said[channel] = granted

    def consents(self, channel: str, default: bool) -> bool:
        """The last word on the channel, or on all of them."""
        answer = default
        for about, granted in self.said.items():
            if about in (channel, ANY):
                answer = granted
        return answer

    def take_in(self, device: Person) -> None:
        """A device turned out to be this user's: the user's own words stand above the device's."""
        if ANY not in self.said:
            self.said = {k: v for k, v in device.said.items() if k not in self.said} | self.said
        self.zone = self.zone or device.zone
        self.contacts = sorted([*device.contacts, *self.contacts])
        self.active_ms = max(self.active_ms, device.active_ms)
        self.days |= device.days
        self.orders = device.orders | self.orders
        self.reversed |= device.reversed
        self.products |= device.products
        self.joinings += device.joinings
        self.given += device.given

    def lived(self, call: Json, at: int) -> None:
        """Note what a call says of the life of this person, ``at`` in milliseconds UTC."""
        event, told = call.get("event", ""), call.get("properties") or {}
        if event in ("Order Refunded", "Order Cancelled"):
            self.reversed.add(str(told.get("order_id")))
        server = (call.get("context") or {}).get("channel") == "server"
        if server or call["type"] in ("alias", "group") or event in NO_ACTIVITY or event in COMPLAINTS:
            return
        self.active_ms = max(self.active_ms, at)
        self.days.add(at // DAY_MS)
        if event in JOININGS:
            self.joinings.append(at)
        if event == "Order Completed":
            self.orders.setdefault(str(told.get("order_id", call["messageId"])), at)
        for item in [told, *told.get("products", ())]:
            if "product_id" in item:
                self.products.add(str(item["product_id"]))


class People:
    """Users and devices as the calls taken in so far tell of them.

    >>> people = People()
    >>> people.take({"type": "track", "anonymousId": "d", "event": "Consent Changed", "properties": {"granted": True}})
    True
    >>> people.take({"type": "identify", "anonymousId": "d", "userId": "7", "traits": {}})
    False
    >>> people.of("a:d") is people.of("u:7"), people.of("u:7").consents("email", False)
    (True, True)
    """

    def __init__(self) -> None:
        self.known: dict[str, Person] = defaultdict(Person)
        self._user_of: dict[str, str] = {}

    def of(self, customer: str) -> Person:
        """The person behind ``u:USER`` or ``a:DEVICE``: a device that a user was named with is that user."""
        user = self._user_of.get(customer[2:]) if customer[:2] == "a:" else None
        return self.known[customer if user is None else "u:" + user]

    def live(self, call: Json, at: int) -> None:
        """Take in what a call that did not come before says of its caller's life; ``take`` it first."""
        if call["type"] != "alias":
            self._caller(call).lived(call, at)

    def owner(self, call: Json) -> str:
        """The customer that a call is of: its user, the user of its device, or the device."""
        user = call.get("userId") or self._user_of.get(call["anonymousId"])
        return "u:" + user if user else "a:" + call["anonymousId"]

    def take(self, call: Json) -> bool:
        """Take in a call that did not come before; whether it was a word on consent."""
        kind, user, device = call["type"], call.get("userId"), call.get("anonymousId")
        told: Json = call.get("properties") or {}
        if kind == "alias":
            self._link(call.get("previousId") or device, user)
        elif kind == "identify":
            self._link(device, user)
            person = self._caller(call)
            traits: Json = call.get("traits") or {}
            person.zone = traits.get("timezone") or (call.get("context") or {}).get("timezone") or person.zone
            if traits.get("marketing_consent") is False:
                person.say("email", False)
                return True
        elif kind == "track" and call["event"] == "Consent Changed":
            if told.get("purpose", "marketing") == "marketing":
                self._caller(call).say(told.get("scope") or told.get("channel") or ANY, told["granted"] is True)
                return True
        elif kind == "track" and call["event"] in COMPLAINTS:
            by_mail = call["event"] != "Unsubscribed"
            self._caller(call).say("email" if by_mail else told.get("channel") or "email", False)
            return True
        return False

    def _link(self, device: str | None, user: str | None) -> None:
        """The first user a device is named with owns it."""
        if not device or not user or device in self._user_of:
            return
        self._user_of[device] = user
        known = self.known.pop("a:" + device, None)
        if known is not None:
            self.known["u:" + user].take_in(known)

    def _caller(self, call: Json) -> Person:
        user = call.get("userId")
        return self.of("u:" + user if user else "a:" + call["anonymousId"])
