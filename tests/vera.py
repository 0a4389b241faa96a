"""Vera Lindt, a user with two devices, of whom everything is known that a profile can hold: somebody to erase."""

from __future__ import annotations

from models.policy.reading import Settings, read
from schemas.base import Event
from schemas.clickstream import FormSubmitted, PageViewed
from schemas.feedback import MessageReceived, ProductReviewed
from schemas.identity import ConsentChanged, Identified, Linked
from tests.support import BUSY, add, make, order

VERA, PHONE, LAPTOP = "u:vera.lindt", "a:9f2c-phone", "a:beef-laptop"


def remembered(days: float) -> Settings:
    """The busy campaigns, with tombstones that are kept for so many days."""
    return read(BUSY.replace("seed = 7", f"seed = 7\nerasure_days = {days}", 1))


def life(at: int) -> list[Event]:
    """From the first click to an order: links, contact details, consents both ways, texts, and a cart at last."""
    return [
        make(PageViewed, at, PHONE),
        add(at + 1, PHONE),
        make(PageViewed, at + 2, LAPTOP),
        make(FormSubmitted, at + 3, LAPTOP, contact=True, request=True),
        make(Linked, at + 10, PHONE, user=VERA),
        make(Identified, at + 11, VERA, email=True, timezone="Europe/Paris"),
        make(ConsentChanged, at + 12, VERA, granted=False, scope="sms"),
        make(ConsentChanged, at + 13, VERA, granted=True, scope="email"),
        make(Linked, at + 20, LAPTOP, user=VERA),
        order(at + 21, VERA),
        make(PageViewed, at + 22, PHONE),
        make(ProductReviewed, at + 23, VERA, product="p", rating=2, text="Vera was here"),
        make(MessageReceived, at + 24, LAPTOP, text="Vera was here"),
        add(at + 25, VERA, product="q"),
    ]
