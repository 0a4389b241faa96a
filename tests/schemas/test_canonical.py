"""Canonical events from outside: filled, repaired, or refused."""

import json
from decimal import Decimal
from typing import Any

import pytest

from schemas.intake import Intake, IntakeOptions

ARRIVAL = 1_714_557_600_000
intake = Intake(IntakeOptions(traits=frozenset({"tier"})))


def read(**record: Any) -> tuple[Any, tuple[str, ...]]:
    record = {"id": "e1", "customer": "u:1", "occurred_at": ARRIVAL - 5, **record}
    result = intake.read(json.dumps(record).encode(), ARRIVAL, "orders.jsonl:7")
    assert result.dead is None, result.dead
    return result.events[0], result.notes


def test_arrival_stands_above_the_records_own() -> None:
    event, notes = read(type="page_viewed", received_at=5)
    assert (event.occurred_at, event.received_at, notes) == (ARRIVAL - 5, ARRIVAL, ())


def test_a_missing_id_is_derived_and_a_number_is_text() -> None:
    assert read(type="page_viewed", id=None)[0].id.startswith("o:")
    assert read(type="page_viewed", id=5)[0].id == "5"
    assert read(type="product_viewed", product=123)[0].product == "123"


def test_times_may_be_texts_and_the_future_is_clamped() -> None:
    assert read(type="page_viewed", occurred_at="2024-05-01T12:00:00+02:00")[0].occurred_at == ARRIVAL
    event, notes = read(type="page_viewed", occurred_at=ARRIVAL * 2)
    assert (event.occurred_at, notes) == (ARRIVAL, ("clamped_time",))
    assert read(type="page_viewed", occurred_at=5)[0].occurred_at == 5


@pytest.mark.parametrize(
    ("record", "field", "value", "note"),
    [
        ({"type": "page_viewed", "title": 5}, "title", "", "dropped_title"),
        ({"type": "page_viewed", "title": "x" * 5_000}, "title", "x" * 4_096, "cut_text"),
        ({"type": "page_viewed", "title": "\x1b[31m"}, "title", " [31m", "cleaned_text"),
        ({"type": "page_viewed", "source": "x" * 200}, "source", "x" * 128, "cut_text"),
        ({"type": "page_viewed", "source": "a\nb"}, "source", "a b", "cleaned_text"),
        ({"type": "product_viewed", "product": "a", "price": "abc"}, "price", None, "dropped_price"),
        ({"type": "product_viewed", "product": "a", "price": {"amount": 1}}, "price", None, "dropped_price"),
        ({"type": "product_clicked", "product": "a", "position": "3"}, "position", 3, None),
        ({"type": "product_clicked", "product": "a", "position": -3}, "position", 0, "dropped_position"),
        ({"type": "product_clicked", "product": "a", "position": 2**80}, "position", 0, "dropped_position"),
        ({"type": "product_reviewed", "product": "a", "rating": 11}, "rating", None, "dropped_rating"),
        ({"type": "survey_answered", "score": "9"}, "score", 9, None),
        ({"type": "identified", "traits": {"tier": "gold", "ip": "1.2.3.4"}}, "traits", {"tier": "gold"}, None),
        ({"type": "identified", "traits": "gold"}, "traits", {}, "dropped_traits"),
        ({"type": "custom", "name": "x", "properties": {"a": {}, "b": 1}}, "properties", {"b": 1}, "dropped_property"),
    ],
)
def test_repairs(record: dict[str, Any], field: str, value: object, note: str | None) -> None:
    event, notes = read(**record)
    assert getattr(event, field) == value
    assert notes == ((note,) if note else ())


def test_money_is_rounded_and_its_currency_written_large() -> None:
    event, notes = read(type="order_completed", order=1, total={"amount": 59.980000000000004, "currency": "gbp"})
    assert (event.total.amount, event.total.currency) == (Decimal("59.98"), "GBP")
    assert notes == ("rounded_amount",)


def test_unreadable_items_leave_the_order() -> None:
    total = {"amount": "1.10", "currency": "EUR"}
    items = [{"product": "a", "quantity": -3}, {"price": 1}, {"product": 7, "quantity": "2"}, 5]
    event, notes = read(type="order_completed", order="1", total=total, items=items)
    assert [(item.product, item.quantity) for item in event.items] == [("a", 1), ("7", 2)]
    assert notes == ("dropped_quantity", "dropped_items", "dropped_items")


def test_repairs_are_bounded() -> None:
    items: list[dict[str, Any]] = [{}] * 1_000
    record = {"type": "checkout_started", "customer": "u:1", "items": items}
    result = intake.read(json.dumps(record).encode(), ARRIVAL, "o")
    assert result.dead is not None
    assert result.dead.reason == "type"
