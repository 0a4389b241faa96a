"""What the six Segment calls become: identity, time, channel, traits, links."""

import json
from typing import Any

import pytest

from schemas.clickstream import PageViewed, ProductViewed
from schemas.control import Custom
from schemas.errors import SchemaError
from schemas.feedback import MessageReceived
from schemas.identity import ConsentChanged, Identified, Linked
from schemas.intake import Intake, IntakeOptions, Read
from schemas.outcomes import OutcomeReported

ARRIVAL = 1_714_557_600_000
TEN = "2024-05-01T10:00:00Z"
AT_TEN = 1_714_557_600_000 - 0
intake = Intake(IntakeOptions(traits=frozenset({"tier", "group", "score"})))


def read(reader: Intake = intake, arrival: int | None = ARRIVAL, **call: Any) -> Read:
    call = {"type": "page", "userId": "17850", "messageId": "m1", "timestamp": TEN, **call}
    return reader.read(json.dumps(call).encode(), arrival, "clickstream[0]@7")


def event(**call: Any) -> Any:
    result = read(**call)
    assert result.dead is None, result.dead
    assert len(result.events) == 1
    return result.events[0]


@pytest.mark.parametrize(
    ("ids", "customer"),
    [
        ({"userId": "A7"}, "u:A7"),
        ({"userId": 17850}, "u:17850"),
        ({"userId": 17850.0}, "u:17850"),
        ({"userId": " A7 "}, "u:A7"),
        ({"userId": None, "anonymousId": "9f2c"}, "a:9f2c"),
        ({"userId": "undefined", "anonymousId": "9f2c"}, "a:9f2c"),
        ({"userId": "A7", "anonymousId": "9f2c"}, "u:A7"),
        ({"userId": "é"}, "u:é"),
    ],
)
def test_customer(ids: dict[str, Any], customer: str) -> None:
    assert event(**ids).customer == customer


def test_an_event_without_an_id_gets_one_of_its_origin() -> None:
    first, again = read(messageId=None), read(messageId=None)
    assert first == again
    assert first.events[0].id.startswith("o:")
    assert "derived_id" in first.notes
    other = intake.read(json.dumps({"type": "page", "userId": "1"}).encode(), ARRIVAL, "clickstream[0]@8")
    assert other.events[0].id != first.events[0].id


def test_only_identify_with_both_ids_links_and_does_so_first() -> None:
    linked, identified = read(type="identify", anonymousId="9f2c").events
    assert isinstance(linked, Linked)
    assert isinstance(identified, Identified)
    assert (linked.id, linked.customer, linked.user) == ("m1#link", "a:9f2c", "u:17850")
    assert (identified.id, identified.customer) == ("m1", "u:17850")
    assert isinstance(event(anonymousId="9f2c"), PageViewed)
    assert isinstance(event(type="track", event="x", anonymousId="9f2c"), Custom)


def test_alias_links_the_previous_id() -> None:
    linked = event(type="alias", previousId="9f2c")
    assert (linked.customer, linked.user, linked.id) == ("a:9f2c", "u:17850", "m1")


def test_identify_keeps_presence_and_allowed_traits_only() -> None:
    traits = {
        "email": "jane@example.org", "phone": "", "tier": "gold", "score": 1.5, "name": "Jane", "timezone": "Europe/Paris",
        "address": {"country": "fr"},
    }  # fmt: skip
    identified = event(type="identify", traits=traits)
    assert (identified.email, identified.phone) == (True, False)
    assert (identified.timezone, identified.country) == ("Europe/Paris", "FR")
    assert identified.traits == {"score": 1.5, "tier": "gold"}


def test_context_fills_what_traits_leave_out() -> None:
    context = {"traits": {"tier": "silver"}, "timezone": "Asia/Tokyo", "locale": "ja-JP"}
    identified = event(type="identify", context=context)
    assert (identified.timezone, identified.country, identified.traits) == ("Asia/Tokyo", "JP", {"tier": "silver"})


def test_group_is_a_trait_where_allowed() -> None:
    assert event(type="group", groupId="g1").traits == {"group": "g1"}
    assert event(reader=Intake(), type="group", groupId="g1").traits == {}


def test_addresses_lose_their_query() -> None:
    shown = event(
        name="Sale",
        context={
            "page": {
                "url": "https://shop.example/sale?email=jane@example.org",
                "referrer": "https://x.example/?q=secret",
            },
            "campaign": {"source": "newsletter"},
        },
    )
    assert (shown.path, shown.title, shown.referrer, shown.source) == (
        "/sale",
        "Sale",
        "https://x.example/",
        "newsletter",
    )


@pytest.mark.parametrize(
    ("call", "channel"),
    [
        ({}, "web"),
        ({"type": "screen"}, "app"),
        ({"context": {"channel": "Store"}}, "store"),
        ({"context": {"channel": "browser"}}, "web"),
        ({"context": {"device": {"type": "ios"}}}, "app"),
        ({"context": {"device": "ios"}}, "web"),
        ({"channel": "mobile"}, "app"),
        ({"context": []}, "web"),
    ],
)
def test_channel(call: dict[str, Any], channel: str) -> None:
    assert event(**call).channel == channel


@pytest.mark.parametrize(
    ("text", "millis"),
    [
        (TEN, AT_TEN),
        ("2024-05-01T12:00:00+02:00", AT_TEN),
        ("2024-05-01T10:00:00.123456Z", AT_TEN + 123),
        ("2024-05-01t10:00:00z", AT_TEN),
        ("2024-05-01 10:00:00", AT_TEN),
        ("2016-12-31T23:59:60Z", 1_483_228_799_000),
        (AT_TEN, AT_TEN),
        (AT_TEN // 1_000, AT_TEN),
        (AT_TEN * 1_000, AT_TEN),
        (str(AT_TEN), AT_TEN),
        (AT_TEN / 1_000 + 0.5, AT_TEN + 500),
    ],
)
def test_times(text: object, millis: int) -> None:
    assert event(timestamp=text, arrival=ARRIVAL + 3_600_000).occurred_at == millis


def test_a_time_without_an_offset_is_in_the_configured_zone() -> None:
    london = Intake(IntakeOptions(timezone="Europe/London"))
    result = read(reader=london, timestamp="2024-05-01T11:00:00")
    assert (result.events[0].occurred_at, result.notes) == (AT_TEN, ("naive_time",))
    with pytest.raises(SchemaError):
        Intake(IntakeOptions(timezone="../etc/passwd"))


@pytest.mark.parametrize(
    "text", ["soon", "", "1969-12-31T23:59:59Z", "10000-01-01", -1, 1e300, True, [], "2024-02-30T00:00:00Z"]
)
def test_an_unreadable_time_is_the_arrival(text: object) -> None:
    result = read(timestamp=text)
    assert result.events[0].occurred_at == ARRIVAL
    assert set(result.notes) == {"unreadable_time", "arrival_time"}
    refused = read(timestamp=text, arrival=None).dead
    assert refused is not None
    assert (refused.reason, refused.field) == ("time", "$.timestamp")


@pytest.mark.parametrize(
    ("times", "arrival", "occurred", "notes"),
    [
        # The sender's clock is 2 hours slow: 10:00 there, sent 10:05, received 12:05.
        ({"sentAt": "2024-05-01T10:05:00Z", "receivedAt": "2024-05-01T12:05:00Z"}, None, AT_TEN + 7_200_000, ()),
        ({"sentAt": "2024-05-01T10:05:00Z"}, AT_TEN + 300_000 + 7_200_000, AT_TEN + 7_200_000, ()),
        ({"sentAt": "2024-05-01T10:05:00Z"}, AT_TEN + 30 * 86_400_000, AT_TEN, ("skew_ignored",)),
        ({"sentAt": "2024-05-01T10:05:00Z"}, None, AT_TEN, ()),
        (
            {
                "sentAt": "2024-05-01T08:05:00Z",
                "originalTimestamp": "2024-05-01T08:00:00Z",
                "receivedAt": "2024-05-01T10:05:00Z",
            },
            None,
            AT_TEN,
            (),
        ),
        (
            {"timestamp": None, "originalTimestamp": TEN, "sentAt": TEN, "receivedAt": "2024-05-01T10:00:09Z"},
            None,
            AT_TEN + 9_000,
            (),
        ),
        ({"timestamp": "2024-05-01T10:05:00Z"}, AT_TEN, AT_TEN + 300_000, ()),
        ({"timestamp": "2024-05-01T10:05:00.001Z"}, AT_TEN, AT_TEN, ("clamped_time",)),
    ],
)
def test_skew(times: dict[str, Any], arrival: int | None, occurred: int, notes: tuple[str, ...]) -> None:
    result = read(arrival=arrival, **times)
    assert result.events[0].occurred_at == occurred
    assert result.notes == notes


def test_files_take_the_records_own_arrival() -> None:
    assert event(arrival=None).received_at == AT_TEN
    assert event(arrival=None, receivedAt="2024-05-01T10:00:09Z").received_at == AT_TEN + 9_000
    assert event(arrival=-1).received_at == AT_TEN


def test_currency() -> None:
    viewed: dict[str, Any] = {"type": "track", "event": "Product Viewed", "properties": {"sku": "s", "price": "2.55"}}
    assert event(**viewed).price is None
    assert "no_currency" in read(**viewed).notes
    price = event(reader=Intake(IntakeOptions(currency="EUR")), **viewed).price
    assert (str(price.amount), price.currency) == ("2.55", "EUR")
    viewed["properties"] = {"name": "White heart", "price": 2.55, "currency": "gbp"}
    shown = event(**viewed)
    assert isinstance(shown, ProductViewed)
    assert shown.price is not None
    assert (shown.product, shown.price.currency) == ("White heart", "GBP")


@pytest.mark.parametrize(
    ("name", "properties", "customers"),
    [
        ("Live Chat Message Sent", {"text": "hello"}, True),
        ("Live Chat Message Sent", {"text": "hello", "agent_id": "7"}, False),
        ("Live Chat Message Sent", {"text": "hello", "sender": "Agent"}, False),
        ("Live Chat Message Received", {"text": "hello"}, False),
        ("Live Chat Message Received", {"text": "hello", "author": "customer"}, True),
        ("Message Received", {"text": "hello"}, True),
    ],
)
def test_only_the_customers_messages_are_messages(name: str, properties: dict[str, Any], customers: bool) -> None:
    assert isinstance(event(type="track", event=name, properties=properties), MessageReceived if customers else Custom)


def test_outcomes_name_channel_and_outcome() -> None:
    clicked = event(type="track", event="Email Link Clicked", properties={"trigger_id": "t1", "campaign_id": 5})
    assert isinstance(clicked, OutcomeReported)
    assert (clicked.channel, clicked.outcome, clicked.trigger, clicked.campaign) == ("email", "clicked", "t1", "5")
    assert event(type="track", event="Unsubscribed", properties={"channel": "sms"}).channel == "sms"
    assert event(type="track", event="Push Notification Tapped").channel == "push"


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"granted": True, "channel": "Email"}, (True, "marketing", "email")),
        ({"granted": "withdrawn", "purpose": "profiling"}, (False, "profiling", "*")),
        ({"granted": "perhaps"}, None),
        ({}, None),
        ({"granted": True, "channel": ["email"]}, None),
        ({"granted": True, "purpose": "science"}, None),
    ],
)
def test_consent_is_read_without_doubt_or_refused(
    properties: dict[str, Any], expected: tuple[bool, str, str] | None
) -> None:
    result = read(type="track", event="Consent Changed", properties=properties)
    if expected is None:
        assert result.dead is not None
        return
    (consent,) = result.events
    assert isinstance(consent, ConsentChanged)
    assert (consent.granted, consent.purpose, consent.scope) == expected
