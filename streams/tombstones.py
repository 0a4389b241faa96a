"""How tombstones of erased customers are stored: under a keyed hash, without the id, until their time is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import NamedTuple

from models.profile import profile as profiles
from models.profile.profile import Profile
from models.profile.tombstone import is_tombstone, pseudonymous

from .store import Tombstone

_KEY_BYTES = 32
_NAME_BYTES = 16


def pseudonyms(key: bytes) -> Callable[[str], bytes]:
    """What stands for a customer where its id may not: blake2b of the id, keyed.

    Parameters
    ----------
    key
        The installation's secret, of any length. Without one, whoever reads the store can find out by trying whether an
        id that he knows was erased; with another one, what was stored before is no longer found.

    >>> of = pseudonyms(b"secret")
    >>> of("u:7") == of("u:7"), of("u:7") == of("u:8"), of("u:7") == pseudonyms(b"")("u:7"), len(of("u:7"))
    (True, False, False, 16)
    """
    # not the key that signs snapshots itself, and short enough for blake2b
    derived = blake2b(key, digest_size=_KEY_BYTES, person=b"rapport erasure").digest()

    def of(customer: str) -> bytes:
        return blake2b(customer.encode(), key=derived, digest_size=_NAME_BYTES).digest()

    return of


class Stored(NamedTuple):
    """What a commit stores of changed profiles; None where something goes."""

    profiles: dict[str, bytes | None]
    tombstones: dict[bytes, Tombstone | None]


def stored(changed: Mapping[str, Profile], name: Callable[[str], bytes], kept_ms: int) -> Stored:
    """Changed profiles as they are stored: the living under their id, the erased under their pseudonym.

    Parameters
    ----------
    name
        As ``pseudonyms`` made it.
    kept_ms
        How long a tombstone is kept after the erasure, milliseconds.
    """
    out = Stored({}, {})
    for customer, profile in changed.items():
        if not profile.erased_at:
            out.profiles[customer] = profiles.encode(profile)
        elif is_tombstone(profile):
            out.profiles[customer] = None
            out.tombstones[name(customer)] = Tombstone(encode(profile), profile.erased_at + kept_ms)
        else:  # back to life, and the profile itself knows of the erasure
            out.profiles[customer] = profiles.encode(profile)
            out.tombstones[name(customer)] = None
    return out


def encode(tombstone: Profile) -> bytes:
    """A tombstone as bytes, without the customer's id."""
    return profiles.encode(pseudonymous(tombstone))


def living(held: Iterable[Profile]) -> int:
    """How many of the profiles are of customers who are not erased."""
    return sum(not is_tombstone(profile) for profile in held)
