"""What is left of an erased customer: when it was erased and what it objected to, so that its past stays out."""

from __future__ import annotations

from msgspec.structs import replace

from .contact import kept_wishes
from .profile import Profile


def tombstone(profile: Profile) -> Profile:
    """What is kept of an erased profile: its clock, the time of the erasure, the objections.

    >>> tombstone(Profile("u:1", clock=9, seen=(1,), erased_at=9)) == Profile("u:1", clock=9, erased_at=9)
    True
    """
    return Profile(
        profile.customer, clock=profile.clock, contact=kept_wishes(profile.contact), erased_at=profile.erased_at
    )


def is_tombstone(profile: Profile) -> bool:
    """Whether nothing is known of the customer but that it was erased.

    Ids of events that changed nothing, and how many of them were late, say nothing of a customer: they are not kept.

    >>> is_tombstone(Profile("u:1", seen=(1,), erased_at=9)), is_tombstone(Profile("u:1"))
    (True, False)
    """
    if not profile.erased_at:
        return False
    return replace(profile, seen=(), late=0, mixed=False, delay_ms=0) == tombstone(profile)


def unexpired(profile: Profile, clock: int, kept_ms: int) -> Profile | None:
    """An erased customer's profile as it counts at a time: in the end a tombstone is none, and a mark is gone.

    Parameters
    ----------
    profile
        With ``erased_at``.
    clock
        Partition time, milliseconds UTC: a store forgets by the same clock, so what it has forgotten and what it has
        still to forget are one.
    kept_ms
        How long a tombstone is kept, milliseconds.

    >>> unexpired(Profile("u:1", erased_at=9), 18, 10) is None, unexpired(Profile("u:1", erased_at=9), 19, 10) is None
    (False, True)
    """
    if clock < profile.erased_at + kept_ms:
        return profile
    return None if is_tombstone(profile) else replace(profile, erased_at=0)


def pseudonymous(profile: Profile) -> Profile:
    """The tombstone without the customer's id, to be stored under something that does not tell it."""
    return replace(profile, customer="")


def named(profile: Profile, customer: str) -> Profile:
    """A loaded profile under its customer's id, which a tombstone is stored without.

    >>> named(pseudonymous(Profile("u:1", erased_at=9)), "u:1").customer
    'u:1'
    """
    return profile if profile.customer else replace(profile, customer=customer)
