"""Identity, consent, feedback and the outcomes of messages."""

from __future__ import annotations

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
from ..profile.profile import Profile, decode, encode, merge
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
    """Fold the profile of a device into this user's."""
    try:
        guest = decode(event.profile)
    except (msgspec.DecodeError, UnicodeDecodeError):
        draft.count("hand_over_unreadable")
        return
    if draft.erased_at and guest.activity.events and guest.activity.first_at <= draft.erased_at:
        draft.contact = contact.merge(draft.contact, contact.kept_wishes(guest.contact))
        if not draft.contact.profiling:
            _forget_scores(draft)
        draft.count("hand_over_erased")
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
    """Forget the customer: nothing but the time of the request and the objections is kept."""
    wishes = contact.kept_wishes(draft.contact)
    for kind in dict(draft.before.timers):
        draft.set_timer(kind, 0)
    draft.take(Profile(draft.before.customer))
    draft.contact = wishes
    draft.linked, draft.seen = "", draft.seen[-1:]
    draft.erased_at = draft.now
    draft.count("erased")


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
    f.ProductReviewed: clicks.activity,
    f.SurveyAnswered: clicks.activity,
    f.MessageReceived: clicks.activity,
    o.OutcomeReported: outcome_reported,
    o.DecisionExposed: nothing,
    o.ContactSuppressed: nothing,
    SlotRequested: clicks.activity,
}
