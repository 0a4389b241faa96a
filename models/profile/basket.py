"""The cart: what is in it, what it is worth, and how far the checkout went."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

LINES_MAX = 20
QUANTITY_MAX = 1_000_000


class Line(Struct, frozen=True, array_like=True, gc=False):
    """One product in the cart; ``price_micros`` is the price of a unit in the reporting currency, 0 where unknown."""

    product: str
    quantity: int
    price_micros: int


class Basket(Struct, frozen=True, array_like=True, gc=False):
    """The cart now.

    Parameters
    ----------
    lines
        At most 20 products, the latest last.
    changed_at
        Last cart event, milliseconds UTC; 0 where there was none.
    checkout_at
        When the checkout was entered, 0 where it was not.
    """

    lines: tuple[Line, ...] = ()
    changed_at: int = 0
    checkout_at: int = 0


EMPTY = Basket()


def value_micros(basket: Basket) -> int:
    """What the cart is worth, in reporting micros.

    >>> value_micros(Basket((Line("p", 2, 5_000_000),)))
    10000000
    """
    return sum(line.quantity * line.price_micros for line in basket.lines)


def add(basket: Basket, product: str, quantity: int, price_micros: int, at: int) -> Basket:
    """Put units into the cart; a price of 0 keeps the one known.

    >>> add(EMPTY, "p", 1, 500, 7)
    Basket(lines=(Line(product='p', quantity=1, price_micros=500),), changed_at=7, checkout_at=0)
    """
    rest = []
    for line in basket.lines:
        if line.product == product:
            quantity = min(QUANTITY_MAX, quantity + line.quantity)
            price_micros = price_micros or line.price_micros
        else:
            rest.append(line)
    lines = (*rest[-(LINES_MAX - 1) :], Line(product, quantity, price_micros))
    return Basket(lines, max(at, basket.changed_at), basket.checkout_at)


def remove(basket: Basket, product: str, quantity: int, at: int) -> Basket:
    """Take units out of the cart.

    >>> remove(add(EMPTY, "p", 2, 0, 1), "p", 2, 2).lines
    ()
    """
    lines = []
    for line in basket.lines:
        if line.product != product:
            lines.append(line)
        elif line.quantity > quantity:
            lines.append(Line(product, line.quantity - quantity, line.price_micros))
    return Basket(tuple(lines), max(at, basket.changed_at), basket.checkout_at if lines else 0)


def check_out(basket: Basket, lines: Iterable[Line], at: int) -> Basket:
    """Enter the checkout; ``lines``, where there are any, replace what is known of the cart."""
    told = tuple(lines)[-LINES_MAX:]
    return Basket(told or basket.lines, max(at, basket.changed_at), at)


def merge(a: Basket, b: Basket) -> Basket:
    """The cart that was touched last; an empty one never hides a full one that is newer."""
    return a if a.changed_at >= b.changed_at else b
