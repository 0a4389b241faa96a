"""The exact counts of the real files; skipped where those are not at hand."""

from __future__ import annotations

import os
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from schemas.base import DAY_MS, user_key
from schemas.events import AnyEvent
from schemas.money import Money
from schemas.transactions import OrderCompleted, OrderRefunded
from streams.importers import Import, Summary, ecom, eshop, online_retail

DATA = Path(os.environ.get("RAPPORT_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


def file(name: str) -> Path:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"no {name} in RAPPORT_DATA or ../shared/data beside the project")
    return path


def drawn(imported: Import) -> tuple[list[AnyEvent], Summary]:
    """The events, checked for the laws of every import: unique ids, time order, and what the schema allows."""
    events = list(imported.events)
    assert len({event.id for event in events}) == len(events)
    assert all(sooner.occurred_at <= later.occurred_at for sooner, later in pairwise(events))
    decoder = msgspec.json.Decoder(AnyEvent)
    encoder = msgspec.json.Encoder()
    assert all(decoder.decode(encoder.encode(event)) == event for event in events)
    assert imported.summary.events.total() == len(events)
    return events, imported.summary


def test_online_retail() -> None:
    events, summary = drawn(online_retail(file("online_retail/online_retail.csv.xz")))
    assert summary.lines == 541_909
    assert summary.skipped == {"no_customer": 135_080}
    assert summary.events == {"order_completed": 18_536, "order_refunded": 3_654}
    assert summary.notes == {
        "charge lines, in the total and no item": 1_916,
        "free items": 34,
        "orders that cost nothing": 4,
    }
    orders = [event for event in events if isinstance(event, OrderCompleted)]
    refunds = [event for event in events if isinstance(event, OrderRefunded)]
    buyers = {order.customer for order in orders}
    # "4,372 customers" counts 33 who only ever cancelled.
    assert (summary.customers, len(buyers)) == (4_372, 4_339)
    assert len({refund.customer for refund in refunds} - buyers) == 33
    assert sum(order.total.amount for order in orders) == Decimal("8911407.904")
    assert sum(refund.total.amount for refund in refunds if refund.total) == Decimal("611342.09")
    assert sum(not order.items for order in orders) == 131
    assert max(len(order.items) for order in orders) == 541
    assert {order.total.currency for order in orders} == {"GBP"}
    first = events[0]
    assert isinstance(first, OrderCompleted)
    assert (first.id, first.customer, first.total) == ("or-536365", user_key("17850"), Money(Decimal("139.12"), "GBP"))


@pytest.mark.slow
def test_online_retail_with_its_anonymous_invoices() -> None:
    events, summary = drawn(online_retail(file("online_retail/online_retail.csv.xz"), anonymous=True))
    assert summary.skipped == {"quantity_sign": 1_336, "stock_correction": 772, "adjustment": 3}
    assert summary.events == {"order_completed": 19_963, "order_refunded": 3_836}
    assert summary.customers == 4_372 + 19_963 - 18_536 + 3_836 - 3_654
    largest = max((event for event in events if isinstance(event, OrderCompleted)), key=lambda order: len(order.items))
    assert (largest.id, len(largest.items)) == ("or-573585", 1_000)
    assert summary.notes["items past the first 1,000 of an order, in its total only"] == 113


def test_eshop() -> None:
    events, summary = drawn(eshop(file("eshop_clothing_2008/eshop_clothing_2008.csv.gz")))
    assert summary.lines == len(events) == 165_474
    assert not summary.skipped
    assert summary.customers == 24_026
    assert summary.events == {"product_viewed": 165_474}
    assert len({getattr(event, "product", None) for event in events}) == 217
    categories = Counter(getattr(event, "category", None) for event in events)
    assert categories == {"trousers": 49_742, "sale": 38_747, "blouses": 38_577, "skirts": 38_408}
    # A session's days are whole: its clicks never run over midnight.
    assert len({(event.customer, event.occurred_at // DAY_MS) for event in events}) == 24_026


def test_ecom() -> None:
    events, summary = drawn(ecom(file("ecom_synthetic/ecom.csv.gz")))
    assert summary.lines == len(events) == 31_106
    assert not summary.skipped
    assert summary.customers == 600
    assert summary.events == {
        "product_list_viewed": 9_131,
        "product_viewed": 6_851,
        "page_viewed": 4_379,
        "products_searched": 4_011,
        "cart_changed": 1_346,
        "cart_viewed": 1_204,
        "checkout_started": 958,
        "wishlist_changed": 812,
        "promotion_viewed": 796,
        "checkout_advanced": 709,
        "order_completed": 470,
        "custom": 439,
    }
    assert len({event.order for event in events if isinstance(event, OrderCompleted)}) == 470
