"""What bodies of GA4's Measurement Protocol become, each event by itself; and that hostile ones are refused, soon."""

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.adapters.ga4_events import HANDLERS
from schemas.codec import decode_event, encode_dead_letter, encode_event
from schemas.errors import REASONS
from schemas.intake import Intake, IntakeOptions, Read
from schemas.routing import glance
from schemas.transactions import CartChanged, OrderCompleted
from streams.reorder import reordered
from tests.fuzzing import bounded

DOCUMENT = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
ROWS = re.findall(
    r"^\| ([\w, ]+) \| `(\w+)` \| ([^|]*)\|$",
    DOCUMENT.split("## Google Analytics 4")[1].split("\n## ")[0],
    re.MULTILINE,
)
FIXTURES = Path(__file__).parent / "fixtures"
AT = 1_714_557_600_000
exact = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
intake = Intake(IntakeOptions(traits=frozenset({"tier"})))
TEA = {"item_id": "T-100", "item_name": "Tea", "item_category": "Tea", "price": 7.9, "quantity": 2}


def body(*events: Any, **changes: Any) -> bytes:
    return json.dumps({"client_id": "1.2", "timestamp_micros": AT * 1000, "events": list(events), **changes}).encode()


def named(name: str, **params: Any) -> dict[str, Any]:
    return {"name": name, "params": params}


def purchase(order: str = "O-1", **params: Any) -> dict[str, Any]:
    return named("purchase", transaction_id=order, currency="EUR", value=15.8, items=[TEA], **params)


def check(raw: bytes, arrival: int | None = AT, origin: str = "clickstream[0]@7") -> Read:
    """Read, and check what holds for every record."""
    read = intake.read(raw, arrival, origin)
    assert intake.read(raw, arrival, origin) == read
    assert read.events or read.letters
    assert len({event.id for event in read.events}) == len(read.events)
    for event in read.events:
        assert decode_event(encode_event(event)) == event
        assert event.id.isprintable()
        assert len(event.id) <= 128
    for letter in read.letters:
        assert letter.reason in REASONS
        assert letter.remedy
        assert letter.found.isprintable()
        encode_dead_letter(letter)
    return read


def only(raw: bytes) -> Any:
    read = check(raw)
    assert not read.letters, read.letters
    (event,) = read.events
    return event


@pytest.mark.parametrize("name", ["ga4", "rudderstack"])
def test_what_sites_send_becomes_what_it_is_known_to_become(name: str) -> None:
    events = []
    for number, raw in enumerate((FIXTURES / f"{name}.jsonl").read_bytes().splitlines(), 1):
        read = intake.read(raw, None, f"{name}.jsonl:{number}")
        assert read.letters == ()
        events += [encode_event(event) for event in read.events]
        assert b"jane" not in b"".join(events).lower().replace(b'"character":"jane"', b"")
        assert b"203.0.113.7" not in b"".join(events)
    assert events == (FIXTURES / f"{name}-events.jsonl").read_bytes().splitlines()


def test_the_fixture_holds_every_event_that_is_mapped() -> None:
    bodies = [json.loads(line) for line in (FIXTURES / "ga4.jsonl").read_bytes().splitlines()]
    sent = {event["name"] for one in bodies for event in one["events"]}
    assert set(HANDLERS) - sent == {"view_search_results"}


def test_a_body_sent_again_has_the_same_ids_wherever_it_lies() -> None:
    raw = body(purchase(), named("level_up", level=2))
    first, again = check(raw), check(raw, AT + 90_000, "clickstream[3]@99")
    assert [event.id for event in first.events] == [event.id for event in again.events]
    spaced = json.dumps(json.loads(raw), indent=1).encode()
    assert [event.id for event in check(spaced).events] == [event.id for event in first.events]


@pytest.mark.parametrize(
    "other",
    [
        body(purchase("O-2")),
        body(purchase(), client_id="1.3"),
        body(purchase(), timestamp_micros=AT * 1000 + 1),
        body({**purchase(), "timestamp_micros": AT * 1000}),
        body(named("level_up", level=2), purchase()),
        body(purchase(coupon="A")),
    ],
)
def test_another_event_has_another_id(other: bytes) -> None:
    ids = {event.id for event in check(body(purchase())).events}
    assert ids.isdisjoint(event.id for event in check(other).events)


def test_two_equal_events_of_one_body_are_two() -> None:
    first, second = check(body(purchase(), purchase())).events
    assert first.id != second.id


def test_without_a_time_the_record_gives_id_and_time() -> None:
    raw = body(named("login"), timestamp_micros=None)
    (event,) = check(raw).events
    assert (event.occurred_at, event.id[:2]) == (AT, "o:")
    assert set(check(raw).notes) == {"derived_id", "arrival_time"}
    assert check(raw, origin="clickstream[0]@8").events[0].id != event.id
    (letter,) = check(raw, None).refused
    assert (letter.reason, letter.field) == ("time", "$.events[0].timestamp_micros")


def test_an_event_may_have_a_time_of_its_own() -> None:
    own = {**named("login"), "timestamp_micros": (AT - 60_000) * 1000}
    assert [event.occurred_at for event in check(body(own, named("login"))).events] == [AT - 60_000, AT]


def test_events_of_one_moment_keep_their_order_where_files_are_sorted() -> None:
    raw = body(
        *(named(name, items=[TEA]) for name in ("view_item", "add_to_cart", "view_cart", "begin_checkout")), purchase()
    )
    events = list(check(raw).events)
    mixed = events.copy()
    random.Random(1).shuffle(mixed)
    assert list(reordered(mixed, 1_000)) == events


def test_one_bad_event_takes_no_other_with_it() -> None:
    read = check(body(named("purchase", value=3), purchase(), 7, {"params": {}}, named("add_to_cart", items=[{}])))
    assert [type(event) for event in read.events] == [OrderCompleted]
    assert read.dead is None
    assert [(letter.reason, letter.field) for letter in read.refused] == [
        ("missing", "$.events[0].params.transaction_id"),
        ("type", "$.events[2]"),
        ("missing", "$.events[3].name"),
        ("missing", "$.events[4].params.items"),
    ]
    assert {letter.origin for letter in read.refused} == {"clickstream[0]@7"}


def test_many_bad_events_are_told_in_a_few_letters() -> None:
    read = check(body(*[1] * 400, purchase()))
    assert [type(event) for event in read.events] == [OrderCompleted]
    assert len(read.refused) == 26
    assert (read.refused[-1].field, read.refused[-1].found) == ("$.events", "375 more that were refused")


@pytest.mark.parametrize(
    ("raw", "reason", "field"),
    [
        (body(purchase(), client_id=None), "identity", "$.client_id"),
        (body(purchase(), client_id="undefined"), "identity", "$.client_id"),
        (body(purchase(), client_id="x" * 200), "range", "$.client_id"),
        (body(), "missing", "$.events"),
        (body(events={"name": "purchase"}), "type", "$.events"),
        (body(*[1] * 501), "range", "$.events"),
        (body(type="track"), "missing", "$.event"),
    ],
)
def test_a_body_that_is_none_is_refused_as_a_whole(raw: bytes, reason: str, field: str) -> None:
    read = check(raw.replace(b'"client_id"', b'"userId": 7, "client_id"') if b"track" in raw else raw)
    assert read.dead is not None
    assert (read.dead.reason, read.dead.field) == (reason, field)


def test_login_links_the_device_to_its_user_first() -> None:
    linked, login = check(body(named("login"), user_id="17850")).events
    assert (linked.customer, linked.user, login.customer) == ("a:1.2", "u:17850", "u:17850")  # type: ignore[union-attr]
    assert only(body(named("login"))).customer == "a:1.2"
    assert only(body(named("search"), user_id="17850")).customer == "u:17850"


def test_properties_of_the_user_are_kept_as_traits_are() -> None:
    person = {
        "tier": {"value": "gold"},
        "phone": {"value": "+33 1 23"},
        "timezone": {"value": "Europe/Paris"},
        "iban": {"value": "FR76"},
    }
    identified, _ = check(body(named("search"), user_properties=person)).events
    kept = json.loads(encode_event(identified))
    assert (kept["phone"], kept["timezone"], kept["traits"]) == (True, "Europe/Paris", {"tier": "gold"})
    assert "email" not in kept
    assert only(body(named("search"), user_properties={"iban": {"value": "FR76"}})).query == ""


def test_a_purchase_without_a_value_is_the_sum_of_its_items() -> None:
    read = check(body({"name": "purchase", "params": {"transaction_id": 9, "currency": "EUR", "items": [TEA, TEA]}}))
    (order,) = read.events
    assert isinstance(order, OrderCompleted)
    assert (order.order, str(order.total.amount), read.notes) == ("9", "31.6", ("total_from_items",))


def test_a_price_without_a_currency_is_dropped() -> None:
    read = check(body(named("add_to_cart", items=[TEA])))
    (change,) = read.events
    assert isinstance(change, CartChanged)
    assert (change.item.price, change.currency, change.item.quantity, read.notes) == (None, None, 2, ("no_currency",))


EVERYTHING = {
    "items": [TEA], "promotion_id": "P", "transaction_id": "O", "value": 5, "currency": "EUR", "method": "m",
    "search_term": "s", "form_id": "f", "page_location": "/",
}  # fmt: skip


def test_the_document_has_every_event() -> None:
    assert {name for names, _, _ in ROWS for name in names.split(", ")} == {*HANDLERS, "any other"}


@pytest.mark.parametrize(("names", "canonical", "fields"), ROWS, ids=[row[0][:40] for row in ROWS])
def test_events_map_as_documented(names: str, canonical: str, fields: str) -> None:
    required = re.findall(r"\*\*(\w+)\*\*", fields) if "as above" not in fields else []
    for name in names.split(", "):
        for spelling in (name, name.upper(), name.title().replace("_", "")):
            assert only(body(named(spelling, **EVERYTHING))).__struct_config__.tag == canonical
        check_required(name, required)


def check_required(name: str, required: list[str]) -> None:
    least = {key: EVERYTHING[key] for key in required}
    for missing in required:
        read = check(body(named(name, **{key: least[key] for key in least if key != missing})))
        assert [letter.field for letter in read.refused] == [f"$.events[0].params.{missing}"]
    if required:
        only(body(named(name, **least)))


HOSTILE: list[Any] = [
    None, True, -1, 0, 1e308, float("nan"), float("inf"), 10**400, "", "x" * 5_000, "\x1b[31m", "\ud800", [], {}, [[]], [{}],
    {"a": {"b": [1]}}, [None] * 50,
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", [*HANDLERS, "level_up"])
def test_wrong_values_anywhere_end_in_events_or_letters(name: str, value: Any) -> None:
    whole: dict[str, Any] = {
        "items": [TEA], "currency": "EUR", "value": 3, "transaction_id": "O", "promotion_id": "P", "search_term": "s",
        "method": "m", "page_location": "/", "page_title": "t", "item_id": "I", "content_type": "product", "form_id": "f",
    }  # fmt: skip
    for key in (*whole, "index", "coupon"):
        check(body(named(name, **{**whole, key: value})))
    for key in TEA:
        check(body(named(name, **{**whole, "items": [{**TEA, key: value}, TEA]})))
    event = named(name, **whole)
    for key in ("name", "params", "timestamp_micros"):
        check(body({**event, key: value}))
    for key in ("client_id", "user_id", "timestamp_micros", "user_properties", "user_data", "user_location", "events"):
        raw = body(event, **{key: value})
        check(raw)
        check(raw, None)
        glance(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


@exact
@given(st.sampled_from([*HANDLERS, "level_up"]), json_values, json_values, st.none() | st.integers(0, 2**45))
def test_arbitrary_params(name: str, params: Any, item: Any, arrival: int | None) -> None:
    check(body({"name": name, "params": params}, named(name, items=[item]), named(name, items=item)), arrival)


@exact
@given(st.lists(json_values, max_size=5), json_values, json_values)
def test_arbitrary_bodies(events: list[Any], client: Any, properties: Any) -> None:
    raw = body(*events, client_id=client, user_properties=properties)
    check(raw)
    glance(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"client_id":"1","events":' + b"[" * 100_000,
        b'{"client_id":"1","events":[' + b"1," * 100_000 + b"1]}",
        b'{"client_id":"1","events":[' + b'{"name":"add_to_cart","params":{}},' * 6_000 + b"{}]}",
        b'{"client_id":"1","events":[{"name":"purchase","params":{"items":[' + b"{}," * 40_000 + b"{}]}}]}",
        b'{"client_id":"1","events":[{"name":"purchase","params":{"items":[' + b"1," * 100_000 + b"1]}}]}",
        b'{"client_id":"1","events":[{"name":"' + b"x" * 200_000 + b'"}]}',
        b'{"client_id":"1","timestamp_micros":' + b"9" * 200_000 + b',"events":[{"name":"login"}]}',
        b'{"batch":[' + b"{}," * 80_000 + b"{}]}",
    ],
    ids=lambda raw: f"{raw[:40].decode()} ({len(raw)})",
)
def test_costly_bodies_cost_little(raw: bytes) -> None:
    with bounded(0.25):
        read = intake.read(raw, AT, "o")
    assert len(read.letters) <= 26
    assert len(read.events) <= 2_000


def test_letters_do_not_repeat_what_they_refuse() -> None:
    secret = "jane@example.org"
    for raw in (
        body(named(secret, items=secret), {"name": [secret]}, secret),
        body(named("purchase", transaction_id=[secret], value=secret)),
        body(named("login"), client_id=[secret]),
        body(named("view_item", items=[{secret: 1}])),
        body(events=secret),
    ):
        for letter in check(raw).letters:
            assert secret.encode() not in encode_dead_letter(letter)


def test_a_batch_of_calls_is_read_call_by_call() -> None:
    page = {"type": "page", "anonymousId": "9f2c", "timestamp": AT}
    call = {"type": "track", "userId": "7", "event": "Order Completed", "messageId": "m", "timestamp": AT}
    raw = json.dumps({"batch": [page, page, call, {"event": "x"}, 3], "sentAt": AT}).encode()
    read = check(raw)
    assert [event.customer for event in read.events] == ["a:9f2c"] * 2
    assert [(letter.reason, letter.field) for letter in read.refused] == [
        ("missing", "$.batch[2].properties.order_id"),
        ("unknown_type", "$.batch[3].type"),
        ("type", "$.batch[4]"),
    ]
    assert glance(raw).key == b"9f2c"


def test_what_a_player_sees_of_a_body_is_what_the_intake_reads() -> None:
    later = {**named("login"), "timestamp_micros": (AT + 60_000) * 1000}
    seen = glance(body(purchase(), later, user_id=17850))
    assert (seen.topic, seen.key, seen.at, seen.arrived) == ("clickstream", b"17850", AT, AT + 60_000)
    played = check(body(purchase(), later), seen.arrived)
    assert Counter(event.occurred_at for event in played.events) == {AT: 1, AT + 60_000: 1}
