"""Commerce events of the Segment Spec (https://segment.com/docs/connections/spec/ecommerce/v2/), older names included."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Literal

from ..clickstream import (
    ProductClicked,
    ProductListViewed,
    ProductsSearched,
    ProductViewed,
    PromotionClicked,
    PromotionViewed,
    Shared,
    WishlistChanged,
)
from ..errors import SchemaError
from ..feedback import ProductReviewed
from ..limits import kind
from ..money import Item, Money
from ..transactions import (
    CartChanged,
    CartViewed,
    CheckoutAdvanced,
    CheckoutStarted,
    CouponUsed,
    OrderCancelled,
    OrderCompleted,
    OrderRefunded,
    OrderUpdated,
)
from .draft import PRODUCT, Draft
from .table import Handler
from .values import as_amount

_MOST_UNITS = 1_000_000
_ORDER = ("order_id", "transaction_id")


def products_searched(draft: Draft) -> ProductsSearched:
    """Products Searched."""
    return ProductsSearched(**draft.head, query=draft.text("query", "search_term"))


def product_list_viewed(draft: Draft) -> ProductListViewed:
    """Product List Viewed, Product List Filtered."""
    return ProductListViewed(
        **draft.head, category=draft.label("category"), list_id=draft.label("list_id", "item_list_id")
    )


def product_viewed(draft: Draft) -> ProductViewed:
    """Product Viewed."""
    return ProductViewed(
        **draft.head,
        product=draft.product(),
        category=draft.label("category"),
        price=draft.money("price", "value"),
    )


def product_clicked(draft: Draft) -> ProductClicked:
    """Product Clicked."""
    return ProductClicked(
        **draft.head,
        product=draft.product(),
        category=draft.label("category"),
        position=draft.whole("position", 0, _MOST_UNITS, 0),
    )


def promotion_viewed(draft: Draft) -> PromotionViewed:
    """Promotion Viewed."""
    return PromotionViewed(
        **draft.head,
        promotion=draft.id("promotion_id", "name"),
        creative=draft.label("creative"),
        slot=draft.label("position"),
    )


def promotion_clicked(draft: Draft) -> PromotionClicked:
    """Promotion Clicked."""
    return PromotionClicked(
        **draft.head,
        promotion=draft.id("promotion_id", "name"),
        creative=draft.label("creative"),
        slot=draft.label("position"),
    )


def _cart_changed(draft: Draft, added: bool) -> CartChanged:
    price = draft.amount("price")
    currency = draft.currency()
    if price is not None and not currency:
        draft.notes.append("no_currency")
        price = None
    item = Item(
        product=draft.product(),
        category=draft.label("category"),
        price=price,
        quantity=draft.whole("quantity", 1, _MOST_UNITS, 1),
    )
    return CartChanged(**draft.head, item=item, currency=currency or None, added=added, cart=draft.label("cart_id"))


def product_added(draft: Draft) -> CartChanged:
    """Product Added."""
    return _cart_changed(draft, added=True)


def product_removed(draft: Draft) -> CartChanged:
    """Product Removed."""
    return _cart_changed(draft, added=False)


def cart_viewed(draft: Draft) -> CartViewed:
    """Cart Viewed."""
    return CartViewed(**draft.head, cart=draft.label("cart_id"))


def checkout_started(draft: Draft) -> CheckoutStarted:
    """Checkout Started."""
    return CheckoutStarted(
        **draft.head,
        order=draft.label(*_ORDER),
        value=draft.money("value", "total", "revenue"),
        items=draft.items(),
    )


def checkout_step_viewed(draft: Draft) -> CheckoutAdvanced:
    """Checkout Step Viewed."""
    return CheckoutAdvanced(**draft.head, step=draft.label("step"))


def checkout_step_completed(draft: Draft) -> CheckoutAdvanced:
    """Checkout Step Completed."""
    return CheckoutAdvanced(**draft.head, step=draft.label("step"), completed=True)


def payment_info_entered(draft: Draft) -> CheckoutAdvanced:
    """Payment Info Entered."""
    return CheckoutAdvanced(**draft.head, step=draft.label("step") or "payment", completed=True)


def order_completed(draft: Draft) -> OrderCompleted:
    """Order Completed; without a usable total its revenue, value or the sum of its items stands in, and is noted."""
    return completed(draft, _ORDER, ("total", "revenue", "value"), draft.items)


def completed(
    draft: Draft, order_names: tuple[str, ...], total_names: tuple[str, ...], read_items: Callable[[], tuple[Item, ...]]
) -> OrderCompleted:
    """An order by the properties that hold its id and, the first that is usable, its total.

    Raises
    ------
    SchemaError
        There is no id, no total and no whole list of prices to sum up, or no currency.
    """
    order = draft.id(*order_names)
    before = len(draft.notes)
    items = read_items()
    # A sum over items is the total only if every one of them was read whole.
    whole = len(draft.notes) == before
    amount = _total(draft, total_names, items, whole)
    currency = draft.currency()
    if not currency:
        remedy = "send an ISO 4217 code such as EUR, or set the intake's default currency"
        found = kind(draft.properties.get("currency"))
        raise SchemaError("missing", draft.path + ".currency", "nothing" if found == "null" else found, remedy)
    return OrderCompleted(
        **draft.head, order=order, total=Money(amount, currency), items=items, coupon=draft.label("coupon")
    )


def _total(draft: Draft, names: tuple[str, ...], items: tuple[Item, ...], whole: bool) -> Decimal:
    first = names[0]
    for name in names:
        amount = draft.amount(name)
        if amount is not None:
            if name != first:
                draft.notes.append("total_from_" + name)
            return amount
    if items and whole:
        prices = [item.price * item.quantity for item in items if item.price is not None]
        if len(prices) == len(items):
            amount = as_amount(sum(prices, Decimal()), draft.notes)
            if amount is not None:
                draft.notes.append("total_from_items")
                return amount
    value = draft.properties.get(first)
    others = "".join(f"or a {name}, " for name in names[1:2])
    remedy = f"send a decimal number from 0 to below 1e12, {others}or a price for every product"
    raise SchemaError(
        "missing" if value is None else "type",
        f"{draft.path}.{first}",
        "nothing" if value is None else kind(value),
        remedy,
    )


def order_updated(draft: Draft) -> OrderUpdated:
    """Order Updated."""
    return OrderUpdated(**draft.head, order=draft.id(*_ORDER), total=draft.money("total", "revenue", "value"))


def order_refunded(draft: Draft) -> OrderRefunded:
    """Order Refunded; some senders write the refund as a negative total, which means the same."""
    unsigned(draft, "total")
    return OrderRefunded(
        **draft.head,
        order=draft.id(*_ORDER),
        total=draft.money("total", "revenue", "value", "refund_amount"),
        items=draft.items(),
    )


def unsigned(draft: Draft, name: str) -> Draft:
    """The draft with the amount of a refund positive."""
    amount = as_amount(draft.properties.get(name), [])
    if amount is not None and amount < 0:
        draft.notes.append("unsigned_refund")
        draft.properties = {**draft.properties, name: -amount}
    return draft


def order_cancelled(draft: Draft) -> OrderCancelled:
    """Order Cancelled."""
    return OrderCancelled(**draft.head, order=draft.id(*_ORDER), total=draft.money("total", "revenue", "value"))


def _coupon(draft: Draft, status: Literal["entered", "applied", "denied", "removed"]) -> CouponUsed:
    return CouponUsed(**draft.head, coupon=draft.id("coupon_id", "coupon", "coupon_name"), status=status)


def coupon_entered(draft: Draft) -> CouponUsed:
    """Coupon Entered."""
    return _coupon(draft, "entered")


def coupon_applied(draft: Draft) -> CouponUsed:
    """Coupon Applied."""
    return _coupon(draft, "applied")


def coupon_denied(draft: Draft) -> CouponUsed:
    """Coupon Denied."""
    return _coupon(draft, "denied")


def coupon_removed(draft: Draft) -> CouponUsed:
    """Coupon Removed."""
    return _coupon(draft, "removed")


def wishlist_added(draft: Draft) -> WishlistChanged:
    """Product Added to Wishlist."""
    return WishlistChanged(**draft.head, product=draft.product(), category=draft.label("category"))


def wishlist_removed(draft: Draft) -> WishlistChanged:
    """Product Removed from Wishlist."""
    return WishlistChanged(**draft.head, product=draft.product(), category=draft.label("category"), added=False)


def product_shared(draft: Draft) -> Shared:
    """Product Shared; the recipient is somebody else's address and stays out."""
    return Shared(**draft.head, product=draft.label(*PRODUCT), via=draft.label("share_via", "method"))


def cart_shared(draft: Draft) -> Shared:
    """Cart Shared."""
    return Shared(**draft.head, via=draft.label("share_via", "method"))


def product_reviewed(draft: Draft) -> ProductReviewed:
    """Product Reviewed; the rating comes as a text."""
    rating = draft.amount("rating")
    if rating is not None and rating > 10:
        draft.drop("rating")
        rating = None
    return ProductReviewed(
        **draft.head,
        product=draft.product(),
        rating=None if rating is None else float(rating),
        text=draft.text("review_body", "review", "text"),
    )


HANDLERS: dict[str, Handler] = {
    "Products Searched": products_searched,
    "Product List Viewed": product_list_viewed,
    "Product List Filtered": product_list_viewed,
    "Viewed Product Category": product_list_viewed,
    "Product Viewed": product_viewed,
    "Viewed Product": product_viewed,
    "Product Clicked": product_clicked,
    "Clicked Product": product_clicked,
    "Promotion Viewed": promotion_viewed,
    "Promotion Clicked": promotion_clicked,
    "Product Added": product_added,
    "Added Product": product_added,
    "Wishlist Product Added to Cart": product_added,
    "Product Removed": product_removed,
    "Removed Product": product_removed,
    "Cart Viewed": cart_viewed,
    "Checkout Started": checkout_started,
    "Started Order": checkout_started,
    "Checkout Step Viewed": checkout_step_viewed,
    "Checkout Step Completed": checkout_step_completed,
    "Payment Info Entered": payment_info_entered,
    "Order Completed": order_completed,
    "Completed Order": order_completed,
    "Order Updated": order_updated,
    "Updated Order": order_updated,
    "Order Refunded": order_refunded,
    "Order Cancelled": order_cancelled,
    "Order Canceled": order_cancelled,
    "Coupon Entered": coupon_entered,
    "Coupon Applied": coupon_applied,
    "Coupon Denied": coupon_denied,
    "Coupon Removed": coupon_removed,
    "Product Added to Wishlist": wishlist_added,
    "Product Removed from Wishlist": wishlist_removed,
    "Product Shared": product_shared,
    "Cart Shared": cart_shared,
    "Product Reviewed": product_reviewed,
}
