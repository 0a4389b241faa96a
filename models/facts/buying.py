"""Transactions: carts, checkouts, orders, refunds, subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from schemas import transactions as t
from schemas.base import Event
from schemas.money import MICROS, Currency, Item, Money

from ..config import EngineConfig
from ..draft import Draft
from ..profile import affinity, basket, orders, viewed
from ..profile.basket import Line
from ..profile.journey import LOYALTY, PURCHASE
from . import clicks, visit


def price_micros(item: Item, currency: Currency | None, config: EngineConfig) -> int:
    """Price of a unit in reporting micros, 0 where it or its currency is unknown."""
    if item.price is None or currency is None or item.price < 0:
        return 0
    return orders.bounded(config.money.micros(Money(item.price, currency)) or 0)


def lines(items: Iterable[Item], currency: Currency | None, config: EngineConfig) -> list[Line]:
    """Items as lines of a cart."""
    return [Line(item.product, item.quantity, price_micros(item, currency, config)) for item in items]


def cart_changed(draft: Draft, event: t.CartChanged, config: EngineConfig) -> None:
    """Units went into the cart or out of it."""
    visit.touch(draft, config, intent=event.added)
    item, when = event.item, visit.at(draft)
    if not event.added:
        draft.basket = basket.remove(draft.basket, item.product, item.quantity, when)
        if not draft.basket.lines:
            draft.set_timer("cart", 0)
            draft.set_timer("checkout", 0)
        return
    visit.intend(draft)
    if when < draft.orders.last_at:  # it came late: an order has emptied that cart since
        return
    draft.basket = basket.add(
        draft.basket, item.product, item.quantity, price_micros(item, event.currency, config), when
    )
    if item.category:
        draft.categories = affinity.lean(draft.categories, item.category, 2.0, when)
    _cart_is_open(draft, config)


def _cart_is_open(draft: Draft, config: EngineConfig) -> None:
    draft.set_timer("browse", 0)
    if not draft.due("checkout"):
        visit.leave(draft, "cart", config.funnel.cart_left_minutes)


def cart_viewed(draft: Draft, event: t.CartViewed, config: EngineConfig) -> None:
    """The cart was looked at."""
    visit.touch(draft, config, intent=True)
    if draft.basket.lines:
        _cart_is_open(draft, config)


def checkout_started(draft: Draft, event: t.CheckoutStarted, config: EngineConfig) -> None:
    """The checkout was entered."""
    visit.touch(draft, config, intent=True)
    visit.intend(draft)
    currency = event.value.currency if event.value else None
    draft.basket = basket.check_out(draft.basket, lines(event.items, currency, config), visit.at(draft))
    draft.set_timer("browse", 0)
    draft.set_timer("cart", 0)
    visit.leave(draft, "checkout", config.funnel.checkout_left_minutes)


def checkout_advanced(draft: Draft, event: t.CheckoutAdvanced, config: EngineConfig) -> None:
    """The checkout went on."""
    visit.touch(draft, config, intent=True)
    visit.intend(draft)
    if draft.basket.checkout_at:
        visit.leave(draft, "checkout", config.funnel.checkout_left_minutes)


def order_completed(draft: Draft, event: t.OrderCompleted, config: EngineConfig) -> None:
    """An order was placed; one order counts once, whatever the ids of the events that tell of it."""
    if orders.known(draft.orders, event.order, visit.at(draft)):
        draft.count("duplicate_order")
        return
    visit.touch(draft, config, intent=True)
    when = visit.at(draft)
    micros = config.money.micros(event.total)
    other = None if micros is not None else (event.total.currency, int(event.total.amount * MICROS))
    units = sum(item.quantity for item in event.items)
    draft.orders = orders.place(draft.orders, event.order, when, micros or 0, units, other)
    if when >= draft.basket.changed_at:
        draft.basket = basket.Basket((), when, 0)
        for kind in ("browse", "cart", "checkout"):
            draft.set_timer(kind, 0)
    draft.views = viewed.without(draft.views, {item.product for item in event.items})
    for category in {item.category: None for item in event.items[: basket.LINES_MAX] if item.category}:
        draft.categories = affinity.lean(draft.categories, category, 3.0, when)
    visit.reach(draft, LOYALTY if draft.orders.count >= config.funnel.loyal_orders else PURCHASE)
    draft.moments.add("order")
    draft.count("orders")


def order_updated(draft: Draft, event: t.OrderUpdated, config: EngineConfig) -> None:
    """An order was changed; only its occurrence counts, as the earlier total is not kept."""
    visit.touch(draft, config)


def order_refunded(draft: Draft, event: t.OrderRefunded | t.OrderCancelled, config: EngineConfig) -> None:
    """Money went back; that is no activity of the customer, whoever started it."""
    micros = abs(config.money.micros(event.total) or 0) if event.total else 0
    draft.orders = orders.refund(draft.orders, micros, event.order)
    draft.count("refunds")


def coupon_used(draft: Draft, event: t.CouponUsed, config: EngineConfig) -> None:
    """A coupon was tried."""
    visit.touch(draft, config, intent=True)


def subscription_changed(draft: Draft, event: t.SubscriptionChanged, config: EngineConfig) -> None:
    """A subscription began, went on or was cancelled; a cancellation is churn, not activity."""
    if event.status == "cancelled":
        draft.orders = replace(draft.orders, cancelled_at=max(draft.orders.cancelled_at, visit.at(draft)))
        draft.count("cancellations")
    else:
        clicks.activity(draft, event, config)


HANDLERS: Mapping[type[Event], Callable[[Draft, Any, EngineConfig], None]] = {
    t.CartChanged: cart_changed,
    t.CartViewed: cart_viewed,
    t.CheckoutStarted: checkout_started,
    t.CheckoutAdvanced: checkout_advanced,
    t.OrderCompleted: order_completed,
    t.OrderUpdated: order_updated,
    t.OrderRefunded: order_refunded,
    t.OrderCancelled: order_refunded,
    t.CouponUsed: coupon_used,
    t.SubscriptionChanged: subscription_changed,
}
