"""Raw records to raw topics: the table agrees with what the intake makes of each name, and nothing is ever raised."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.adapters import commerce, messages
from schemas.adapters.table import letters
from schemas.events import AnyEvent
from schemas.intake import Intake
from schemas.routing import CLICKSTREAM, RAW_TOPICS, Glance, glance, raw_topic

# Enough of everything that every track call of the vocabulary becomes an event.
PROPERTIES: dict[str, Any] = {
    "product_id": "p",
    "order_id": "o",
    "price": 1,
    "total": 1,
    "currency": "EUR",
    "rating": 4,
    "score": 4,
    "query": "q",
    "promotion_id": "p",
    "category": "c",
    "coupon": "c",
    "text": "t",
    "message_body": "t",
    "outcome": "opened",
    "decision": "d",
    "trigger_id": "t",
    "variation_id": "v",
    "experiment_id": "e",
    "status": "started",
    "granted": True,
    "slot": "s",
    "candidates": ["a"],
    "products": [{"product_id": "p", "price": 1}],
    "share_via": "email",
    "step": 1,
}


def topic_of(event: type) -> str:
    module = event.__module__.rpartition(".")[2]
    return module if module in RAW_TOPICS else CLICKSTREAM


@pytest.mark.parametrize("event", get_args(AnyEvent), ids=lambda event: str(event.__struct_config__.tag))
def test_a_canonical_event_goes_by_its_kind(event: Any) -> None:
    assert raw_topic(event.__struct_config__.tag) == topic_of(event)


@pytest.mark.parametrize("name", sorted({*commerce.HANDLERS, *messages.HANDLERS}))
def test_a_track_call_goes_where_its_event_belongs(name: str) -> None:
    call = {"type": "track", "event": name, "userId": "7", "timestamp": 1_700_000_000, "properties": PROPERTIES}
    read = Intake().read(json.dumps(call).encode(), None, "x:1")
    assert read.dead is None
    # A message to the customer is no event of the vocabulary; it stays with the conversation it is part of.
    expected = "feedback" if name == "Live Chat Message Received" else topic_of(type(read.events[0]))
    assert raw_topic(name) == raw_topic(letters(name)) == expected


@pytest.mark.parametrize(
    ("record", "seen"),
    [
        ({"type": "page", "anonymousId": "a", "timestamp": 2_000}, Glance("clickstream", b"a", 2_000_000, 2_000_000)),
        (
            {"type": "track", "event": "Coupon Applied", "userId": 7, "anonymousId": "a", "timestamp": 1, "receivedAt": 3},
            Glance("transactions", b"7", 1000, 3000),
        ),
        # The collector's time less the sender's is the error of the sender's clock.
        (
            {"type": "page", "userId": "7", "timestamp": 10, "sentAt": 12, "receivedAt": 15},
            Glance("clickstream", b"7", 13_000, 15_000),
        ),
        ({"type": "page", "userId": "7", "timestamp": 10, "sentAt": 12}, Glance("clickstream", b"7", 10_000, 12_000)),
        ({"type": "page", "userId": "7", "timestamp": "soon"}, Glance("clickstream", b"7")),
        ({"type": "page", "userId": "7", "timestamp": "2024-05-01T12:00:00"}, Glance("clickstream", b"7", *[1714564800000] * 2)),
        (
            {"type": "survey_answered", "customer": "u:7", "occurred_at": 5, "received_at": 9},
            Glance("feedback", b"7", 5, 9),
        ),
        ({"type": "outcome_reported", "customer": "a:7", "occurred_at": 5}, Glance("outcomes", b"7", 5, 5)),
        # An event from the future counts from its arrival, as the intake has it.
        (
            {"type": "page_viewed", "customer": "u:7", "occurred_at": 9_000_000, "received_at": 9},
            Glance("clickstream", b"7", 9, 9),
        ),
        ({"type": "order_completed", "customer": 7}, Glance("transactions")),
        ({"type": "track", "event": ["Order Completed"], "userId": ""}, Glance()),
        ({"event": "Order Completed", "userId": "7"}, Glance()),
        ([], Glance()),
    ],
)  # fmt: skip
def test_a_glance(record: object, seen: Glance) -> None:
    raw = json.dumps(record).encode()
    assert glance(raw) == seen
    assert glance(b"\xef\xbb\xbf" + raw) == seen


@given(st.binary() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(lambda v: json.dumps(v).encode()))
def test_anything_has_a_topic(raw: bytes) -> None:
    assert glance(raw).topic in RAW_TOPICS


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(("track", "page", "cart_viewed", "tick"))},
        optional=dict.fromkeys(
            ("event", "userId", "anonymousId", "timestamp", "sentAt", "receivedAt", "customer", "occurred_at"),
            st.none() | st.integers() | st.floats() | st.text() | st.lists(st.integers()) | st.booleans(),
        ),
    )
)
def test_fields_of_any_kind_do_no_harm(record: dict[str, object]) -> None:
    assert glance(json.dumps(record).encode()).topic in RAW_TOPICS
    assert glance(b"[" * 100_000) == Glance()


@given(st.text())
def test_any_name_has_a_topic(name: str) -> None:
    assert raw_topic(name) in RAW_TOPICS
