"""Reading the configuration: TOML to checked objects, with errors that name the line and the remedy."""

from __future__ import annotations

import re
import tomllib
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta, Struct

from ..config import EngineConfig
from ..errors import ConfigError
from ..learning.learner import Learner
from . import conditions
from .campaigns import SIGNALS, Campaign, CampaignConfig, Campaigns, Cap, PolicyConfig
from .durations import duration_ms

Setting = tuple[tuple[int, int], ...]


class File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file: the engine's settings, the policy, and the campaigns."""

    engine: EngineConfig = EngineConfig()
    policy: PolicyConfig = PolicyConfig()
    campaign: Annotated[tuple[CampaignConfig, ...], Meta(max_length=1000)] = ()


class Settings(Struct, frozen=True):
    """What a run is configured with."""

    engine: EngineConfig = EngineConfig()
    campaigns: Campaigns = Campaigns()


def read(text: str, name: str = "campaigns.toml") -> Settings:
    """Parse and check a configuration file.

    Parameters
    ----------
    text
        The file's text.
    name
        The file's name, for error messages.

    Raises
    ------
    ConfigError
        With line, what was found, and what to write instead.

    >>> read("[policy]\\nconsent = 'maybe'\\n")
    Traceback (most recent call last):
    ...
    models.errors.ConfigError: campaigns.toml:2: consent: Invalid enum value 'maybe'; use one of: "allow", "deny"
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(name, str(error), "correct the TOML; texts need quotes, tables are [name]") from error
    try:
        file = msgspec.convert(data, File)
    except msgspec.ValidationError as error:
        raise _explain(error, text, name) from error
    campaigns = check(file, text, name)
    Learner(file.engine.model_specs())
    return Settings(file.engine, campaigns)


def check(file: File, text: str, name: str) -> Campaigns:
    """Check what one field alone cannot tell: references, zones, duplicates."""
    _zone(file.policy.timezone, f"{name}:{_line(text, ['policy', 'timezone'])}")
    seen: dict[str, int] = {}
    by_signal: dict[str, list[Campaign]] = {}
    for index, config in enumerate(file.campaign):
        at = f"{name}:{_line(text, ['campaign', index, 'id'])}"
        if config.id in seen:
            raise ConfigError(at, f"id {config.id!r} again", f"give it another id: line {seen[config.id]} has this one")
        seen[config.id] = _line(text, ["campaign", index, "id"])
        by_signal.setdefault(config.signal, []).append(_campaign(config, text, name, index))
    return Campaigns(
        policy=file.policy,
        by_signal={signal: tuple(found) for signal, found in by_signal.items()},
        customer_caps=_caps(file.policy.customer_caps),
        channel_caps={channel: _caps(caps) for channel, caps in file.policy.channel_caps.items()},
    )


def _campaign(config: CampaignConfig, text: str, name: str, index: int) -> Campaign:
    def at(key: str) -> str:
        return f"{name}:{_line(text, ['campaign', index, key])}"

    if config.signal not in SIGNALS:
        raise ConfigError(at("signal"), f"unknown signal {config.signal!r}", f"use one of: {', '.join(SIGNALS)}")
    if isinstance(config.value, str) and config.value not in conditions.FACTS:
        raise ConfigError(
            at("value"), f"value = {config.value!r}", f"write a number or one of: {', '.join(conditions.FACTS)}"
        )
    ids = [action.id for action in config.actions]
    if len(set(ids)) < len(ids):
        raise ConfigError(at("actions"), f"actions {ids}", "give each action of a campaign its own id")
    return Campaign(
        config=config,
        conditions=tuple(conditions.parse(one, at("when")) for one in config.when),
        caps=_caps(config.caps),
        expires_ms=duration_ms(config.expires_after),
        max_age_ms=duration_ms(config.max_age),
        window_ms=duration_ms(config.goal.window),
    )


def _caps(caps: tuple[Cap, ...]) -> Setting:
    return tuple((cap.most, duration_ms(cap.within)) for cap in caps)


def _zone(zone: str, where: str) -> None:
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError) as error:
        raise ConfigError(where, f"timezone {zone!r}", "write an IANA name such as Europe/London") from error


_REMEDIES = (
    (r"unknown field `(\w+)`", "remove it or correct its spelling; docs/campaigns.md lists all fields"),
    (r"missing required field `(\w+)`", "add it"),
    (r"Invalid enum value", "use one of: {choices}"),
    (r"matching regex", "see docs/campaigns.md for its form (durations: 90m, 36h, 7d; times: 21:00)"),
    (r"Expected", "write a value of that type and range"),
)


def _explain(error: msgspec.ValidationError, text: str, name: str) -> ConfigError:
    message, _, path = str(error).partition(" - at `$")
    keys: list[str | int] = [
        int(part[1:-1]) if part.startswith("[") and part[1:-1].isdigit() else part.lstrip(".").strip("[]")
        for part in re.findall(r"\.\w+|\[[^\]]*\]", path)
    ]
    field = re.search(r"`(\w+)`$", message) if "field" in message else None
    named = next((k for k in reversed(keys) if isinstance(k, str) and k != "..."), "file")
    line = _line(text, [*keys, field.group(1)] if field and "unknown" in message else keys)
    remedy = next((text_ for pattern, text_ in _REMEDIES if re.search(pattern, message)), "correct it")
    return ConfigError(f"{name}:{line}", f"{named}: {message}", remedy.format(choices=_choices(keys)))


def _choices(keys: list[str | int]) -> str:
    """The literal values allowed at a path."""
    schema: Any = msgspec.json.schema(File)
    defs = schema.get("$defs", {})
    node: Any = schema
    for key in keys:
        while "$ref" in node:
            node = defs[node["$ref"].rpartition("/")[2]]
        if "anyOf" in node:
            node = next((n for n in node["anyOf"] if n.get("type") != "null"), {})
            while "$ref" in node:
                node = defs[node["$ref"].rpartition("/")[2]]
        node = node.get("items", {}) if isinstance(key, int) else node.get("properties", {}).get(key, {})
    return ", ".join(f'"{choice}"' for choice in node.get("enum", []))


def _line(text: str, path: list[Any]) -> int:
    """The line of a key: the n-th table of its name, then the key within it; the table's own line where it is not there."""
    lines = text.splitlines()
    at = 0
    table: list[str] = []
    for key in path:
        if isinstance(key, int):
            header = re.compile(rf"^\s*\[\[\s*{re.escape('.'.join(table))}\s*\]\]")
            found = [i for i, line in enumerate(lines) if header.match(line) and i >= at]
            at = found[key] if key < len(found) else at
        else:
            here = re.compile(rf"^\s*\[+\s*{re.escape('.'.join([*table, key]))}\s*\]+")
            own = re.compile(rf"(^|[{{,])\s*[\"']?{re.escape(key)}[\"']?\s*=")
            for i in range(at, len(lines)):
                if here.match(lines[i]) or own.search(lines[i].partition("#")[0]):
                    at = i
                    break
                if i > at and table and re.match(rf"^\s*\[\[\s*{re.escape(table[0])}\s*\]\]", lines[i]):
                    break
            table.append(key)
    return at + 1
