"""The profile: one frozen value that holds all the engine knows of a customer."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from . import activity, affinity, basket, contact, journey, marks, orders, session, viewed
from .pending import PENDING_MAX, Pending

VERSION = 1
SEEN_MAX = 32
ORIGINS_MAX = 32
MEMBERSHIP = "leave:"

Timers = tuple[tuple[str, int], ...]


class Score(Struct, frozen=True, array_like=True, gc=False):
    """A probability as last predicted.

    Parameters
    ----------
    name
        The target, such as ``engagement``.
    p
        0 to 1.
    at
        Milliseconds UTC.
    version
        Labels the model had learned then; -1 where a rule answered.
    """

    name: str
    p: float
    at: int
    version: int


class Profile(Struct, frozen=True, array_like=True, gc=False):
    """All that is known of a customer.

    Parameters
    ----------
    customer
        ``u:<user id>`` or ``a:<anonymous id>``.
    clock
        Partition time of the last step, milliseconds UTC; never goes back.
    seen
        64-bit hashes of the last 32 event ids.
    timers
        (kind, due) of the timers that are set.
    scores
        The last score of each target.
    pendings
        Predictions that wait for their label, at most 32 moments.
    trend
        Engagement score, 0 to 100, of the last weeks, as (week, score).
    linked
        The user that this anonymous profile went into; empty otherwise.
    erased_at
        When erasure was asked for; 0 where it was not. What happened before is dropped.
    late
        Events that came after a later one had been processed.
    mixed
        Whether contacts of two identities were folded together: such a history is left out of effect estimates.
    delay_ms
        How long the last event took from its occurrence to its arrival.
    origins
        The devices that were handed over to this user, at most 32: an erasure reaches them by it.
    views
        The last 8 products looked at.
    marks
        Which signals were given.
    """

    customer: str
    version: int = VERSION
    clock: int = 0
    activity: activity.Activity = activity.Activity()
    session: session.Session = session.Session()
    basket: basket.Basket = basket.EMPTY
    orders: orders.Orders = orders.EMPTY
    categories: affinity.Affinity = affinity.EMPTY
    channels: affinity.Affinity = affinity.EMPTY
    price_log: float = 0.0
    journey: journey.Journey = journey.Journey()
    contact: contact.Contact = contact.Contact()
    seen: tuple[int, ...] = ()
    timers: Timers = ()
    scores: tuple[Score, ...] = ()
    trend: tuple[tuple[int, float], ...] = ()
    pendings: tuple[Pending, ...] = ()
    sampled: tuple[tuple[str, int], ...] = ()
    linked: str = ""
    erased_at: int = 0
    late: int = 0
    mixed: bool = False
    delay_ms: int = 0
    origins: tuple[str, ...] = ()
    views: viewed.Views = ()
    marks: marks.Marks = marks.NONE


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Profile)


def encode(profile: Profile) -> bytes:
    """The profile as msgpack, fields in order: new fields go to the end and have defaults.

    >>> decode(encode(Profile("u:1"))) == Profile("u:1")
    True
    """
    return _encoder.encode(profile)


def decode(data: bytes) -> Profile:
    """The profile that ``encode`` made; raises ``msgspec.DecodeError`` or ``UnicodeDecodeError`` where the bytes are none."""
    return _decoder.decode(data)


def core_bytes(profile: Profile) -> int:
    """Stored size without the pending predictions."""
    return len(_encoder.encode(msgspec.structs.replace(profile, pendings=())))


def merge(user: Profile, anonymous: Profile) -> Profile:
    """Fold an anonymous profile into its user: sums, maxima, and unions of histories, windows and pending labels.

    >>> merge(Profile("u:1", late=1), Profile("a:1", late=2)).late
    3
    """
    pendings = tuple(sorted((*user.pendings, *anonymous.pendings), key=lambda p: p.predicted_at))[-PENDING_MAX:]
    sampled = dict(anonymous.sampled)
    for name, at in user.sampled:
        sampled[name] = max(at, sampled.get(name, 0))
    scores = {s.name: s for s in anonymous.scores} | {s.name: s for s in user.scores}
    return Profile(
        customer=user.customer,
        clock=max(user.clock, anonymous.clock),
        activity=activity.merge(user.activity, anonymous.activity),
        session=session.merge(user.session, anonymous.session),
        basket=basket.merge(user.basket, anonymous.basket),
        orders=orders.merge(user.orders, anonymous.orders),
        categories=affinity.merge(user.categories, anonymous.categories),
        channels=affinity.merge(user.channels, anonymous.channels),
        price_log=user.price_log or anonymous.price_log,
        journey=journey.merge(user.journey, anonymous.journey),
        contact=contact.merge(user.contact, anonymous.contact),
        seen=(*anonymous.seen, *user.seen)[-SEEN_MAX:],
        timers=merged_timers(user.timers, _handed(anonymous.timers)),
        scores=tuple(scores.values()),
        trend=user.trend or anonymous.trend,
        pendings=pendings,
        sampled=tuple(sampled.items()),
        erased_at=user.erased_at,
        late=user.late + anonymous.late,
        mixed=user.mixed or bool(anonymous.contact.log),
        delay_ms=user.delay_ms,
        origins=user.origins,
        views=viewed.merge(user.views, anonymous.views),
        marks=marks.merge(user.marks, anonymous.marks),
    )


def _handed(timers: Timers) -> Timers:
    """The timers that go over with a profile: memberships in audiences are the device's own, and it has left them."""
    return tuple(timer for timer in timers if not timer[0].startswith(MEMBERSHIP))


def merged_timers(a: Timers, b: Timers) -> Timers:
    """Both sets of timers; where both have one kind, the earlier due."""
    both = dict(b)
    for kind, due in a:
        both[kind] = min(due, both.get(kind, due))
    return tuple(both.items())
