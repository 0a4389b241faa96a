"""The AsyncAPI 3 document of an installation: every topic, what is in it, how it is kept; made from the schemas.

https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, get_args

import msgspec
from msgspec import Struct

from schemas.canonical import outside_types
from schemas.codec import encode_decision
from schemas.dead_letters import DeadLetter
from schemas.decisions import Action, Conversion, Decision, Reason, Suppressed
from schemas.decisions import Topic as TriggerTopic
from schemas.export import components, event_types
from schemas.forms import FORMS, from_outside
from schemas.routing import raw_topic

from .emitting import decided
from .topic_plan import DEAD_LETTERS, DECISIONS, EVENTS, LEARNING, OUTBOUND, Topic, TopicPlan

JSON = "application/json"
_SCHEMA = "#/components/schemas/"
_ABOUT = {
    "clickstream": "Visits, products looked at, searches, accounts, leads, consent; and whatever fits no other raw topic.",
    "transactions": "Carts, checkouts, orders, coupons, subscriptions.",
    "feedback": "Reviews, survey answers, messages of customers.",
    "outcomes": "What became of triggers, as messaging services report it.",
    EVENTS: "The log: canonical events by customer, and the engine's own records. Internal.",
    LEARNING: "Labelled examples by model. Internal; its format may change with any version.",
    DEAD_LETTERS: "Records that were refused: where they lie, and why; never their content.",
    DECISIONS: "Every decision, held out and shadow ones too, and goals reached.",
    "offers": "Triggers of campaigns with an offer.",
    "nudges": "Triggers of reminders and of retention.",
    "recommendations": "Triggers with products to recommend.",
    "leads": "Leads that are ready for sales.",
    "replies": "Triggers that answer a customer's message.",
    "segments": "Who entered an audience and who left it; to be applied in order.",
}
_KEYS = {
    "raw": "The sender's choice, the customer's id by preference: records of one key stay in order",
    EVENTS: "The customer",
    LEARNING: "The model",
    DEAD_LETTERS: "The origin",
    "outbound": "The customer: a customer's triggers stay in order",
}
_INFO = """\
Customers' events come in on the raw topics, decisions go out on the others. Triggers are CloudEvents in binary mode \
(https://github.com/cloudevents/spec, Kafka protocol binding): their attributes are headers, the body is JSON.

Read with isolation.level=read_committed, and pass over what has a ce_id that was seen: where the broker has no transactions a trigger may come \
twice, with the same id and bytes. Fields may be added at any time: pass over those that you do not know. Fields at their defaults are left out."""


def document(plan: TopicPlan | None = None) -> dict[str, Any]:
    """The document of the topics of a plan, by default of an installation without a prefix.

    >>> made = document()
    >>> made["asyncapi"], made["channels"]["nudges"]["messages"]
    ('3.0.0', {'trigger': {'$ref': '#/components/messages/trigger'}})
    """
    plan = plan or TopicPlan()
    names = {topic.name.removeprefix(plan.prefix): topic for topic in plan.all()}
    made = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Rapport",
            "version": version("rapport"),
            "description": _INFO,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": JSON,
        "channels": {name: _channel(name, topic) for name, topic in names.items()},
        "operations": {
            f"{action}.{name}": {
                "action": action,
                "channel": {"$ref": f"#/channels/{name}"},
                "summary": f"Rapport {'reads' if action == 'receive' else 'writes'} {name}.",
            }
            for name, topic in names.items()
            for action in _actions(topic)
        },
        "components": {"messages": _messages(), "schemas": _schemas()},
    }
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made))  # what JSON makes of tuples
    return plain


def _actions(topic: Topic) -> tuple[str, ...]:
    return {"raw": ("receive",), "outbound": ("send",), "internal": ("send", "receive")}[topic.role]


def _channel(name: str, topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": _ABOUT[name],
        "messages": {message: {"$ref": f"#/components/messages/{message}"} for message in _carried(name, topic)},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "topicConfiguration": {"cleanup.policy": [topic.cleanup], "retention.ms": topic.retention_ms},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _carried(name: str, topic: Topic) -> Iterable[str]:
    """The messages of a topic."""
    if topic.role == "raw":
        return [*FORMS, *(tag + "_raw" for tag in outside_types() if raw_topic(tag) == name)]
    if name == EVENTS:
        return event_types()
    if name == LEARNING:
        return ["example"]
    if name == DEAD_LETTERS:
        return ["dead_letter"]
    return ["decision", "conversion"] if name == DECISIONS else ["trigger"]


def _messages() -> dict[str, Any]:
    structs = event_types()
    raw = {tag: structs[tag] for tag in outside_types()}
    return {
        **{name: _message(schema["title"], schema["description"], name, "raw") for name, schema in FORMS.items()},
        **{f"{tag}_raw": _message(struct.__name__ + "Raw", _about(struct), tag, "raw") for tag, struct in raw.items()},
        **{tag: _message(struct.__name__, _about(struct), tag, EVENTS) for tag, struct in structs.items()},
        "trigger": {
            **_message("Decision", "A decision to act, for whoever acts on it.", "trigger", "outbound", "trigger"),
            "examples": [_example()],
        },
        "decision": _message("Decision", _about(Decision), "decision", "outbound", "decision"),
        "conversion": _message("Conversion", _about(Conversion), "conversion", "outbound", "conversion"),
        "dead_letter": _message("DeadLetter", _about(DeadLetter), "dead letter", DEAD_LETTERS, "dead-letter"),
        "example": {
            "name": "example",
            "title": "example",
            "summary": "A prediction with its label.",
            "contentType": "application/msgpack",
            "payload": {"type": "array"},
            "bindings": _key(LEARNING),
        },
    }


def _message(schema: str, summary: str, name: str, keyed: str, event: str = "") -> dict[str, Any]:
    headers = {"headers": {"$ref": f"{_SCHEMA}headers.{event}"}} if event else {}
    return {
        "name": name,
        "title": name.replace("_", " "),
        "summary": summary,
        "contentType": JSON,
        **headers,
        "payload": {"$ref": _SCHEMA + schema},
        "bindings": _key(keyed),
    }


def _example() -> dict[str, Any]:
    """A trigger as it is on its topic."""
    decision = Decision(
        id="3f0c9a4be21d47d2",
        customer="u:17850",
        campaign="cart-abandonment",
        topic="nudges",
        action=Action(id="reminder", channel="email", creative="cart-reminder", cost=0.01, items=("T-100",)),
        arm="treated",
        issued_at=1_772_442_000_000,
        expires_at=1_772_614_800_000,
        source="a-7",
        signal="cart_left",
        effect=0.05,
        gain=2.54,
        scores={"contact": 0.31},
        reasons=(Reason(feature="cart_value", value=51.0, text="cart_value is 51 (>= 20)"),),
    )
    headers = {name: value.decode() for name, value in decided(decision, "rapport/rapport")}
    return {"name": "A cart was left", "headers": headers, "payload": msgspec.json.decode(encode_decision(decision))}


def _key(keyed: str) -> dict[str, Any]:
    return {"kafka": {"key": {"type": "string", "description": _KEYS[keyed]}, "bindingVersion": "0.5.0"}}


def _about(struct: type[Struct]) -> str:
    return " ".join((struct.__doc__ or "").split("\n\n", 1)[0].split())


def _schemas() -> dict[str, Any]:
    structs = event_types()
    found = components([*structs.values(), Decision, Conversion, Suppressed, DeadLetter], _SCHEMA + "{name}")
    raw = {f"{structs[tag].__name__}Raw": from_outside(found[structs[tag].__name__]) for tag in outside_types()}
    forms = {schema["title"]: schema for schema in FORMS.values()}
    topics = sorted(get_args(TriggerTopic))
    assert set(topics) == set(OUTBOUND) - {DECISIONS}
    kinds = {
        "trigger": [f"rapport.trigger.{topic}" for topic in topics],
        "decision": [f"rapport.{kind}.{topic}" for kind in ("decision", "trigger") for topic in topics],
        "conversion": ["rapport.conversion"],
        "dead-letter": ["rapport.dead-letter"],
    }
    headers = {f"headers.{name}": _headers(types) for name, types in kinds.items()}
    return {**headers, **forms, **raw, **{name: schema for name, schema in found.items() if name != "Suppressed"}}


def _headers(types: list[str]) -> dict[str, Any]:
    return {
        "description": "A CloudEvent's attributes, each value a text in UTF-8.",
        "type": "object",
        "properties": {
            "ce_specversion": {"enum": ["1.0"]},
            "ce_id": {"type": "string", "description": "What is sent again has the same"},
            "ce_type": {"enum": types},
            "ce_source": {"type": "string", "description": "Who decided: rapport/ and the installation's name"},
            "ce_time": {"type": "string", "format": "date-time"},
            "content-type": {"enum": [JSON]},
        },
        "required": ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "content-type"],
    }
