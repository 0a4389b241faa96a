"""Identity, consent, feedback and the outcomes of messages."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from schemas import feedback as f
from schemas import identity as i
from schemas import outcomes as o
from schemas.base import Event
from schemas.control import SlotRequested

from ..config import EngineConfig
from ..draft import Draft
from ..profile import contact, journey
from ..profile.profile import ORIGINS_MAX, Profile, decode, encode, merge
from ..randomness import derived_id
from ..silence import TIMER as SILENCE
from . import clicks, visit


def identified(draft: Draft, event: i.Identified, config: EngineConfig) -> None:
    """A user told who it is: contact details may be on file now."""
    visit.touch(draft, config)
    draft.contact = contact.told(draft.contact, event.timezone, event.email, event.phone)
    if (event.email or event.phone) and not draft.journey.contact_at:
        draft.journey = journey.left_contact(draft.journey, visit.at(draft))
        draft.count("contact_left")


def linked(draft: Draft, event: i.Linked, config: EngineConfig) -> None:
    """This device belongs to a user: hand the profile over, once, to the first user.

    A second user of the device starts apart; whatever the device does anonymously from now on is forwarded to the
    first. Links go from anonymous to user only, so they cannot form a cycle.
    """
    if draft.before.customer[0] != "a" or event.user[0] != "u":
        draft.count("link_refused")
        return
    if draft.linked:
        draft.count("link_same" if draft.linked == event.user else "link_second_user")
        return
    draft.linked = event.user
    draft.messages.append(
        i.HandedOver(
            id=derived_id(event.id, ">hand-over"),
            customer=event.user,
            occurred_at=draft.now,
            received_at=max(draft.now, event.received_at),  # what rests on a backfilled link is as stale as the link
            origin=draft.before.customer,
            profile=encode(draft.before),
        )
    )
    for kind in dict(draft.before.timers):
        draft.set_timer(kind, 0)
    draft.take(Profile(draft.before.customer))
    draft.count("linked")


def handed_over(draft: Draft, event: i.HandedOver, config: EngineConfig) -> None:
    """Fold the profile of a device into this user's.

    Where the user was erased after the device set out, nothing of it comes in but what it withdrew, and the device is
    told to forget as well.
    """
    guest: Profile | None = None
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        guest = decode(event.profile)
    if draft.erased_at and _set_out(event, guest) <= draft.erased_at:
        if guest is not None:
            draft.contact = contact.merge(draft.contact, contact.kept_wishes(guest.contact))
        if not draft.contact.profiling:
            _forget_scores(draft)
        draft.messages.append(_erase_device(draft, event.origin))
        draft.count("hand_over_erased")
        return
    _note_origin(draft, event.origin)
    if guest is None:
        draft.count("hand_over_unreadable")
        return
    guest_is_later = guest.activity.at >= draft.activity.at
    draft.delay_ms = max(event.received_at - event.occurred_at, guest.delay_ms if guest_is_later else draft.delay_ms)
    both = merge(draft.view(), guest)
    draft.take(both)
    draft.seen, draft.late, draft.mixed = both.seen, both.late, both.mixed
    for kind, due in both.timers:
        draft.set_timer(kind, max(due, draft.now))
    if not draft.contact.profiling:
        _forget_scores(draft)
    draft.moments.add("merged")
    draft.count("merged")


def _set_out(event: i.HandedOver, guest: Profile | None) -> int:
    """When the history of a handed-over device begins, milliseconds UTC."""
    if guest is None or not guest.activity.events:
        return event.occurred_at
    return min(event.occurred_at, guest.activity.first_at)


def _note_origin(draft: Draft, origin: str) -> None:
    """Remember a device of this user; one too many is let go as if it were erased, so that none is out of reach.

    All that it knew is the user's by then: what is lost is that later events of it are forwarded, until it is linked again.
    """
    origins = (*(one for one in draft.origins if one != origin), origin)
    draft.messages.extend(_erase_device(draft, one) for one in origins[:-ORIGINS_MAX])
    draft.origins = origins[-ORIGINS_MAX:]


def _erase_device(draft: Draft, origin: str) -> i.ErasureRequested:
    """What tells a device of this user to forget."""
    return i.ErasureRequested(
        id=derived_id(draft.event.id, f">forget {origin}"),
        customer=origin,
        occurred_at=draft.now,
        received_at=max(draft.now, draft.event.received_at),
        user=draft.before.customer,
    )


def unlinked(draft: Draft, event: i.Unlinked, config: EngineConfig) -> None:
    """A device of this user was erased by itself."""
    draft.origins = tuple(one for one in draft.origins if one != event.origin)


def consent_changed(draft: Draft, event: i.ConsentChanged, config: EngineConfig) -> None:
    """Consent was given or withdrawn."""
    if event.purpose == "profiling":
        draft.contact = contact.objected(draft.contact, event.granted)
        if not event.granted:
            _forget_scores(draft)
    else:
        draft.contact = contact.consent(draft.contact, event.scope or contact.ALL, event.granted)
    draft.count(f"consent_{event.purpose}_{'granted' if event.granted else 'withdrawn'}")


def _forget_scores(draft: Draft) -> None:
    draft.pendings, draft.scores, draft.trend = (), (), ()
    draft.set_timer("label", 0)
    draft.set_timer("score", 0)
    draft.set_timer(SILENCE, 0)


def erasure_requested(draft: Draft, event: i.ErasureRequested, config: EngineConfig) -> None:
    """Forget the customer: a tombstone stays, with the time of the request and the objections.

    A user's devices are told to forget, too. A device that is erased by itself leaves its user: what it had handed over
    stays there, as the user's own.
    """
    if event.user and event.user != draft.linked:
        draft.count("erasure_moot")  # it has left that user, so it was erased since
        return
    customer = draft.before.customer
    draft.messages.extend(_erase_device(draft, origin) for origin in draft.origins)
    if draft.linked and not event.user:
        draft.messages.append(
            i.Unlinked(
                id=derived_id(event.id, ">unlinked"),
                customer=draft.linked,
                occurred_at=draft.now,
                received_at=max(draft.now, event.received_at),
                origin=customer,
            )
        )
    wishes = contact.kept_wishes(draft.contact)
    for kind in dict(draft.before.timers):
        draft.set_timer(kind, 0)
    draft.take(Profile(customer))
    draft.contact = wishes
    draft.linked, draft.origins, draft.mixed = "", (), False
    draft.erased_at = draft.now
    draft.count("erased_device" if event.user else "erased")


def outcome_reported(draft: Draft, event: o.OutcomeReported, config: EngineConfig) -> None:
    """A messaging service tells what became of a trigger; an opt-out or a complaint withdraws consent.

    No outcome is a visit: scanners open and follow links, and a held-out person could never "visit" so.
    """
    if event.outcome in ("unsubscribed", "spam"):
        draft.contact = contact.consent(draft.contact, event.channel, False)
    elif event.outcome in ("opened", "clicked", "delivered"):
        draft.contact = contact.responded(draft.contact, event.outcome)
    draft.count(f"outcome|{event.outcome}")


def nothing(draft: Draft, event: Event, config: EngineConfig) -> None:
    """An event that changes no fact of this customer."""


HANDLERS: Mapping[type[Event], Callable[[Draft, Any, EngineConfig], None]] = {
    i.Identified: identified,
    i.Linked: linked,
    i.HandedOver: handed_over,
    i.ConsentChanged: consent_changed,
    i.ErasureRequested: erasure_requested,
    i.Unlinked: unlinked,
    f.ProductReviewed: clicks.activity,
    f.SurveyAnswered: clicks.activity,
    f.MessageReceived: clicks.activity,
    o.OutcomeReported: outcome_reported,
    o.DecisionExposed: nothing,
    o.ContactSuppressed: nothing,
    SlotRequested: clicks.activity,
}
