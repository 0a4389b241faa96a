"""Reading the configuration: TOML to checked objects, with errors that name the line and the remedy."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta, Struct

from ..config import EngineConfig, default_models
from ..errors import ConfigError
from ..features import FEATURES
from ..learning.learner import Learner
from ..learning.model import HASHED
from ..learning.trial import trial
from . import conditions
from .campaigns import AUDIENCES, SIGNALS, Campaign, CampaignConfig, Campaigns, Cap, PolicyConfig
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
    except (RecursionError, OverflowError) as error:
        raise ConfigError(name, "values nested too deep, or a number too large", "correct the TOML") from error
    except tomllib.TOMLDecodeError as error:
        line = re.search(r" \(at line (\d+), column \d+\)", str(error))
        where = f"{name}:{line.group(1)}" if line else name
        raise ConfigError(
            where, str(error).partition(" (at ")[0], "correct the TOML; texts need quotes, tables are [name]"
        ) from error
    try:
        file = msgspec.convert(data, File)
    except msgspec.ValidationError as error:
        raise _explain(error, data, text, name) from error
    campaigns = check(file, text, name)
    check_models(file.engine, text, name)
    leads = file.engine.leads
    if leads.again > leads.ready:
        where = f"{name}:{_line(text, ['engine', 'leads', 'again'])}"
        raise ConfigError(where, f"again = {leads.again:g} above ready = {leads.ready:g}", "write again below ready")
    return Settings(file.engine, campaigns)


def check_models(engine: EngineConfig, text: str, name: str) -> None:
    """Check that the configured models exist, read features that exist, can be built, and pass a trial."""
    known = default_models()
    features = {*FEATURES, *HASHED}
    for model, spec in engine.models.items():
        path = ["engine", "models", model]
        if model not in known:
            raise ConfigError(
                f"{name}:{_line(text, path)}", f"unknown model {model!r}", f"use one of: {', '.join(known)}"
            )
        for key, names in (("features", spec.features), ("weights", spec.weights)):
            unknown = [one for one in names if one.partition("=")[0] not in features]
            if unknown:
                where = f"{name}:{_line(text, [*path, key])}"
                raise ConfigError(
                    where, f"unknown feature {unknown[0]!r}", f"use some of: {', '.join(sorted(features))}"
                )
    try:
        Learner(engine.model_specs())
        for model, spec in engine.models.items():
            trial(model, spec)
    except ConfigError as error:
        where = f"{name}:{_line(text, ['engine', 'models', error.where, 'estimator'])}"
        raise ConfigError(where, f"{error.where}: {error.found}", error.remedy) from error


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
        audiences=frozenset(config.id for config in file.campaign if config.topic == AUDIENCES),
    )


def _campaign(config: CampaignConfig, text: str, name: str, index: int) -> Campaign:
    def at(*keys: str | int) -> str:
        return f"{name}:{_line(text, ['campaign', index, *keys])}"

    if config.signal not in SIGNALS:
        raise ConfigError(at("signal"), f"unknown signal {config.signal!r}", f"use one of: {', '.join(SIGNALS)}")
    if isinstance(config.value, str) and config.value not in conditions.FACTS:
        raise ConfigError(
            at("value"), f"value = {config.value!r}", f"write a number or one of: {', '.join(conditions.FACTS)}"
        )
    ids = [action.id for action in config.actions]
    if len(set(ids)) < len(ids):
        raise ConfigError(at("actions"), f"actions {ids}", "give each action of a campaign its own id")
    audience = config.topic == AUDIENCES
    if audience and len(ids) > 1:
        raise ConfigError(
            at("actions"), f"{len(ids)} actions", "give an audience (topic segments) one action: its name"
        )
    return Campaign(
        config=config,
        conditions=tuple(conditions.parse(one, at("when", n)) for n, one in enumerate(config.when)),
        caps=_caps(config.caps),
        expires_ms=duration_ms(config.expires_after),
        max_age_ms=duration_ms(config.max_age),
        window_ms=duration_ms(config.goal.window),
        delay_ms=duration_ms(config.delay) if config.delay is not None else 0,
        stay_ms=duration_ms(config.stay),
        audience=audience,
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


def _explain(error: msgspec.ValidationError, data: dict[str, Any], text: str, name: str) -> ConfigError:
    message, _, path = str(error).partition(" - at `$")
    keys: list[str | int] = [
        int(part[1:-1]) if part.startswith("[") and part[1:-1].isdigit() else part.lstrip(".").strip("[]")
        for part in re.findall(r"\.\w+|\[[^\]]*\]", path)
    ]
    keys = _named(keys, data, error)
    field = re.search(r"`(\w+)`$", message) if "field" in message else None
    named = next((k for k in reversed(keys) if isinstance(k, str) and k != "..."), "file")
    line = _line(text, [*keys, field.group(1)] if field and "unknown" in message else keys)
    remedy = next((text_ for pattern, text_ in _REMEDIES if re.search(pattern, message)), "correct it")
    return ConfigError(f"{name}:{line}", f"{named}: {message}", remedy.format(choices=_choices(keys)))


def _named(keys: list[str | int], data: dict[str, Any], error: msgspec.ValidationError) -> list[str | int]:
    """The path with the names that msgspec leaves out of mappings: the entry is sought that is wrong on its own."""
    named: list[str | int] = []
    for key in keys:
        if key == "...":
            held: Any = data
            for outer in named:
                held = held[outer]
            key = next((name for name in held if _fails(_with(data, named, {name: held[name]}), error)), key)
        named.append(key)
    return named


def _with(data: Any, path: list[str | int], value: Any) -> Any:
    if not path:
        return value
    copy = data.copy()
    copy[path[0]] = _with(data[path[0]], path[1:], value)
    return copy


def _fails(data: Any, error: msgspec.ValidationError) -> bool:
    try:
        msgspec.convert(data, File)
    except msgspec.ValidationError as again:
        return str(again) == str(error)
    return False


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
    """The line of a key, or of the innermost table or value around it that is written down."""
    at = 0  # where the present table or key stands, as an offset
    end = len(text)
    table: list[str] = []
    for n, key in enumerate(path):
        if isinstance(key, int):
            tables = [m.start() for m in _headers(text, table, at, end) if m.group().lstrip().startswith("[[")]
            if key >= len(tables):
                break
            at, end = tables[key], (*tables, end)[key + 1]
            continue
        body = _HEADER.search(text, text.find("\n", at) if table else 0, end)
        own = re.compile(_OWN.format(key=re.escape(key)), re.MULTILINE).search(text, at, body.start() if body else end)
        if own:
            return text.count("\n", 0, _inside(text, own.start("key"), own.end(), path[n + 1 :])) + 1
        table.append(key)
        at = next((m.start() for m in _headers(text, table, at, end)), at)
    return text.count("\n", 0, at) + 1


_HEADER = re.compile(r"^[ \t]*\[{1,2}[ \t]*[\w.\"'-]+[ \t]*\]{1,2}[ \t]*(?:#.*)?$", re.MULTILINE)
_OWN = r"^[ \t]*(?P<key>[\"']?{key}[\"']?)[ \t]*=[ \t]*"
_SPACE = re.compile(r"(?:\s|#[^\n]*)*")
_STRING = re.compile(r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\])*"|\'[^\']*\'', re.DOTALL)


def _headers(text: str, table: list[str], start: int, end: int) -> Iterator[re.Match[str]]:
    name = r"[ \t]*\.[ \t]*".join(rf"[\"']?{re.escape(part)}[\"']?" for part in table)
    return re.compile(rf"^[ \t]*\[{{1,2}}[ \t]*{name}[ \t]*\]", re.MULTILINE).finditer(text, start, end)


def _inside(text: str, at: int, value: int, path: list[Any]) -> int:
    """Where a path leads within the inline value at offset ``value``; ``at`` where it leads nowhere."""
    for key in path:
        parts = list(_parts(text, value)) if text[value : value + 1] in ("[", "{") else []
        if isinstance(key, int) and key < len(parts):
            at = value = parts[key]
            continue
        keys = (re.compile(rf"([\"']?{re.escape(str(key))}[\"']?)\s*=\s*").match(text, part) for part in parts)
        own = next(filter(None, keys), None)
        if own is None:
            break
        at, value = own.start(), own.end()
    return at


def _parts(text: str, start: int) -> Iterator[int]:
    """Where each part of the array or inline table begins that opens at ``start``."""
    depth = 0
    at = start
    while at < len(text):
        char = text[at]
        string = _STRING.match(text, at) if char in "\"'" else None
        if string:
            at = string.end()
            continue
        if char == "#":
            at = max(text.find("\n", at), at)
        depth += (char in "[{") - (char in "]}")
        if not depth:
            return
        at += 1
        if (char in "[{" or char == ",") and depth == 1:
            space = _SPACE.match(text, at)
            at = space.end() if space else at
            yield at
