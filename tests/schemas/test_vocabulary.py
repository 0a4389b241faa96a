"""Every event name becomes what docs/events.md says; the tables there are the test's cases."""

import json
import re
from pathlib import Path

import pytest

from schemas.adapters import commerce, messages
from schemas.adapters.table import letters
from schemas.intake import Intake, IntakeOptions

ARRIVAL = 1_714_557_600_000
DOCUMENT = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
SECTION = DOCUMENT.split("## Event names of `track`")[1].split("\n## ")[0]
ROWS = re.findall(r"^\| ([^|]+) \| `(\w+)` \| ([^|]*)\|$", SECTION, re.MULTILINE)
NAMES = [(name, canonical) for names, canonical, _ in ROWS for name in names.split(", ")]
EVERYTHING = {
    "product_id": "85123A",
    "promotion_id": "p1",
    "order_id": "536365",
    "total": 59.98,
    "currency": "GBP",
    "coupon_id": "c1",
    "outcome": "opened",
    "decision_id": "d1",
    "trigger_id": "t1",
    "score": 9,
    "status": "working",
    "granted": True,
    "slot": "home",
}
REQUIRED_NAMES = {"product": ("product_id",), "currency": ("currency",)}
intake = Intake(IntakeOptions(currency=""))


def track(event: str, properties: dict[str, object]) -> bytes:
    call = {"type": "track", "messageId": "m1", "userId": "17850", "event": event, "properties": properties}
    return json.dumps(call).encode()


def test_the_document_has_every_name() -> None:
    assert {name for name, _ in NAMES} == {*commerce.HANDLERS, *messages.HANDLERS}


@pytest.mark.parametrize(("name", "canonical"), NAMES, ids=[name for name, _ in NAMES])
def test_names_map_as_documented(name: str, canonical: str) -> None:
    for spelling in (name, name.lower(), name.upper(), name.replace(" ", "_"), letters(name), f" {name}"):
        read = intake.read(track(spelling, EVERYTHING), ARRIVAL, "clickstream[0]@1")
        assert read.dead is None
        (event,) = read.events
        assert event.__struct_config__.tag == canonical
        assert event.id == "m1"


@pytest.mark.parametrize(("names", "canonical", "fields"), ROWS, ids=[row[0][:40] for row in ROWS])
def test_bold_fields_are_required_and_others_are_not(names: str, canonical: str, fields: str) -> None:
    if "as above" in fields:
        pytest.skip("the row above names the fields")
    required = re.findall(r"\*\*(\w+)\*\*", fields)
    properties = [REQUIRED_NAMES.get(name, (name,))[0] for name in required]
    only = {name: EVERYTHING[name] for name in properties}
    for name in names.split(", "):
        assert intake.read(track(name, only), ARRIVAL, "o").dead is None
        for missing in properties:
            dead = intake.read(track(name, {key: only[key] for key in only if key != missing}), ARRIVAL, "o").dead
            assert dead is not None
            assert dead.field == f"$.properties.{missing}"
            assert dead.remedy


def test_unknown_names_are_kept() -> None:
    read = intake.read(track("Tour Finished", {"step": 3, "deep": {"a": 1}, "email": "jane@example.org"}), ARRIVAL, "o")
    (event,) = read.events
    assert json.loads(json.dumps(event.properties)) == {"step": 3}  # type: ignore[union-attr]  # a Custom
    assert set(read.notes) == {"arrival_time", "unknown_event", "dropped_property", "personal_property"}
