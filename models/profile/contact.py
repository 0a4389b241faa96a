"""What may be sent to a customer and what was: consent, time zone, the log of contacts and their outcomes."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

LOG_MAX = 48
SHADOWS_MAX = 16
CONSENTS_MAX = 16
ALL = "*"

Consents = tuple[tuple[str, bool], ...]


class Contacted(Struct, frozen=True, array_like=True, gc=False):
    """One contact, sent or withheld as holdout: caps count both.

    Parameters
    ----------
    at
        When it was decided, milliseconds UTC.
    until
        End of its attribution window; 0 once it converted.
    arm
        First letter of the arm: t(reated), h(oldout), s(hadow).
    """

    decision: str
    campaign: str
    channel: str
    at: int
    until: int
    arm: str


class Contact(Struct, frozen=True, array_like=True, gc=False):
    """Consent and contact history.

    Parameters
    ----------
    consents
        (channel or ``*``, granted) in the order of the last change.
    profiling
        False once the customer objected to profiling: nothing is scored then.
    timezone
        IANA name; empty where unknown.
    email, phone
        Whether one is on file.
    log
        The last 48 contacts, and apart from them the last 16 of campaigns in shadow mode.
    outcomes
        Messages (delivered, opened, clicked) so far.
    """

    consents: tuple[tuple[str, bool], ...] = ()
    profiling: bool = True
    timezone: str = ""
    email: bool = False
    phone: bool = False
    log: tuple[Contacted, ...] = ()
    outcomes: tuple[int, int, int] = (0, 0, 0)


def consented(contact: Contact, channel: str, default: bool) -> bool:
    """Whether marketing on ``channel`` is allowed; the latest word for the channel or for all of them counts.

    >>> consented(consent(Contact(), "*", True), "email", False)
    True
    """
    answer = default
    for scope, granted in contact.consents:
        if scope in (channel, ALL):
            answer = granted
    return answer


def consent(contact: Contact, scope: str, granted: bool) -> Contact:
    """Note consent given or withdrawn for a channel, or for all (``*``: overrides what was said before)."""
    kept = () if scope == ALL else tuple(pair for pair in contact.consents if pair[0] != scope)
    return replace(contact, consents=_bounded((*kept, (scope, granted))))


def _bounded(consents: tuple[tuple[str, bool], ...]) -> tuple[tuple[str, bool], ...]:
    """At most 16: the oldest that grants is forgotten first, so that no flood of scopes hides an objection."""
    while len(consents) > CONSENTS_MAX:
        oldest = next((i for i, (_, granted) in enumerate(consents) if granted), -1)
        if oldest < 0:
            oldest = next(i for i, (scope, _) in enumerate(consents) if scope != ALL)
        consents = consents[:oldest] + consents[oldest + 1 :]
    return consents


def kept_wishes(contact: Contact) -> Contact:
    """What outlives an erasure: the objections, so that nobody who said no is asked again."""
    withdrawn = tuple(pair for pair in contact.consents if not pair[1])
    return Contact(consents=withdrawn, profiling=contact.profiling)


def objected(contact: Contact, profiling: bool) -> Contact:
    """Note that profiling is allowed (True) or objected to."""
    return replace(contact, profiling=profiling)


def told(contact: Contact, timezone: str, email: bool, phone: bool) -> Contact:
    """Note the time zone and which addresses are on file."""
    return replace(
        contact,
        timezone=timezone or contact.timezone,
        email=contact.email or email,
        phone=contact.phone or phone,
    )


def contacted(contact: Contact, entry: Contacted) -> Contact:
    """Append a contact to the log."""
    return replace(contact, log=_kept((*contact.log, entry)))


def _kept(log: tuple[Contacted, ...]) -> tuple[Contacted, ...]:
    """The log within its bounds: a shadow never pushes out a contact that caps must count."""
    if len(log) <= SHADOWS_MAX:
        return log
    shadows = sum(c.arm == "s" for c in log)
    surplus = {True: shadows - SHADOWS_MAX, False: len(log) - shadows - LOG_MAX}
    kept = []
    for c in log:
        shadow = c.arm == "s"
        if surplus[shadow] > 0:
            surplus[shadow] -= 1
        else:
            kept.append(c)
    return tuple(kept)


def converted(contact: Contact, decisions: frozenset[str]) -> Contact:
    """Close the attribution windows of ``decisions``."""
    log = tuple(
        Contacted(c.decision, c.campaign, c.channel, c.at, 0, c.arm) if c.decision in decisions else c
        for c in contact.log
    )
    return replace(contact, log=log)


def responded(contact: Contact, outcome: str) -> Contact:
    """Count a delivery, an opening or a click."""
    d, o, c = contact.outcomes
    return replace(
        contact, outcomes=(d + (outcome == "delivered"), o + (outcome == "opened"), c + (outcome == "clicked"))
    )


def _both(user: Consents, device: Consents) -> Consents:
    """The user's word, then the device's where it withdraws; what the device granted fills in where the user said nothing."""
    if not user:
        return device
    said = {scope for scope, _ in user}
    added = tuple(pair for pair in device if not pair[1] or (pair[0] not in said and ALL not in said))
    if all(granted for _, granted in added):
        return (*added, *user)
    scopes = {scope for scope, _ in added}
    return (*(pair for pair in user if pair[0] not in scopes), *added)


def merge(user: Contact, anonymous: Contact) -> Contact:
    """The user's word on consent stands, but for what the device withdrew; where the user said nothing the device's counts."""
    log = _kept(tuple(sorted((*user.log, *anonymous.log), key=lambda c: (c.at, c.decision))))
    a, b = user.outcomes, anonymous.outcomes
    return Contact(
        _bounded(_both(user.consents, anonymous.consents)),
        user.profiling and anonymous.profiling,
        user.timezone or anonymous.timezone,
        user.email or anonymous.email,
        user.phone or anonymous.phone,
        log,
        (a[0] + b[0], a[1] + b[1], a[2] + b[2]),
    )
