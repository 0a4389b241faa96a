"""What differs between two runs before the first event: configuration key by key, code, options, input."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from models.policy.campaigns import CampaignConfig

from .run_folder import RunFolder

_UNSET = object()
_LOG = ("exact", "inexact_from", "start", "adopted")
_INPUT = ("records", "events", "first_at", "last_at")
MODE = next(field.default for field in msgspec.structs.fields(CampaignConfig) if field.name == "mode")


class Change(NamedTuple):
    """One setting that differs; ``None`` is shown where a run does not set it.

    >>> str(Change("[policy] consent", '"deny"', None))
    '[policy] consent: "deny" -> not set'
    """

    where: str
    a: str | None
    b: str | None

    def __str__(self) -> str:
        one, other = ("not set" if value is None else value for value in (self.a, self.b))
        return f"{self.where}: {one} -> {other}"


def changes(a: str, b: str) -> list[Change]:
    """The keys in which two configurations differ; campaigns are told apart by their ids, not by their place.

    >>> a = '[[campaign]]\\nid = "c"\\ncaps = [{most = 1, within = "7d"}]'
    >>> [str(change) for change in changes(a, a.replace("7d", "1d"))]
    ['[campaign c] caps: [{"most":1,"within":"7d"}] -> [{"most":1,"within":"1d"}]']
    """
    return [*_changed(_parsed(a), _parsed(b), ())]


def campaigns_of(text: str) -> dict[str, dict[str, Any]]:
    """Each campaign's table in a configuration, with its mode where it says none."""
    return {name: {"mode": MODE, **campaign} for name, campaign in _parsed(text)["campaign"].items()}


def engine_of(text: str) -> str:
    """The engine settings of a configuration, in one order."""
    return msgspec.json.encode(_parsed(text).get("engine", {}), order="sorted").decode()


def input_of(run: RunFolder) -> dict[str, Any]:
    """What tells the input of a run apart, as far as its figures say."""
    given = run.metrics.get("input", {})
    return {name: given.get(name) for name in _INPUT}


def of_runs(a: RunFolder, b: RunFolder) -> list[str]:
    """All that tells two runs apart before the first event, a line each; empty where nothing does."""
    one, other = a.provenance, b.provenance
    said = []
    if one is None or other is None:
        missing = ", ".join(run.name for run in (a, b) if run.provenance is None)
        said.append(f"no run.json in {missing}: written by an older version, so settings and code are not compared")
    else:
        if one.code != other.code:
            said.append(f"code: {one.version} ({one.code}) -> {other.version} ({other.code})")
        said += [f"configuration: {change}" for change in changes(one.configuration, other.configuration)]
        said += [f"option {change}" for change in _changed(one.options, other.options, ())]
    said += [f"input {change}" for change in _changed(input_of(a), input_of(b), ())]
    given, others = ({name: run.metrics.get("log", {}).get(name) for name in _LOG} for run in (a, b))
    said += [f"log {change}" for change in _changed(given, others, ())]
    said += [
        f"{name} is not complete: a file broke off, or it was stopped"
        for name, run in (("A", a), ("B", b))
        if not run.metrics.get("complete", True)
    ]
    said += [
        f"{name} has no suppressed.jsonl, so why it did not decide is not known"
        for name, run in (("A", a), ("B", b))
        if not run.explained
    ]
    return said


def _parsed(text: str) -> dict[str, Any]:
    data = tomllib.loads(text)
    listed = data.get("campaign", [])
    return {**data, "campaign": {str(one.get("id", number)): one for number, one in enumerate(listed)}}


def _changed(a: Any, b: Any, path: tuple[str, ...]) -> Iterator[Change]:
    """Key by key, down into every table; a campaign that only one has is one change."""
    if not _whole(path):
        a, b = (
            ({} if a is _UNSET and isinstance(b, Mapping) else a),
            ({} if b is _UNSET and isinstance(a, Mapping) else b),
        )
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in dict.fromkeys((*a, *b)):
            yield from _changed(a.get(key, _UNSET), b.get(key, _UNSET), (*path, key))
    elif a != b:
        yield Change(_place(path), _shown(a, path), _shown(b, path))


def _place(path: tuple[str, ...]) -> str:
    if path[0] == "campaign" and len(path) > 1:
        table, rest = f"[campaign {path[1]}]", path[2:]
    elif len(path) > 1:
        table, rest = f"[{'.'.join(path[:-1])}]", path[-1:]
    else:
        table, rest = "", path
    return " ".join(part for part in (table, ".".join(rest)) if part)


def _shown(value: Any, path: tuple[str, ...]) -> str | None:
    if value is _UNSET:
        return None
    if _whole(path):
        return "a campaign"
    return msgspec.json.encode(value).decode()


def _whole(path: tuple[str, ...]) -> bool:
    """Whether a path leads to a campaign as a whole."""
    return path[:1] == ("campaign",) and len(path) == 2
