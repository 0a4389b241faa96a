"""Why a decision is not in the other run, or is another one there: a reason to count, and words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from schemas.decisions import Decision, Suppressed

from .difference import Side, Sides, began, same_set
from .matching import Pair
from .stopped import Rows, span, stopped

Fields = Mapping[str, tuple[Any, Any]]


class Why(NamedTuple):
    """A reason, the same in words, and the suppression that it was read from."""

    reason: str
    words: str
    row: Suppressed | None = None


def missing(decision: Decision, rows: Rows, sides: Sides, side: Side) -> Why:
    """Why the run ``side`` has not made a decision that the other one has."""
    campaign = decision.campaign
    row = rows.of(decision) or rows.last(decision)
    if row is None and side.campaigns is not None:
        if campaign not in side.campaigns:
            return Why("absent", f"{side.name} has no such campaign")
        if side.set_of(campaign, "mode") == "off":
            return Why("off", f"the campaign is off in {side.name}")
    if decision.membership == "left":
        return Why("membership", f"in {side.name} the customer was not in the audience, or stayed")
    row = row or rows.near(decision)
    if row is not None:
        last = rows.last(decision) if row.until else None
        if last is not None and last is not row:
            return Why(last.reason, f"in {side.name} {stopped(row)}, then {stopped(last)}", last)
        return Why(row.reason, f"in {side.name} {stopped(row)}{_was(row, decision)}", row)
    listens = side.set_of(campaign, "signal")
    if listens is not None and listens != decision.signal:
        return Why("signal", f"in {side.name} the campaign listens to {listens}, not to {decision.signal}")
    if not same_set(sides, campaign, "delay"):
        delay = side.set_of(campaign, "delay") or "no time"
        return Why("wait", f"in {side.name} it waits {delay}: not over by the end, or an earlier wait came first")
    if not side.explained:
        return Why("unknown", f"{side.name} wrote nothing of what it suppressed")
    return Why("signal", f"{decision.signal} did not arise in {side.name}")


def _was(row: Suppressed, decision: Decision) -> str:
    """What the condition's fact was where the decision was made."""
    if row.reason != "condition":
        return ""
    fact = row.rule.partition(" ")[0]
    value = next((one.value for one in decision.reasons if one.feature == fact), decision.scores.get(fact))
    return "" if value is None or value == row.value else f" (it was {value:.4g} where it was decided)"


def moved(pair: Pair, told: tuple[Rows, Rows], sides: Sides) -> Why:
    """Why a decision stands at another time, or rests on another event."""
    a, b = pair
    assert a is not None
    assert b is not None
    by = b.issued_at - a.issued_at
    how = f"{span(abs(by))} {'later' if by > 0 else 'earlier'} in B" if by else "at the same time, from another event"
    if a.membership == "left":
        if a.signal != b.signal:
            return Why("stay", f"{how}: {_left(a)} in A, {_left(b)} in B")
        stays = [side.set_of(a.campaign, "stay") for side in sides]
        return Why("stay", f"{how}: {_left(a)}{f' (stay {stays[0]} -> {stays[1]})' if stays[0] != stays[1] else ''}")
    for decision, rows, side in ((a, told[1], sides[1]), (b, told[0], sides[0])):
        row = rows.of(decision)
        if row is not None:
            return Why(row.reason, f"{how}: in {side.name} {stopped(row)}", row)
    if began(a) == began(b) and by:
        waits = [span(one.issued_at - began(one)) if one.issued_at > began(one) else "none" for one in (a, b)]
        return Why("wait", f"{how}: the same {a.signal}, wait {waits[0]} -> {waits[1]}")
    arose = "arose at another time" if by else "gave rise to another event"
    return Why("time" if by else "source", f"{how}: {a.signal} {arose}")


def _left(decision: Decision) -> str:
    words = {
        "over": "the stay was over",
        "ordered": "the customer ordered",
        "consent": "consent was withdrawn",
        "linked": "the device became its user",
        "erased": "the customer was erased",
    }
    return words.get(decision.signal, decision.signal)


def changed(pair: Pair, fields: Fields, told: tuple[Rows, Rows], sides: Sides) -> Why:
    """Why the same decision has other contents; the fields in words, without those that say which model."""
    a, b = pair
    assert a is not None
    assert b is not None
    shown = ", ".join(
        _field(name, values) + (_arm(a, b, sides) if name == "arm" else "")
        for name, values in fields.items()
        if not name.startswith("models.")
    )
    first = next(iter(fields)).partition(".")[0]
    if "action.id" in fields:
        for decision, rows, side in ((a, told[1], sides[1]), (b, told[0], sides[0])):
            row = rows.of(decision, decision.action.id)
            if row is not None:
                return Why(row.reason, f"{shown}: in {side.name} {decision.action.id} {stopped(row)}", row)
        if any(option.campaign == a.campaign and option.action == a.action.id for option in b.eligible):
            return Why("gain", f"{shown}: ranked higher in B")
        return Why("action", shown)
    if "mixed_history" in fields.get("flag", ()):
        return Why("flag", f"{shown} (what a device was sent before it became this customer)")
    if first == "scores":
        labels = [values for name, values in fields.items() if name.startswith("models.")]
        models = f" (models: {', '.join(f'{_version(x)} -> {_version(y)}' for x, y in dict.fromkeys(labels))})"
        return Why("models" if labels else "scores", f"{shown}{models if labels else ''}")
    return Why({"issued_at": "time", "expires_at": "expiry"}.get(first, first), shown)


def _arm(a: Decision, b: Decision, sides: Sides) -> str:
    """The setting that gave the decision another arm."""
    modes = [side.set_of(a.campaign, "mode") for side in sides]
    if modes[0] != modes[1]:
        return f" (mode {modes[0]} -> {modes[1]})"
    for name in ("holdout", "global_holdout"):
        one, other = getattr(a, name), getattr(b, name)
        if one != other:
            return f" ({name} {one:g} -> {other:g})"
    return ""


def _version(version: int | None) -> str:
    if version is None:
        return "none"
    return "rule" if version < 0 else f"{version:,} labels"


def _field(name: str, values: tuple[Any, Any]) -> str:
    if name.endswith("_at"):
        by = values[1] - values[0]
        return f"{name} {span(abs(by))} {'later' if by > 0 else 'earlier'}"
    one, other = map(_shown, values)
    return f"{name} {one} -> {other}"


def _shown(value: Any) -> str:
    if value is None or value in ("", ()):
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
