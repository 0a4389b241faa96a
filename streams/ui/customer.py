"""One customer for the page: what is known, the time line in words, and the request to erase."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec

from models.profile.profile import Profile
from models.profile.tombstone import is_tombstone

from .. import timeline_text
from ..customer_live import Installation, Progress, live, stored
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


async def known(customer: str, place: Installation, partitions: int) -> dict[str, Any]:
    """What the store knows of a customer; where it knows nothing, ids that are like it.

    Raises
    ------
    StreamError
        Where the store is away.
    """
    profile, others = await stored(customer, place, partitions)
    if profile is None:
        return {"found": False, "customer": customer, "like": list(like(customer, others))}
    return {
        "found": True,
        "customer": customer,
        "erased": is_tombstone(profile),
        "linked": profile.linked,
        "head": _head(profile, place),
        "consents": [list(pair) for pair in profile.contact.consents],
        "profiling": profile.contact.profiling,
        "default_consent": place.settings.campaigns.policy.consent,
    }


def time_line(customer: str, place: Installation, progress: Progress) -> dict[str, Any]:
    """What the topics still hold of a customer, the latest first; blocks while they are read.

    Parameters
    ----------
    progress
        Called with how many records are read, and of how many; from this thread.

    Raises
    ------
    BrokerError, StreamError
        Where broker or store are away.
    """
    life = live(customer, place, progress)
    return {
        "entries": [
            [one.at, one.kind, one.what, one.customer, timeline_text.words(one)]
            for one in life.entries[: -LATEST - 1 : -1]
        ],
        "left_out": max(0, len(life.entries) - LATEST),
        "notes": life.notes,
    }


def _head(profile: Profile, place: Installation) -> list[list[str]]:
    """The lines of the head as names and texts; the first has the customer's own name, which the page shows above."""
    lines = [line.partition("  ") for line in timeline_text.head(profile, place.settings, profile.clock)]
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
