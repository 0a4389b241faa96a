"""The synthetic shop of the ``retentioneering`` package: page events of 600 users, January to June 2024.

Every line becomes one event of ``u:<user_id>``:

============================  =====================================================
home, account_page,           ``PageViewed`` with the page as its path
review_page, compare,
support_chat
promo_page                    ``PromotionViewed``
catalog, filter_results       ``ProductListViewed``
search                        ``ProductsSearched`` with an empty query
product_view                  ``ProductViewed``
wishlist_add                  ``WishlistChanged``
add_to_cart                   ``CartChanged``
cart                          ``CartViewed``
shipping_details              ``CheckoutStarted``: the first page of the checkout
payment_details               ``CheckoutAdvanced``
purchase                      ``OrderCompleted``
error_page, payment_error,    ``Custom``: incidents, counted as activity
checkout_bug
============================  =====================================================

The file names neither products nor prices nor orders. So every product is ``unnamed``, every order is called after its
session and totals 1.00 in XXX, the ISO 4217 code for "no currency": a number of orders that no exchange table takes
for money. ``source`` of a page is the user's acquisition channel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from operator import itemgetter
from typing import NamedTuple, TypedDict

from schemas.base import user_key
from schemas.clickstream import (
    PageViewed,
    ProductListViewed,
    ProductsSearched,
    ProductViewed,
    PromotionViewed,
    WishlistChanged,
)
from schemas.control import Custom
from schemas.events import AnyEvent
from schemas.money import Item, Money
from schemas.transactions import CartChanged, CartViewed, CheckoutAdvanced, CheckoutStarted, OrderCompleted
from streams.files import Progress

from .base import ID_MAX, Import, Source, Summary, counted, millis, table

PRODUCT = "unnamed"
ORDER_TOTAL = Money(Decimal("1.00"), "XXX")

_COLUMNS = {
    "userid": "user_id",
    "sessionid": "session_id",
    "event": "event",
    "timestamp": "timestamp",
    "acquisitionchannel": "acquisition_channel",
}


def ecom(source: Source, *, progress: Progress | None = None) -> Import:
    """Page events by (time, line of the file).

    Parameters
    ----------
    source
        The file (plain or compressed, ``-`` for standard input), or its lines.
    progress
        Called with the bytes read so far and the size of the file.

    Raises
    ------
    ImportFileError
        While the events are drawn, where the file is not this one or gives no event.

    >>> events, summary = ecom([
    ...     "user_id,session_id,event,timestamp,acquisition_channel",
    ...     "user_0000,sess_1,home,2024-03-13 10:21:14,email",
    ...     "user_0000,sess_1,purchase,2024-03-13 10:25:00,email",
    ... ])
    >>> page, order = events
    >>> page.path, page.source, order.customer, order.order, order.total.currency
    ('/home', 'email', 'u:user_0000', 'sess_1', 'XXX')
    """
    summary = Summary(
        "ecom",
        flags=(
            f"products made up: every one is {PRODUCT!r}",
            f"order totals made up: every one is {ORDER_TOTAL.amount} {ORDER_TOTAL.currency} (no currency)",
            "times without a zone taken as UTC",
        ),
    )
    return Import(counted(_events(source, summary, progress), summary), summary)


class _Common(TypedDict):
    id: str
    customer: str
    occurred_at: int
    received_at: int


class _Line(NamedTuple):
    at: int
    common: _Common
    order: str
    name: str
    acquisition: str


def _page(line: _Line) -> AnyEvent:
    return PageViewed(**line.common, path="/" + line.name, source=line.acquisition)


def _promotion(line: _Line) -> AnyEvent:
    return PromotionViewed(**line.common, promotion=line.name)


def _product_list(line: _Line) -> AnyEvent:
    return ProductListViewed(**line.common, list_id=line.name)


def _search(line: _Line) -> AnyEvent:
    return ProductsSearched(**line.common)


def _product(line: _Line) -> AnyEvent:
    return ProductViewed(**line.common, product=PRODUCT)


def _wish(line: _Line) -> AnyEvent:
    return WishlistChanged(**line.common, product=PRODUCT)


def _cart_change(line: _Line) -> AnyEvent:
    return CartChanged(**line.common, item=Item(product=PRODUCT))


def _cart(line: _Line) -> AnyEvent:
    return CartViewed(**line.common)


def _checkout(line: _Line) -> AnyEvent:
    return CheckoutStarted(**line.common)


def _checkout_step(line: _Line) -> AnyEvent:
    return CheckoutAdvanced(**line.common, step=line.name)


def _order(line: _Line) -> AnyEvent:
    return OrderCompleted(**line.common, order=line.order, total=ORDER_TOTAL)


def _incident(line: _Line) -> AnyEvent:
    return Custom(**line.common, name=line.name)


EVENTS: Mapping[str, Callable[[_Line], AnyEvent]] = {
    "home": _page,
    "account_page": _page,
    "review_page": _page,
    "compare": _page,
    "support_chat": _page,
    "promo_page": _promotion,
    "catalog": _product_list,
    "filter_results": _product_list,
    "search": _search,
    "product_view": _product,
    "wishlist_add": _wish,
    "add_to_cart": _cart_change,
    "cart": _cart,
    "shipping_details": _checkout,
    "payment_details": _checkout_step,
    "purchase": _order,
    "error_page": _incident,
    "payment_error": _incident,
    "checkout_bug": _incident,
}


def _events(source: Source, summary: Summary, progress: Progress | None) -> Iterator[AnyEvent]:
    # Sorting is stable, so events of the same second keep the file's order.
    for line in sorted(_lines(source, summary, progress), key=itemgetter(0)):
        yield EVENTS[line.name](line)


def _lines(source: Source, summary: Summary, progress: Progress | None) -> Iterator[_Line]:
    places: Counter[str] = Counter()
    orders: Counter[str] = Counter()
    skip = summary.skip
    for number, (user, session, name, when, acquisition) in table(source, _COLUMNS, summary, progress):
        if not user or len(user) > ID_MAX:
            skip("user", number, user)
            continue
        if not session or len(session) > ID_MAX // 2:
            skip("session", number, session)
            continue
        if name not in EVENTS:
            skip("event", number, name)
            continue
        at = millis(when)
        if at is None:
            skip("timestamp", number, when)
            continue
        places[session] += 1
        order = session
        if name == "purchase":
            orders[session] += 1
            if orders[session] > 1:
                order = f"{session}-{orders[session]}"
        common = _Common(id=f"ec-{session}-{places[session]}", customer=user_key(user), occurred_at=at, received_at=at)
        yield _Line(at, common, order, name, acquisition[:ID_MAX])
