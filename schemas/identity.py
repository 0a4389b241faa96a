"""Who a customer is: traits, links between devices and users, consent, erasure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from .base import CustomerId, Event, Name, Scalar


class Identified(Event, frozen=True, tag="identified"):
    """A user made itself known.

    Addresses do not enter the engine: ``email`` and ``phone`` say only that one is on file.

    Parameters
    ----------
    timezone
        IANA name, such as ``Europe/Paris``; empty where unknown.
    traits
        Allow-listed traits only.
    """

    email: bool = False
    phone: bool = False
    timezone: Name = ""
    country: Name = ""
    traits: Mapping[str, Scalar] = {}


class Linked(Event, frozen=True, tag="linked"):
    """The anonymous customer ``customer`` turned out to be the user ``user``; the first link wins."""

    user: CustomerId


class HandedOver(Event, frozen=True, tag="handed_over"):
    """The profile of the anonymous customer ``origin``, on its way into the user's profile."""

    origin: CustomerId
    profile: bytes


class ConsentChanged(Event, frozen=True, tag="consent_changed"):
    """Consent was given or withdrawn.

    Parameters
    ----------
    purpose
        ``marketing`` (messages on ``scope``) or ``profiling`` (withdrawing it stops all scoring).
    scope
        A channel such as ``email``, or ``*`` for all.
    """

    granted: bool
    purpose: Literal["marketing", "profiling"] = "marketing"
    scope: Name = "*"


class ErasureRequested(Event, frozen=True, tag="erasure_requested"):
    """The customer's data must go.

    Parameters
    ----------
    user
        Empty where it was asked for; the engine's own messages name the user because of whom this device, handed over to
        that user, must go. Such a message holds only while the device is still that user's.
    """

    user: Annotated[str, Meta(max_length=130)] = ""


class Unlinked(Event, frozen=True, tag="unlinked"):
    """The device ``origin``, handed over to this user, was erased by itself: its id must go here, too."""

    origin: CustomerId
