"""Recommended events of Google Analytics 4 (https://developers.google.com/analytics/devguides/collection/ga4/reference/events)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ..clickstream import (
    FormSubmitted,
    LeadChanged,
    PageViewed,
    ProductClicked,
    ProductListViewed,
    ProductsSearched,
    ProductViewed,
    PromotionClicked,
    PromotionViewed,
    Shared,
    SignedIn,
    SignedUp,
    WishlistChanged,
)
from ..errors import SchemaError
from ..events import AnyEvent
from ..limits import kind
from ..money import Item, Money
from ..transactions import CartChanged, CartViewed, CheckoutAdvanced, CheckoutStarted, OrderCompleted, OrderRefunded
from . import commerce
from .draft import Draft
from .segment import path_of, plain_address
from .values import as_text

Handler = Callable[[Draft], tuple[AnyEvent, ...]]

_PRODUCT = ("item_id", "item_name")
_ORDER = ("transaction_id",)
_TOTAL = ("value",)
_PROMOTION = ("promotion_id", "promotion_name")
_MOST_ITEMS = 1_000
_MOST_UNITS = 1_000_000


def drafts(draft: Draft) -> list[Draft]:
    """A draft for each usable item, with an id of its own and the event's currency.

    Raises
    ------
    SchemaError
        There is none.
    """
    found = draft.properties.get("items")
    # an event without a list may name its one product itself
    usable = _usable(draft, [draft.properties] if found is None else found)
    if usable:
        return usable
    told = "nothing" if found is None else f"no usable item in {kind(found)}"
    remedy = "send at least one item with an item_id or an item_name"
    raise SchemaError("missing", draft.path + ".items", told, remedy)


def _usable(draft: Draft, found: object) -> list[Draft]:
    if type(found) is not list:
        draft.drop("items")
        return []
    if len(found) > _MOST_ITEMS:
        draft.notes.append("cut_items")
    currency = draft.properties.get("currency")
    usable: list[Draft] = []
    for item in found[:_MOST_ITEMS]:
        number = len(usable)
        head = draft.head if number == 0 else {**draft.head, "id": f"{draft.head['id']}#{number:03}"}
        fields = {**item, "currency": currency} if type(item) is dict else {}
        entry = Draft(head, fields, draft.context, draft.options, draft.notes)
        try:
            entry.id(*_PRODUCT)
        except SchemaError:
            draft.drop("item")
        else:
            usable.append(entry)
    return usable


def items(draft: Draft) -> tuple[Item, ...]:
    """The products of a checkout or an order; those that cannot be read are dropped and noted."""
    found = draft.properties.get("items")
    return () if found is None else tuple(map(_item, _usable(draft, found)))


def _item(entry: Draft) -> Item:
    return Item(
        product=entry.id(*_PRODUCT),
        category=entry.label("item_category"),
        price=entry.amount("price"),
        quantity=entry.whole("quantity", 1, _MOST_UNITS, 1),
    )


def page_view(draft: Draft) -> tuple[PageViewed, ...]:
    """page_view: addresses lose their query and fragment."""
    get, notes = draft.properties.get, draft.notes
    return (
        PageViewed(
            **draft.head,
            path=plain_address(as_text(path_of(get("page_location")), notes)),
            title=draft.text("page_title"),
            referrer=plain_address(as_text(get("page_referrer"), notes)),
            source=draft.label("source"),
        ),
    )


def screen_view(draft: Draft) -> tuple[PageViewed, ...]:
    """screen_view: a page of an app."""
    return (PageViewed(**{**draft.head, "channel": "app"}, title=draft.text("screen_name", "screen_class")),)


def search(draft: Draft) -> tuple[ProductsSearched, ...]:
    """search, view_search_results."""
    return (ProductsSearched(**draft.head, query=draft.text("search_term")),)


def view_item_list(draft: Draft) -> tuple[ProductListViewed, ...]:
    """view_item_list; the list's category is the one that all its items share."""
    categories = {item.category for item in items(draft)}
    return (
        ProductListViewed(
            **draft.head,
            category=categories.pop() if len(categories) == 1 else "",
            list_id=draft.label("item_list_id", "item_list_name"),
        ),
    )


def view_item(draft: Draft) -> tuple[ProductViewed, ...]:
    """view_item: one event an item; of a single item without a price the event's value."""
    entries = drafts(draft)
    value = draft.money("value") if len(entries) == 1 and entries[0].properties.get("price") is None else None
    return tuple(
        ProductViewed(
            **entry.head,
            product=entry.id(*_PRODUCT),
            category=entry.label("item_category"),
            price=entry.money("price") or value,
        )
        for entry in entries
    )


def select_item(draft: Draft) -> tuple[ProductClicked, ...]:
    """select_item: one event an item."""
    return tuple(
        ProductClicked(
            **entry.head,
            product=entry.id(*_PRODUCT),
            category=entry.label("item_category"),
            position=entry.whole("index", 0, _MOST_UNITS, 0),
        )
        for entry in drafts(draft)
    )


def _promotion(draft: Draft) -> Draft:
    """Where the promotion is told: in the event, else in its first item that names one."""
    if all(draft.properties.get(name) is None for name in _PROMOTION):
        found = draft.properties.get("items")
        for item in found[:_MOST_ITEMS] if type(found) is list else ():
            if type(item) is dict and any(item.get(name) is not None for name in _PROMOTION):
                return Draft(draft.head, item, draft.context, draft.options, draft.notes, draft.path + ".items")
    return draft


def view_promotion(draft: Draft) -> tuple[PromotionViewed, ...]:
    """view_promotion."""
    told = _promotion(draft)
    creative, slot = told.label("creative_name"), told.label("creative_slot")
    return (PromotionViewed(**draft.head, promotion=told.id(*_PROMOTION), creative=creative, slot=slot),)


def select_promotion(draft: Draft) -> tuple[PromotionClicked, ...]:
    """select_promotion."""
    told = _promotion(draft)
    creative, slot = told.label("creative_name"), told.label("creative_slot")
    return (PromotionClicked(**draft.head, promotion=told.id(*_PROMOTION), creative=creative, slot=slot),)


def _cart(added: bool) -> Handler:
    def handler(draft: Draft) -> tuple[CartChanged, ...]:
        changes = []
        for entry in drafts(draft):
            item, currency = _item(entry), entry.currency()
            if item.price is not None and not currency:
                draft.notes.append("no_currency")
                item = Item(product=item.product, category=item.category, quantity=item.quantity)
            changes.append(CartChanged(**entry.head, item=item, currency=currency or None, added=added))
        return tuple(changes)

    return handler


def view_cart(draft: Draft) -> tuple[CartViewed, ...]:
    """view_cart."""
    return (CartViewed(**draft.head),)


def begin_checkout(draft: Draft) -> tuple[CheckoutStarted, ...]:
    """begin_checkout."""
    return (CheckoutStarted(**draft.head, value=draft.money(*_TOTAL), items=items(draft)),)


def _step(step: str) -> Handler:
    return lambda draft: (CheckoutAdvanced(**draft.head, step=step, completed=True),)


def purchase(draft: Draft) -> tuple[OrderCompleted, ...]:
    """purchase: ``value`` is the order's total, else the sum of its items, and that is noted."""
    order = commerce.completed(draft, _ORDER, _TOTAL, lambda: items(draft))
    return (order,)


def refund(draft: Draft) -> tuple[OrderRefunded, ...]:
    """refund, of the items that are named or of the whole order; a negative value means the same."""
    value: Money | None = commerce.unsigned(draft, "value").money(*_TOTAL)
    return (OrderRefunded(**draft.head, order=draft.id(*_ORDER), total=value, items=items(draft)),)


def add_to_wishlist(draft: Draft) -> tuple[WishlistChanged, ...]:
    """add_to_wishlist: one event an item."""
    return tuple(
        WishlistChanged(**entry.head, product=entry.id(*_PRODUCT), category=entry.label("item_category"))
        for entry in drafts(draft)
    )


def share(draft: Draft) -> tuple[Shared, ...]:
    """share; only of content of the type ``product`` is the item a product."""
    product = draft.label("item_id") if draft.properties.get("content_type") == "product" else ""
    return (Shared(**draft.head, product=product, via=draft.label("method")),)


def sign_up(draft: Draft) -> tuple[SignedUp, ...]:
    """sign_up."""
    return (SignedUp(**draft.head, method=draft.label("method")),)


def login(draft: Draft) -> tuple[SignedIn, ...]:
    """login."""
    return (SignedIn(**draft.head, method=draft.label("method")),)


def form_submit(draft: Draft) -> tuple[FormSubmitted, ...]:
    """form_submit, which enhanced measurement sends."""
    return (FormSubmitted(**draft.head, form=draft.label("form_id", "form_name")),)


def _lead(status: Literal["generated", "qualified", "disqualified", "working", "converted", "lost"]) -> Handler:
    return lambda draft: (LeadChanged(**draft.head, status=status),)


HANDLERS: dict[str, Handler] = {
    "page_view": page_view,
    "screen_view": screen_view,
    "search": search,
    "view_search_results": search,
    "view_item_list": view_item_list,
    "view_item": view_item,
    "select_item": select_item,
    "view_promotion": view_promotion,
    "select_promotion": select_promotion,
    "add_to_cart": _cart(added=True),
    "remove_from_cart": _cart(added=False),
    "view_cart": view_cart,
    "begin_checkout": begin_checkout,
    "add_shipping_info": _step("shipping"),
    "add_payment_info": _step("payment"),
    "purchase": purchase,
    "refund": refund,
    "add_to_wishlist": add_to_wishlist,
    "share": share,
    "sign_up": sign_up,
    "login": login,
    "form_submit": form_submit,
    "generate_lead": _lead("generated"),
    "qualify_lead": _lead("qualified"),
    "disqualify_lead": _lead("disqualified"),
    "working_lead": _lead("working"),
    "close_convert_lead": _lead("converted"),
    "close_unconvert_lead": _lead("lost"),
}
