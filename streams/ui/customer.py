"""One customer for the page: what is known, the time line in words, and the request to erase."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec

from models.profile.profile import Profile
from models.profile.tombstone import is_tombstone

from .. import timeline_text
from ..customer_live import Installation, live
from ..errors import StreamError
from ..likeness import like
from ..player import Player

LATEST = 1_000
"""Entries of a time line that are shown, the latest."""
PLAYED_MS = 3_600_000
"""An engine whose time is so far from the wall's has history played to it."""
_ID = re.compile(r"[ua]:.{1,254}", re.DOTALL)


class UnknownError(StreamError):
    """An id that can be no customer's."""


def checked(customer: str) -> str:
    """An id as it can be looked up.

    Raises
    ------
    UnknownError
        Where it is none.

    >>> checked(" u:7 ")
    'u:7'
    """
    customer = customer.strip()
    if not _ID.fullmatch(customer):
        raise UnknownError("the id", "no id of a customer", "write u: and a user id, or a: and a device's: u:7")
    return customer


def found(customer: str, place: Installation) -> dict[str, Any]:
    """All that is known of a customer; blocks while the topics are read.

    Raises
    ------
    BrokerError, StreamError
        Where broker or store are away.
    """
    life = live(customer, place)
    if not life.found:
        return {"found": False, "customer": customer, "like": list(like(customer, life.known))}
    profile = life.profile
    entries = life.entries[-LATEST:]
    return {
        "found": True,
        "customer": customer,
        "erased": bool(profile and is_tombstone(profile)),
        "linked": profile.linked if profile else "",
        "head": _head(life.profile, place, life.now),
        "consents": [list(pair) for pair in profile.contact.consents] if profile else [],
        "profiling": profile.contact.profiling if profile else True,
        "default_consent": place.settings.campaigns.policy.consent,
        "clock": life.now,
        "entries": [
            [one.at, one.kind, one.what, one.customer, timeline_text.words(one), getattr(one.record, "id", "")]
            for one in reversed(entries)
        ],
        "left_out": len(life.entries) - len(entries),
        "notes": life.notes,
    }


def _head(profile: Profile | None, place: Installation, now: int) -> list[list[str]]:
    """The lines of the head as names and texts; the first has the customer's own name, which the page shows above."""
    if profile is None:
        return []
    lines = [line.partition("  ") for line in timeline_text.head(profile, place.settings, now)]
    first, *others = [(name.strip(), text.strip()) for name, _, text in lines]
    return [["now", first[1]], *([name, text] for name, text in others)]


def erase(customer: str, place: Installation, at: int = 0) -> str:
    """Ask for an erasure, as an event in the raw topics; returns the event's id. Blocks until the broker has it.

    Parameters
    ----------
    at
        The time of the request, milliseconds UTC; 0 takes the wall's. On an installation that plays history, its own time.

    Raises
    ------
    BrokerError
        Where the broker does not take it.
    """
    now = at or round(time.time() * 1000)
    request = f"ui-erasure:{time.time_ns()}"
    event = {"type": "erasure_requested", "id": request, "customer": customer, "occurred_at": now, "received_at": now}
    with Player(place.connection.kafka, prefix=place.prefix, clock="event" if at else "wall") as player:
        player.send(msgspec.json.encode(event))
    return request
