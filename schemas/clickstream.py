"""What a customer does on the site or in the app before and beside buying."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .base import Event, Id, Name, Text
from .money import Money


class PageViewed(Event, frozen=True, tag="page_viewed"):
    """A page or an app screen was shown."""

    path: Text = ""
    title: Text = ""
    referrer: Text = ""
    source: Name = ""


class ProductListViewed(Event, frozen=True, tag="product_list_viewed"):
    """A category or list page was shown or filtered."""

    category: Name = ""
    list_id: Name = ""


class ProductViewed(Event, frozen=True, tag="product_viewed"):
    """A product page was shown."""

    product: Id
    category: Name = ""
    price: Money | None = None


class ProductClicked(Event, frozen=True, tag="product_clicked"):
    """A product was clicked in a list; position counts from 1, 0 where unknown."""

    product: Id
    category: Name = ""
    position: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class ProductsSearched(Event, frozen=True, tag="products_searched"):
    """A search was made."""

    query: Text = ""


class PromotionViewed(Event, frozen=True, tag="promotion_viewed"):
    """A banner or other promotion was shown."""

    promotion: Id
    creative: Name = ""
    slot: Name = ""


class PromotionClicked(Event, frozen=True, tag="promotion_clicked"):
    """A banner or other promotion was clicked."""

    promotion: Id
    creative: Name = ""
    slot: Name = ""


class WishlistChanged(Event, frozen=True, tag="wishlist_changed"):
    """A product was put on the wish list or taken off it."""

    product: Id
    category: Name = ""
    added: bool = True


class Shared(Event, frozen=True, tag="shared"):
    """A product or a cart was shared with somebody."""

    product: Name = ""
    via: Name = ""


class SignedUp(Event, frozen=True, tag="signed_up"):
    """An account was created."""

    method: Name = ""


class SignedIn(Event, frozen=True, tag="signed_in"):
    """A user logged in."""

    method: Name = ""


class SignedOut(Event, frozen=True, tag="signed_out"):
    """A user logged out."""


class FormSubmitted(Event, frozen=True, tag="form_submitted"):
    """A form was sent; ``contact`` says that it left an e-mail address or a phone number, ``request`` that it asks for details."""

    form: Name = ""
    contact: bool = False
    request: bool = False


class LeadChanged(Event, frozen=True, tag="lead_changed"):
    """Sales changed the status of a lead: generated, qualified, disqualified, working, converted, lost."""

    status: Name
