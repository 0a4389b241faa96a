"""Clickstream events: pages, lists, products, searches, sign-ups, forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log1p
from typing import Any

from schemas import clickstream as c
from schemas.base import Event
from schemas.control import Custom
from schemas.money import Money

from ..config import EngineConfig
from ..draft import Draft
from ..profile import affinity, journey, viewed
from ..profile.journey import CONSIDERATION, INTEREST
from ..profile.orders import bounded
from . import visit

PRICE_WEIGHT = 0.2
CONSIDERED_VIEWS = 3


def activity(draft: Draft, event: Event, config: EngineConfig) -> None:
    """An event that says no more than that the customer was there."""
    visit.touch(draft, config)


def interest(draft: Draft, event: Event, config: EngineConfig) -> None:
    """A list, a promotion or a search: interest."""
    visit.touch(draft, config)
    visit.reach(draft, INTEREST)


def product_listed(draft: Draft, event: c.ProductListViewed, config: EngineConfig) -> None:
    """A category was looked at."""
    interest(draft, event, config)
    if event.category:
        draft.categories = affinity.lean(draft.categories, event.category, 0.5, visit.at(draft))


def product_viewed(draft: Draft, event: c.ProductViewed, config: EngineConfig) -> None:
    """A product was looked at; three in one visit are consideration, and leaving afterwards is a browse left."""
    visit.touch(draft, config, view=True)
    visit.reach(draft, CONSIDERATION if draft.session.views >= CONSIDERED_VIEWS else INTEREST)
    if event.category:
        draft.categories = affinity.lean(draft.categories, event.category, 1.0, visit.at(draft))
    price = saw_price(draft, event.price, config) if event.price is not None else 0
    draft.views = viewed.look(draft.views, event.product, visit.at(draft), price)
    if not draft.due("cart") and not draft.due("checkout"):
        visit.leave(draft, "browse", config.funnel.browse_left_minutes)


def saw_price(draft: Draft, price: Money, config: EngineConfig) -> int:
    """Move the running mean of log prices looked at; returns the price in reporting micros, 0 where it is unknown."""
    micros = config.money.micros(price)
    if micros is None or micros <= 0:
        return 0
    seen = log1p(micros / 1e6)
    draft.price_log = draft.price_log + PRICE_WEIGHT * (seen - draft.price_log) if draft.price_log else seen
    return bounded(micros)


def product_clicked(draft: Draft, event: c.ProductClicked, config: EngineConfig) -> None:
    """A product was clicked in a list."""
    interest(draft, event, config)
    if event.category:
        draft.categories = affinity.lean(draft.categories, event.category, 0.5, visit.at(draft))


def wish_changed(draft: Draft, event: c.WishlistChanged, config: EngineConfig) -> None:
    """The wish list changed: consideration where something was put on it."""
    visit.touch(draft, config, view=True)
    if event.added:
        visit.reach(draft, CONSIDERATION)
    if event.category:
        draft.categories = affinity.lean(draft.categories, event.category, 1.0, visit.at(draft))


def considered(draft: Draft, event: Event, config: EngineConfig) -> None:
    """A product or cart was shared: consideration."""
    visit.touch(draft, config)
    visit.reach(draft, CONSIDERATION)


def signed_up(draft: Draft, event: c.SignedUp, config: EngineConfig) -> None:
    """An account was created: contact details are on file."""
    visit.touch(draft, config)
    draft.journey = journey.left_contact(draft.journey, visit.at(draft))
    draft.moments.add("joined")
    draft.count("contact_left")


def form_submitted(draft: Draft, event: c.FormSubmitted, config: EngineConfig) -> None:
    """A form was sent."""
    considered(draft, event, config)
    if event.contact and not draft.journey.contact_at:
        draft.journey = journey.left_contact(draft.journey, visit.at(draft))
        draft.moments.add("joined")
        draft.count("contact_left")
    if event.request:
        draft.journey = journey.requested(draft.journey, visit.at(draft))
        draft.moments.add("request")


def lead_changed(draft: Draft, event: c.LeadChanged, config: EngineConfig) -> None:
    """A lead was generated, or sales have it by now; that is no activity of the customer, whoever reported it."""
    draft.moments.add("request" if event.status == "generated" else "lead_taken")


HANDLERS: Mapping[type[Event], Callable[[Draft, Any, EngineConfig], None]] = {
    c.PageViewed: activity,
    c.ProductListViewed: product_listed,
    c.ProductViewed: product_viewed,
    c.ProductClicked: product_clicked,
    c.ProductsSearched: interest,
    c.PromotionViewed: activity,
    c.PromotionClicked: interest,
    c.WishlistChanged: wish_changed,
    c.Shared: considered,
    c.SignedUp: signed_up,
    c.SignedIn: activity,
    c.SignedOut: activity,
    c.FormSubmitted: form_submitted,
    c.LeadChanged: lead_changed,
    Custom: activity,
}
