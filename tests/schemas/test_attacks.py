"""Whatever the bytes, reading ends in events or in one dead letter, soon, and without repeating personal content."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from schemas.codec import decode_event, encode_dead_letter, encode_event
from schemas.dead_letters import DeadLetter
from schemas.errors import REASONS
from schemas.events import AnyEvent
from schemas.intake import Intake, IntakeOptions, Read
from schemas.transactions import OrderCompleted
from tests.fuzzing import bounded

ARRIVAL = 1_714_557_600_000
# Runs repeat exactly, and a busy machine fails none of them.
exact = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
OLD_LINES = (Path(__file__).parent / "fixtures" / "events-v1.jsonl").read_bytes().splitlines()
ORDER: dict[str, Any] = {
    "type": "track",
    "messageId": "m1",
    "userId": "17850",
    "event": "Order Completed",
    "timestamp": "2024-05-01T10:00:00Z",
    "properties": {
        "order_id": "536365",
        "total": 59.98,
        "currency": "GBP",
        "products": [{"product_id": "85123A", "price": 2.55, "quantity": 6}],
    },
    "context": {"channel": "web", "locale": "en-GB", "device": {"type": "ios"}, "page": {"path": "/"}},
}
CALLS = [ORDER, *({**ORDER, "type": kind} for kind in ("identify", "page", "screen", "group", "alias"))]
intake = Intake(IntakeOptions(traits=frozenset({"tier"})))
strict = Intake(IntakeOptions(reject_ahead=True, currency="EUR"))


def check(raw: bytes, arrival: int | None = ARRIVAL) -> Read:
    """Read, and check what holds for every record."""
    for reader in (intake, strict):
        read = reader.read(raw, arrival, "clickstream[0]@7")
        assert bool(read.events) != (read.dead is not None)
        assert reader.read(raw, arrival, "clickstream[0]@7") == read
        for event in read.events:
            assert decode_event(encode_event(event)) == event
            assert event.id.isprintable()
            assert event.customer.isprintable()
            assert event.customer[:2] in ("u:", "a:")
            if arrival is not None and arrival >= 0:
                assert event.occurred_at <= event.received_at + 300_000
        if read.dead is not None:
            assert read.dead.reason in REASONS
            assert read.dead.remedy
            assert read.dead.found.isprintable()
            assert len(read.dead.found) <= 80
            encode_dead_letter(read.dead)
    return intake.read(raw, arrival, "clickstream[0]@7")


def dead(raw: bytes, arrival: int | None = ARRIVAL) -> DeadLetter:
    letter = check(raw, arrival).dead
    assert letter is not None
    return letter


def order(**changes: Any) -> bytes:
    properties = {**ORDER["properties"], **changes}
    return json.dumps({**ORDER, "properties": properties}).encode()


def completed(raw: bytes) -> tuple[OrderCompleted, tuple[str, ...]]:
    read = check(raw)
    assert read.dead is None, read.dead
    event: AnyEvent = read.events[0]
    assert isinstance(event, OrderCompleted)
    return event, read.notes


@exact
@given(st.binary(max_size=300), st.none() | st.integers(-5, 2**50))
@example(b"", None)
@example(b"\xef\xbb\xbf", None)
@example(b"\xef\xbb\xbf{}", 0)
@example(b'{"type":"page"' + b"," * 10, 0)
@example(b'{"a":"\\ud800"}', 0)
@example(b"[" * 70_000, 0)
@example(b'{"a":' * 70_000, 0)
@example(b'{"a":1e9999999999999999999999}', 0)
@example(b'{"a":' + b"1" * 5_000 + b"}", 0)
@example(b'{"a" :1,"a":2}', 0)
@example(b'{"type":{"a":1}}', 0)
@example(b'{"type":["page"]}', 0)
def test_arbitrary_bytes(raw: bytes, arrival: int | None) -> None:
    check(raw, arrival)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(
        ["", "2024-05-01", "1e999", "NaN", "u:1", "a" * 200, "\x1b[31m", "\ud800", "x" * 5_000, 1e308, -3]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(record: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    entries = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    for key, value in entries:
        found += places(value, (*path, key))
    return found


@exact
@given(data=st.data())
def test_valid_records_with_values_replaced(data: st.DataObject) -> None:
    source = data.draw(st.sampled_from([*CALLS, *map(json.loads, OLD_LINES)]))
    record = json.loads(json.dumps(source))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(record)))
        container = record
        for step in path[:-1]:
            container = container[step]
        if data.draw(st.booleans()):
            container[path[-1]] = data.draw(values)
        else:
            del container[path[-1]]
        if not record:
            break
    check(json.dumps(record).encode(), data.draw(st.none() | st.just(ARRIVAL)))


@exact
@given(data=st.data())
def test_valid_records_with_bytes_replaced(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from([json.dumps(CALLS[0]).encode(), *OLD_LINES])))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(raw))


@exact
@given(st.text(max_size=100), st.text(max_size=300))
def test_any_event_name_and_id(name: str, identity: str) -> None:
    check(json.dumps({"type": "track", "userId": identity, "event": name, "properties": {identity: name}}).encode())


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "1e308", "-5", '"abc"', "[]", "{}", "true"]
)
def test_an_unusable_optional_number_loses_nothing_else(number: str) -> None:
    raw = (
        b'{"type":"track","messageId":"m","userId":"1","event":"Product Viewed","properties":{"product_id":"p","currency":"EUR","price":'
        + number.encode()
        + b"}}"
    )
    read = check(raw)
    (event,) = read.events
    assert event.price is None  # type: ignore[union-attr]  # a ProductViewed
    assert read.notes


@pytest.mark.parametrize("total", ["NaN", "1e999", "1e308", '"abc"', "-5", "null", '"NaN"', '"Infinity"', "[1]"])
def test_an_order_without_a_usable_total_takes_the_next_best(total: str) -> None:
    def raw(**changes: Any) -> bytes:
        return order(total="@", **changes).replace(b'"@"', total.encode())

    event, notes = completed(raw(revenue="50.00"))
    assert (event.total.amount, "total_from_revenue" in notes) == (Decimal("50.00"), True)
    event, notes = completed(raw())
    assert (event.total.amount, "total_from_items" in notes) == (Decimal("15.30"), True)
    letter = dead(raw(products=[{"product_id": "a", "price": 2}, {"product_id": "b"}]))
    assert letter.field == "$.properties.total"
    assert "decimal number" in letter.remedy


def test_a_wrong_quantity_keeps_the_item_and_bars_the_sum() -> None:
    event, notes = completed(order(products=[{"product_id": "a", "price": 2, "quantity": -3}]))
    assert event.items[0].quantity == 1
    assert "dropped_quantity" in notes
    assert dead(order(total=None, products=[{"product_id": "a", "price": 2, "quantity": -3}])).reason == "missing"


def test_products_that_cannot_be_read_leave_the_order() -> None:
    event, notes = completed(order(products=[{"price": 2}, "x", {"product_id": "a" * 200}, {"sku": 7.0}]))
    assert [item.product for item in event.items] == ["7"]
    assert notes.count("dropped_product") == 3


def test_binary_arithmetic_is_rounded() -> None:
    event, notes = completed(order(total=59.980000000000004))
    assert (event.total.amount, notes) == (Decimal("59.98"), ("rounded_amount",))


@pytest.mark.parametrize(
    ("raw", "reason", "field"),
    [
        (b"x" * 300_000, "too_large", "$"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "too_deep", "$"),
        (json.dumps({str(n): 1 for n in range(2_001)}).encode(), "too_many_keys", "$"),
        (b'{"type":"page","userId":"1","userId":"2"}', "duplicate_key", "$"),
        (b'{"type":"page","userId" : "1","userId":"2"}', "duplicate_key", "$"),
        (b'{"type":"page","user\\u0049d":"1","userId":"2"}', "duplicate_key", "$"),
        (b'{"type":"track","properties":{"a":1,"a":1}}', "duplicate_key", "$"),
        (b'{"type":"page","junk":[[{"a":1,"a":2}]]}', "duplicate_key", "$"),
        (b'{"n":NaN,"a":1,"a":2}', "duplicate_key", "$"),
        (b"\xff\xfe{\x00}\x00", "encoding", "$"),
        (b'{"type":"page","userId":"\xff"}', "encoding", "$"),
        (b"", "not_json", "$"),
        (b'{"type":"page"', "not_json", "$"),
        (b'{"type":"page"} {"type":"page"}', "not_json", "$"),
        (b"\x1f\x8b\x08", "encoding", "$"),
        (b"[]", "type", "$"),
        (b'"page"', "type", "$"),
        (b"null", "type", "$"),
        (b"{}", "missing", "$.type"),
        (b'{"type":"purchase"}', "unknown_type", "$.type"),
        (b'{"type":5}', "unknown_type", "$.type"),
        (b'{"type":"page"}', "identity", "$.userId"),
        (b'{"type":"page","userId":""}', "identity", "$.userId"),
        (b'{"type":"page","userId":null,"anonymousId":"undefined"}', "identity", "$.userId"),
        (b'{"type":"page","userId":true}', "identity", "$.userId"),
        (b'{"type":"page","userId":"a\\nb"}', "identity", "$.userId"),
        (b'{"type":"page","userId":"\\u001b[31m"}', "identity", "$.userId"),
        (b'{"type":"page","userId":"1","messageId":"a\\r\\nb"}', "identity", "$.messageId"),
        (b'{"type":"page","userId":"' + b"a" * 129 + b'"}', "range", "$.userId"),
        (b'{"type":"page","userId":"1","messageId":"' + b"a" * 101 + b'"}', "range", "$.messageId"),
        (b'{"type":"track","userId":"1"}', "missing", "$.event"),
        (b'{"type":"alias","userId":"1"}', "identity", "$.previousId"),
        (b'{"type":"alias","previousId":"1"}', "identity", "$.userId"),
        (b'{"type":"group","userId":"1"}', "missing", "$.groupId"),
        (b'{"type":"page_viewed"}', "identity", "$.customer"),
        (b'{"type":"page_viewed","customer":"1"}', "identity", "$.customer"),
        (b'{"type":"page_viewed","customer":"*:*"}', "identity", "$.customer"),
        (b'{"type":"order_completed","customer":"u:1"}', "missing", "$.order"),
        (b'{"type":"product_viewed","customer":"u:1","product":"a\\u0007"}', "identity", "$.product"),
        (b'{"type":"product_viewed","customer":"u:1","product":[]}', "type", "$.product"),
        (b'{"type":"survey_answered","customer":"u:1","score":11}', "range", "$.score"),
        (b'{"type":"cart_changed","customer":"u:1","item":{"product":"a"},"added":"no"}', "type", "$.added"),
        (b'{"type":"cart_changed","customer":"u:1","item":{"product":"a\\u0007"}}', "identity", "$.item"),
        (
            b'{"type":"order_refunded","customer":"u:1","order":"1","items":[{"product":"\\u0007"}]}',
            "identity",
            "$.items",
        ),
        (b'{"type":"slot_requested","customer":"u:1","slot":"s","candidates":["\\u0007"]}', "identity", "$.candidates"),
        (b'{"type":"linked","customer":"u:1","user":"u:2"}', "identity", "$.user"),
        (b'{"type":"linked","customer":"a:1","user":"a:2"}', "identity", "$.user"),
        (b'{"type":"erasure_requested","customer":"a:1","user":"u:2"}', "identity", "$.user"),
        (b'{"type":"outcome_reported","customer":"u:1","outcome":"lost"}', "range", "$.outcome"),
    ],
    ids=lambda value: value[:50].decode("latin-1") if isinstance(value, bytes) else None,
)
def test_refusals(raw: bytes, reason: str, field: str) -> None:
    letter = dead(raw)
    assert (letter.reason, letter.field) == (reason, field)
    assert letter.size == len(raw)


@pytest.mark.parametrize("tag", ["tick", "timer_due", "model_published", "handed_over", "unlinked"])
def test_the_engines_own_records_are_refused_from_outside(tag: str) -> None:
    line = next(line for line in OLD_LINES if f'"type":"{tag}"'.encode() in line)
    decode_event(line)
    assert dead(line).reason == "unknown_type"


def test_dead_letters_hold_no_personal_content() -> None:
    secret = "jane.doe@example.org"
    mutants = [
        {**ORDER, "userId": secret + "\n"},
        {**ORDER, "userId": [secret]},
        {**ORDER, "type": secret},
        {**ORDER, secret: 1},
        {**ORDER, "event": [secret]},
        {**ORDER, "properties": {"order_id": "1", "total": secret}},
        {"type": "product_viewed", "customer": secret, "product": 1},
        {"type": "product_viewed", "customer": "u:1", "product": {secret: 1}},
        {"type": "order_completed", "customer": "u:1", "order": "1", "total": {"amount": secret, "currency": secret}},
        {"type": "outcome_reported", "customer": "u:1", "outcome": secret},
    ]
    for mutant in mutants:
        read = check(json.dumps(mutant).encode())
        if read.dead is not None:
            assert secret.encode() not in encode_dead_letter(read.dead)
    raw = json.dumps({"type": "page", secret: 1}).encode()[:-1] + f', "{secret}": 2}}'.encode()
    assert secret.encode() not in encode_dead_letter(dead(raw))


def test_far_future_is_held_to_arrival_or_refused() -> None:
    raw = json.dumps({**ORDER, "timestamp": "2099-01-01T00:00:00Z"}).encode()
    read = check(raw)
    assert read.events[0].occurred_at == ARRIVAL
    assert "clamped_time" in read.notes
    refused = strict.read(raw, ARRIVAL, "o").dead
    assert refused is not None
    assert (refused.reason, refused.field) == ("time", "$.timestamp")


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 200_000,
        b'{"a":' * 50_000,
        b"x" * 5_000_000,
        b'{"a":[' + b"[]," * 80_000 + b"[]]}",
        b'{"a":"' + b"\\ud800" * 40_000 + b'"}',
        b"{" + b'"a":1,' * 40_000 + b'"a":1}',
        b'{"a":' + b"9" * 250_000 + b"}",
        b'{"type":"page","userId":0.' + b"0" * 250_000 + b"}",
        b'{"type":"page","customer":"u:1",' + b" " * 250_000 + b"}",
        b'{"type":"cart_changed","customer":"u:1","item":{"product":"a","price":0.' + b"1" * 200_000 + b"}}",
        b'{"type":"order_refunded","customer":"u:1","order":"1","items":[' + b"{}," * 2_000 + b"{}]}",
    ],
    ids=lambda raw: f"{raw[:30].decode()} ({len(raw)})",
)
def test_costly_records_cost_little(raw: bytes) -> None:
    with bounded(0.25):
        intake.read(raw, ARRIVAL, "o")
    check(raw)


def test_a_custom_event_keeps_32_short_plain_properties() -> None:
    properties = {f"p{n}": "x" * 1_000 for n in range(40)}
    raw = json.dumps(
        {"type": "track", "userId": "1", "messageId": "m", "event": "Tour", "properties": properties}
    ).encode()
    (event,) = check(raw).events
    kept = event.properties  # type: ignore[union-attr]  # a Custom
    assert len(kept) == 32
    assert {len(str(value)) for value in kept.values()} == {256}
