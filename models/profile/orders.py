"""What was bought: counts, money, rhythm, refunds, and the ids that keep one order from counting twice."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from schemas.base import DAY_MS

from ..randomness import hash64
from . import rhythm
from .decay import ZERO, Scales, factors, merged, plus, times

HALF_LIVES_MS = (30 * DAY_MS, 90 * DAY_MS, 365 * DAY_MS)
ID_KEPT_MS = 90 * DAY_MS
IDS_MAX = 64
REVERSED_MAX = 8
OTHER_CURRENCIES_MAX = 4
MICROS_MAX = 1 << 62  # a sum beyond 64 bits could not be stored, and would stop its partition


class Orders(Struct, frozen=True, array_like=True, gc=False):
    """The order history in constant space.

    Parameters
    ----------
    count, units
        Orders, and units in them.
    total_micros
        Sum of order totals in reporting micros; refunds are apart.
    refunds, refunded_micros
        Refunds and cancellations, and their sum.
    first_at, last_at
        First and last order, milliseconds UTC; 0 where there is none.
    decayed
        Orders decayed with half-lives of 30, 90 and 365 days, at ``last_at``.
    gap_days
        Exponentially weighted mean gap between orders; 0 until there are two.
    recent
        (hash of the order id, placed at) of the last 90 days, at most 64.
    other_totals
        Sums in currencies without a configured rate: (currency, micros), at most 4.
    cancelled_at
        When a subscription was cancelled last; 0 where none was.
    days
        Distinct UTC days with an order.
    reversed
        Hashes of the last 8 orders that were refunded, in whole or in part, or cancelled.
    """

    count: int = 0
    units: int = 0
    total_micros: int = 0
    refunds: int = 0
    refunded_micros: int = 0
    first_at: int = 0
    last_at: int = 0
    decayed: Scales = ZERO
    gap_days: float = 0.0
    recent: tuple[tuple[int, int], ...] = ()
    other_totals: tuple[tuple[str, int], ...] = ()
    cancelled_at: int = 0
    days: int = 0
    reversed: tuple[int, ...] = ()


EMPTY = Orders()


def bounded(micros: int) -> int:
    """An amount kept within what 64 bits hold.

    >>> bounded(-(10**30)) == -MICROS_MAX
    True
    """
    return MICROS_MAX if micros > MICROS_MAX else -MICROS_MAX if micros < -MICROS_MAX else micros


def known(orders: Orders, order: str, at: int) -> bool:
    """Whether this order was counted within the 90 days before ``at`` (milliseconds UTC)."""
    if not orders.recent:
        return False
    h = hash64(order)
    return any(h == seen and at - placed <= ID_KEPT_MS for seen, placed in orders.recent)


def place(orders: Orders, order: str, at: int, micros: int, units: int, other: tuple[str, int] | None = None) -> Orders:
    """Count an order that is not known yet.

    Parameters
    ----------
    at
        Milliseconds UTC.
    micros
        Total in reporting micros; 0 where ``other`` holds it.
    other
        (currency, micros) of a total that no configured rate converts.

    >>> place(place(EMPTY, "a", DAY_MS, 10, 1), "b", 3 * DAY_MS, 5, 2).gap_days
    2.0
    """
    horizon = max(at, orders.last_at) - ID_KEPT_MS
    recent = (*((h, t) for h, t in orders.recent if t >= horizon), (hash64(order), at))[-IDS_MAX:]
    gap_days = orders.gap_days
    if not orders.count:
        decayed = (1.0, 1.0, 1.0)
    elif at >= orders.last_at:
        gap = (at - orders.last_at) / DAY_MS
        gap_days = rhythm.observed(gap_days, gap)
        decayed = plus(times(orders.decayed, factors(at - orders.last_at, HALF_LIVES_MS)), (1.0, 1.0, 1.0))
    else:
        decayed = plus(orders.decayed, factors(orders.last_at - at, HALF_LIVES_MS))
    return Orders(
        orders.count + 1,
        orders.units + units,
        bounded(orders.total_micros + micros),
        orders.refunds,
        orders.refunded_micros,
        min(orders.first_at or at, at),
        max(orders.last_at, at),
        decayed,
        gap_days,
        recent,
        _add_other(orders.other_totals, other) if other else orders.other_totals,
        orders.cancelled_at,
        orders.days + (not orders.count or at // DAY_MS > orders.last_at // DAY_MS),
        orders.reversed,
    )


def refund(orders: Orders, micros: int, order: str = "") -> Orders:
    """Count a refund or a cancellation of ``micros`` (0 or more, reporting currency), of ``order`` where that is known.

    >>> refund(EMPTY, 5).refunded_micros
    5
    """
    turned = _turned(orders.reversed, (hash64(order),)) if order else orders.reversed
    refunded = bounded(orders.refunded_micros + micros)
    return replace(orders, refunds=orders.refunds + 1, refunded_micros=refunded, reversed=turned)


def stands(orders: Orders, at: int) -> bool:
    """Whether the order that was the latest at ``at`` (milliseconds UTC) was neither refunded nor cancelled.

    >>> placed = place(EMPTY, "a", 5, 0, 1)
    >>> stands(placed, 5), stands(refund(placed, 0, "a"), 5), stands(EMPTY, 5)
    (True, False, False)
    """
    latest = max(((placed, h) for h, placed in orders.recent if placed <= at), default=None)
    return latest is not None and latest[1] not in orders.reversed


def _turned(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return (*(h for h in a if h not in b), *b)[-REVERSED_MAX:]


def decayed_at(orders: Orders, now: int) -> Scales:
    """Orders decayed to ``now`` (milliseconds UTC)."""
    if not orders.count:
        return ZERO
    return times(orders.decayed, factors(max(0, now - orders.last_at), HALF_LIVES_MS))


def merge(a: Orders, b: Orders) -> Orders:
    """The history of one person seen as two."""
    if not a.count or not b.count:
        return _tail(a if a.count else b, b if a.count else a)
    others = a.other_totals
    for other in b.other_totals:
        others = _add_other(others, other)
    return Orders(
        a.count + b.count,
        a.units + b.units,
        bounded(a.total_micros + b.total_micros),
        a.refunds + b.refunds,
        bounded(a.refunded_micros + b.refunded_micros),
        min(a.first_at, b.first_at),
        max(a.last_at, b.last_at),
        merged(a.decayed, a.last_at, b.decayed, b.last_at, HALF_LIVES_MS),
        rhythm.merged(a.gap_days, a.count, b.gap_days, b.count, abs(a.last_at - b.last_at) / DAY_MS),
        tuple(sorted({*a.recent, *b.recent}, key=lambda seen: (seen[1], seen[0])))[-IDS_MAX:],
        others,
        max(a.cancelled_at, b.cancelled_at),
        a.days + b.days,
        _turned(b.reversed, a.reversed),
    )


def _tail(full: Orders, empty: Orders) -> Orders:
    """``full`` with what an orderless profile may still hold: refunds and a cancellation."""
    return replace(
        full,
        refunds=full.refunds + empty.refunds,
        refunded_micros=bounded(full.refunded_micros + empty.refunded_micros),
        cancelled_at=max(full.cancelled_at, empty.cancelled_at),
        reversed=_turned(empty.reversed, full.reversed),
    )


def _add_other(totals: tuple[tuple[str, int], ...], other: tuple[str, int]) -> tuple[tuple[str, int], ...]:
    kept = dict(totals)
    if other[0] in kept or len(kept) < OTHER_CURRENCIES_MAX:
        kept[other[0]] = bounded(kept.get(other[0], 0) + other[1])
    return tuple(kept.items())
