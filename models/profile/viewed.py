"""The products looked at last: what a browse that was left was about."""

from __future__ import annotations

from collections.abc import Container

from msgspec import Struct

from schemas.base import DAY_MS

VIEWED_MAX = 8
FORGOTTEN_MS = 30 * DAY_MS


class Viewed(Struct, frozen=True, array_like=True, gc=False):
    """A product that was looked at.

    Parameters
    ----------
    times
        How often, without a month in between.
    at
        The last time, milliseconds UTC.
    price_micros
        The price last seen, reporting currency; 0 where unknown.
    """

    product: str
    times: int
    at: int
    price_micros: int = 0


Views = tuple[Viewed, ...]


def look(views: Views, product: str, at: int, price_micros: int = 0) -> Views:
    """Count a look at a product at ``at`` (milliseconds UTC); the last 8 products are kept, the latest last.

    >>> look(look((), "p", 5), "p", 7, 90)
    (Viewed(product='p', times=2, at=7, price_micros=90),)
    """
    times, last, price = 1, at, price_micros
    rest = []
    for one in views:
        if one.product != product:
            rest.append(one)
            continue
        if abs(at - one.at) <= FORGOTTEN_MS:
            times += one.times
        last = max(at, one.at)
        price = (price_micros or one.price_micros) if at >= one.at else (one.price_micros or price_micros)
    rest.append(Viewed(product, times, last, price))
    if len(rest) > 1 and rest[-2].at >= last:  # it comes late
        rest.sort(key=_order)
    return tuple(rest[-VIEWED_MAX:])


def without(views: Views, products: Container[str]) -> Views:
    """The looks at other products: what was bought was not left."""
    return tuple(one for one in views if one.product not in products)


def since(views: Views, at: int) -> Views:
    """The products looked at since ``at`` (milliseconds UTC), the latest first."""
    return tuple(one for one in reversed(views) if one.at >= at)


def merge(a: Views, b: Views) -> Views:
    """What one person seen as two looked at.

    >>> merge(look((), "p", 5), look((), "p", 7))[0].times
    2
    """
    if not a or not b:
        return a or b
    both = {one.product: one for one in a}
    for one in b:
        other = both.get(one.product)
        if other is not None:
            later = one if one.at >= other.at else other
            price = later.price_micros or one.price_micros or other.price_micros
            one = Viewed(one.product, one.times + other.times, later.at, price)
        both[one.product] = one
    return tuple(sorted(both.values(), key=_order)[-VIEWED_MAX:])


def _order(one: Viewed) -> tuple[int, str]:
    return one.at, one.product
