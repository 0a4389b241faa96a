"""Writes the reference pages from the code while the site is built, so that they cannot go stale."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

from models.config import ChurnConfig, EngagementConfig, EngineConfig, FunnelConfig, LeadsConfig
from models.learning.model import ModelSpec
from models.learning.registry import EstimatorSpec
from models.policy.campaigns import ActionConfig, CampaignConfig, Cap, Goal, PolicyConfig, QuietHours
from schemas.export import parameters
from schemas.money import ExchangeTable
from streams.cli import app

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "[policy]": PolicyConfig,
    "policy.quiet_hours": QuietHours,
    "customer_caps, channel_caps, caps": Cap,
    "[engine]": EngineConfig,
    "[engine.money]": ExchangeTable,
    "[engine.churn]": ChurnConfig,
    "[engine.funnel]": FunnelConfig,
    "[engine.engagement]": EngagementConfig,
    "[engine.leads]": LeadsConfig,
    "[engine.models.NAME]": ModelSpec,
    "estimator": EstimatorSpec,
    "[[campaign]]": CampaignConfig,
    "campaign.goal": Goal,
    "campaign.actions": ActionConfig,
}
INTRODUCTION = """# Configuration

Every key of a campaigns file, with type, bounds and default, as the code has them. What campaigns are for and how they are chosen: [campaigns](../campaigns.md).
Addresses and log-in come from the environment: [operations](../operations.md#where-broker-and-store-are). `rapport validate FILE` names line and remedy of what is wrong.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    files.append(File.generated(config, "reference/command-line.md", content=command_line()))
    files.append(File.generated(config, "reference/configuration.md", content=configuration()))
    return files


def command_line() -> str:
    """All commands and their options, from the program itself."""
    command = typer.main.get_command(app)
    return get_docs_for_click(obj=command, ctx=typer.Context(command), name="rapport", title="Command line") + "\n"


def configuration() -> str:
    """All keys of a campaigns file, from the structs that read it."""
    parts = [INTRODUCTION]
    for section, struct in SECTIONS.items():
        text = inspect.getdoc(struct) or ""
        parts.append(f"## `{section}`\n\n{text.partition(chr(10) + chr(10))[0]}\n")
        said = {name: meaning.replace("``", "`") for name, meaning in parameters(text).items()}
        rows = [
            f"| `{field.name}` | {kind(field.type)} | {default(field)} | {said.get(field.name, '')} |"
            for field in msgspec.structs.fields(struct)
        ]
        parts.append("| key | type | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def kind(annotation: Any) -> str:
    """A type in words, with its bounds."""
    schema = msgspec.json.schema(annotation)
    return _words(schema, schema.get("$defs", {}))


def _words(schema: dict[str, Any], defined: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return {"EstimatorSpec": "table `estimator`", "Cap": "`{most, within}`"}.get(name, "table")
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_words(one, defined) for one in schema["anyOf"] if one.get("type") != "null"))
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    said = {"number": "number", "integer": "whole number", "string": "text", "boolean": "`true`, `false`"}
    match schema.get("type"):
        case "array":
            return f"list of {_words(schema['items'], defined)}" if isinstance(schema.get("items"), dict) else "list"
        case "object":
            inner = schema.get("additionalProperties")
            return f"table: {_words(inner, defined)}" if isinstance(inner, dict) else "table"
        case other:
            bounds = [
                f"{sign} {schema[key]:g}"
                for key, sign in (
                    ("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"),
                )
                if key in schema
            ]  # fmt: skip
            if "pattern" in schema and "smhd" in schema["pattern"]:
                return "duration"
            return " ".join([said.get(str(other), "any"), *bounds])


def default(field: msgspec.structs.FieldInfo) -> str:
    """What holds where the key is left out."""
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, msgspec.Struct):
        return ""
    if value in ((), {}, None, ""):
        return "none"
    return f"`{msgspec.json.encode(value).decode()}`"
