"""What breaks a contract and what does not, from the side of those who read, of those who write, and of both."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from schemas.compatibility import breaks

TEXT, NUMBER, WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}


def contract(actions: tuple[str, ...]) -> dict[str, Any]:
    item = {"type": "object", "properties": {"product": TEXT, "price": {"anyOf": [TEXT, {"type": "null"}]}}}
    payload = {
        "type": "object",
        "properties": {
            "id": TEXT,
            "cost": NUMBER,
            "arm": {"enum": ["held", "sent"]},
            "items": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}},
            "scores": {"type": "object", "additionalProperties": NUMBER},
        },
        "required": ["id"],
    }
    headers = {"type": "object", "properties": {"ce_id": TEXT}, "required": ["ce_id"]}
    message = {"contentType": "application/json", "payload": payload, "headers": headers}
    channel = {"address": "x", "messages": {"m": {"$ref": "#/components/messages/m"}}}
    operations = {action: {"action": action, "channel": {"$ref": "#/channels/x"}} for action in actions}
    return {
        "channels": {"x": channel},
        "operations": operations,
        "components": {"messages": {"m": message}, "schemas": {"Item": item}},
    }


WRITTEN, READ, BOTH = ("send",), ("receive",), ("send", "receive")
Change = Callable[[dict[str, Any]], None]


def fields(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["messages"]["m"]["payload"]["properties"]
    return found


def item(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"]["Item"]["properties"]
    return found


def payload(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["messages"]["m"]["payload"]
    return found


def headers(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["messages"]["m"]["headers"]
    return found


BROKEN: list[tuple[str, Change, dict[tuple[str, ...], list[str]]]] = [
    ("a field gone", lambda d: fields(d).pop("cost"), {side: ["m.cost: gone"] for side in (WRITTEN, READ, BOTH)}),
    (
        "a field of another type",
        lambda d: fields(d).update(id=WHOLE),
        {side: ["m.id: string became integer"] for side in (WRITTEN, READ, BOTH)},
    ),
    ("narrower", lambda d: fields(d).update(cost=WHOLE), {WRITTEN: [], READ: ["m.cost: number became integer"]}),
    ("a field more", lambda d: fields(d).update(more=TEXT), {WRITTEN: [], READ: [], BOTH: []}),
    (
        "a field more, required",
        lambda d: (fields(d).update(more=TEXT), payload(d)["required"].append("more"))[0],
        {WRITTEN: [], READ: ["m.more: required now"], BOTH: ["m.more: required now"]},
    ),
    (
        "no longer always there",
        lambda d: payload(d).update(required=[]),
        {WRITTEN: ["m.id: may be missing now"], READ: [], BOTH: ["m.id: may be missing now"]},
    ),
    (
        "a value more",
        lambda d: fields(d).update(arm={"enum": ["held", "sent", "shadow"]}),
        {WRITTEN: ["m.arm: new values ['shadow'], unknown to those who read it"], READ: []},
    ),
    (
        "a value less",
        lambda d: fields(d).update(arm={"enum": ["sent"]}),
        {WRITTEN: [], READ: ["m.arm: values ['held'] gone"]},
    ),
    ("no list of values", lambda d: fields(d).update(arm=TEXT), {READ: [], WRITTEN: ["m.arm: any value instead of ['held', 'sent']"]}),
    ("deep within a list", lambda d: item(d).pop("product"), {WRITTEN: ["m.items[].product: gone"]}),
    (
        "of a map's values",
        lambda d: fields(d).update(scores={"type": "object", "additionalProperties": TEXT}),
        {WRITTEN: ["m.scores[]: number became string"]},
    ),
    (
        "one alternative less",
        lambda d: item(d).update(price=TEXT),
        {WRITTEN: [], READ: ["m.items[].price: null or string became string"]},
    ),
    (
        "one alternative more",
        lambda d: item(d).update(price={"anyOf": [TEXT, NUMBER, {"type": "null"}]}),
        {READ: [], WRITTEN: ["m.items[].price: null or string became null or number or string"]},
    ),
    ("a header gone", lambda d: headers(d)["properties"].pop("ce_id"), {WRITTEN: ["m (headers).ce_id: gone"]}),
    ("no headers", lambda d: d["components"]["messages"]["m"].pop("headers"), {WRITTEN: ["m (headers).ce_id: gone"]}),
    ("a message gone", lambda d: d["channels"]["x"]["messages"].clear(), {WRITTEN: ["m: gone"], READ: ["m: gone"]}),
    (
        "another format",
        lambda d: d["components"]["messages"]["m"].update(contentType="application/avro"),
        {WRITTEN: ["m: application/json became application/avro"]},
    ),
    ("another topic", lambda d: d["channels"]["x"].update(address="y"), {WRITTEN: ["x became y"]}),
    ("described otherwise", lambda d: fields(d).update(id={**TEXT, "description": "who"}), {BOTH: []}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "actions", "said"),
    [(change, actions, said) for _, change, cases in BROKEN for actions, said in cases.items()],
    ids=[f"{name}: {'+'.join(actions)}" for name, _, cases in BROKEN for actions in cases],
)
def test_what_breaks_is_said(change: Change, actions: tuple[str, ...], said: list[str]) -> None:
    before = contract(actions)
    after = copy.deepcopy(before)
    change(after)
    assert breaks(before, after) == [f"x: {line}" for line in said]


def test_a_topic_that_is_gone_breaks_all() -> None:
    before = contract(WRITTEN)
    assert breaks(before, {**before, "channels": {}}) == ["x: gone"]


def test_what_holds_itself_may_be_compared() -> None:
    before = contract(BOTH)
    item(before)["parts"] = {"type": "array", "items": {"$ref": "#/components/schemas/Item"}}
    after = copy.deepcopy(before)
    assert breaks(before, after) == []
    item(after)["product"] = WHOLE
    assert breaks(before, after) == ["x: m.items[].product: string became integer"]
