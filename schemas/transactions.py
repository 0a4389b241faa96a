"""Carts, checkouts, orders and subscriptions."""

from __future__ import annotations

from typing import Literal

from .base import Event, Id, Name
from .money import Currency, Item, Items, Money


class CartChanged(Event, frozen=True, tag="cart_changed"):
    """Units of a product were put into the cart or, with ``added`` false, taken out."""

    item: Item
    currency: Currency | None = None
    added: bool = True
    cart: Name = ""


class CartViewed(Event, frozen=True, tag="cart_viewed"):
    """The cart was shown."""

    cart: Name = ""


class CheckoutStarted(Event, frozen=True, tag="checkout_started"):
    """The checkout was entered; ``items`` and ``value`` replace what is known of the cart, where given."""

    order: Name = ""
    value: Money | None = None
    items: Items = ()


class CheckoutAdvanced(Event, frozen=True, tag="checkout_advanced"):
    """A step of the checkout was shown, completed, or payment details were entered."""

    step: Name = ""
    completed: bool = False


class OrderCompleted(Event, frozen=True, tag="order_completed"):
    """An order was placed.

    Parameters
    ----------
    order
        The order's id: counted once in 90 days whatever the event's id.
    total
        What the customer pays.
    """

    order: Id
    total: Money
    items: Items = ()
    coupon: Name = ""


class OrderUpdated(Event, frozen=True, tag="order_updated"):
    """An order changed after it was placed; its total is corrected where given."""

    order: Id
    total: Money | None = None


class OrderRefunded(Event, frozen=True, tag="order_refunded"):
    """All or part of an order was paid back."""

    order: Id
    total: Money | None = None
    items: Items = ()


class OrderCancelled(Event, frozen=True, tag="order_cancelled"):
    """An order was cancelled before delivery."""

    order: Id
    total: Money | None = None


class CouponUsed(Event, frozen=True, tag="coupon_used"):
    """A coupon was entered, applied, denied or removed."""

    coupon: Id
    status: Literal["entered", "applied", "denied", "removed"] = "applied"


class SubscriptionChanged(Event, frozen=True, tag="subscription_changed"):
    """A subscription (or trial, or account) was started, renewed or cancelled."""

    status: Literal["started", "renewed", "cancelled"]
    plan: Name = ""
