"""How the decisions about one customer differ between two runs, and why: pure, from records to differences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import asdict, replace

from models.policy.durations import duration_text
from models.policy.waiting import DEFER
from schemas.base import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from schemas.decisions import Arm, Decision, Suppressed

Kind = Literal["gone", "new", "moved", "changed"]
TOLERANCE = 0.01
NEAR_MS = DAY_MS
SIGNAL_NEAR_MS = 3 * HOUR_MS
"""A timer that was set anew arises as another event; within this it is taken for the same."""
CAPS = ("cap_campaign", "cap_channel", "cap_customer")
_PLAIN = ("arm", "topic", "issued_at", "expires_at", "flag", "membership")
_NUMBERS = ("effect", "gain", "propensity")


class Difference(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision that two runs, A and B, do not share.

    Parameters
    ----------
    kind
        ``gone``: only in A. ``new``: only in B. ``moved``: the same campaign within a day, from another event.
        ``changed``: the same decision, or one of the same moment, with other contents.
    id, id_b
        The decision's in A, or in B where it is new; and in B where another id stands for it there.
    at
        When it was made, milliseconds UTC: in A; in B where it is new.
    arm_a, arm_b
        Its arm in each run; empty where it is not there. ``treated`` is a trigger.
    reason
        What the other run did instead: the reason of its suppression; ``signal``: what the campaign acts on did not
        arise; ``absent``, ``off``: the other run's configuration has no such campaign, or it is off; ``unknown``: it wrote
        nothing of what it suppressed. For a changed decision, the first field that differs.
    why
        The same in words.
    fields
        For a decision that is in both: field -> its value in A and in B.
    follows
        Id of the earlier difference of this customer that led to this one; empty for a cause of its own.
    """

    kind: Kind
    customer: str
    campaign: str
    id: str
    at: int
    arm_a: Arm | Literal[""] = ""
    arm_b: Arm | Literal[""] = ""
    reason: str
    why: str
    id_b: str = ""
    fields: Mapping[str, tuple[Any, Any]] = {}
    follows: str = ""

    @property
    def trigger(self) -> bool:
        """Whether a trigger is concerned: something that went out in one of the runs, or would have."""
        return "treated" in (self.arm_a, self.arm_b)


class Told(NamedTuple):
    """What one run says of one customer."""

    decisions: list[Decision]
    suppressed: list[Suppressed]


class Side(NamedTuple):
    """What is known of a run as a whole.

    Parameters
    ----------
    name
        ``A`` or ``B``.
    modes
        Campaign -> mode, as configured; None where the run does not say.
    explained
        Whether it wrote down what it suppressed.
    engine
        What tells its engine apart: code and settings.
    """

    name: str
    modes: Mapping[str, str] | None = None
    explained: bool = True
    engine: str = ""


class _Pair(NamedTuple):
    a: Decision | None
    b: Decision | None


class _Why(NamedTuple):
    reason: str
    words: str
    row: Suppressed | None = None


class _Found(NamedTuple):
    difference: Difference
    row: Suppressed | None


def differences(
    a: Told, b: Told, sides: tuple[Side, Side], tolerance: float = TOLERANCE, near_ms: int = NEAR_MS
) -> list[Difference]:
    """All differences of one customer, in order of time.

    Decisions are matched by their stable id, what is left by campaign and the nearest time.

    Parameters
    ----------
    tolerance
        Numbers differ where they are further apart than this; those over 1, than this share of the larger.
    near_ms
        How far a decision may have moved, milliseconds.

    >>> differences(Told([], []), Told([], []), (Side("A"), Side("B")))
    []
    """
    told = (_Rows(a.suppressed), _Rows(b.suppressed))
    found: list[_Found] = []
    for pair in _matched(a.decisions, b.decisions, near_ms):
        fields = _fields(pair.a, pair.b, tolerance) if pair.a and pair.b else {}
        if fields or pair.a is None or pair.b is None or pair.a.id != pair.b.id:
            found.append(_difference(pair, fields, told, sides))
    found.sort(key=lambda one: (one.difference.at, one.difference.campaign, one.difference.id))
    return _followed(found, sides[0].engine == sides[1].engine)


class _Rows:
    """Suppressions of a customer, to be found by the moment or near it."""

    def __init__(self, suppressed: Iterable[Suppressed]) -> None:
        self.moments: dict[tuple[str, str], list[Suppressed]] = defaultdict(list)
        self._by_campaign: dict[str, list[Suppressed]] = defaultdict(list)
        for one in suppressed:
            self.moments[one.campaign, one.source].append(one)
            if not one.action:
                self._by_campaign[one.campaign].append(one)

    def of(self, decision: Decision, action: str = "") -> Suppressed | None:
        """What stopped this very decision, or one action of its campaign at that moment."""
        rows = self.moments.get((decision.campaign, decision.source), ())
        return next((one for one in rows if one.action == action), None)

    def before(self, decision: Decision) -> Suppressed | None:
        """What stopped it at the moment from which the other run deferred it."""
        _, deferred, started = decision.source.rpartition("|")[0].rpartition(f"|{DEFER}{decision.campaign}@")
        rows = self._by_campaign.get(decision.campaign, ()) if deferred and started.isdecimal() else ()
        return next((one for one in rows if one.at == int(started)), None)

    def near(self, decision: Decision) -> Suppressed | None:
        """What stopped the same campaign within a timer's reach of that time: the event may be another one."""
        rows = self._by_campaign.get(decision.campaign, ())
        best = min(rows, key=lambda one: abs(one.at - decision.issued_at), default=None)
        return best if best and abs(best.at - decision.issued_at) <= SIGNAL_NEAR_MS else None


def _matched(a: Sequence[Decision], b: Sequence[Decision], near_ms: int) -> list[_Pair]:
    there = {one.id: one for one in b}
    pairs = [_Pair(one, there[one.id]) for one in a if one.id in there]
    both = {pair.a.id for pair in pairs if pair.a}
    left = [one for one in a if one.id not in both]
    right = [one for one in b if one.id not in both]
    near = sorted(
        (abs(x.issued_at - y.issued_at), x.id, y.id)
        for x in left
        for y in right
        if (x.campaign, x.membership) == (y.campaign, y.membership) and abs(x.issued_at - y.issued_at) <= near_ms
    )
    of_a, of_b = {one.id: one for one in left}, {one.id: one for one in right}
    for _, x_id, y_id in near:
        if x_id in of_a and y_id in of_b:
            pairs.append(_Pair(of_a.pop(x_id), of_b.pop(y_id)))
    return [*pairs, *(_Pair(one, None) for one in of_a.values()), *(_Pair(None, one) for one in of_b.values())]


def _fields(a: Decision, b: Decision, tolerance: float) -> dict[str, tuple[Any, Any]]:
    """What differs in a decision, the most telling first."""
    fields: dict[str, tuple[Any, Any]] = {}
    if a.action != b.action:
        acts, others = asdict(a.action), asdict(b.action)
        fields |= {f"action.{name}": (acts[name], others[name]) for name in acts if acts[name] != others[name]}
    fields |= {name: (getattr(a, name), getattr(b, name)) for name in _PLAIN if getattr(a, name) != getattr(b, name)}
    for name in _NUMBERS:
        if _apart(getattr(a, name), getattr(b, name), tolerance):
            fields[name] = (getattr(a, name), getattr(b, name))
    for name in dict.fromkeys((*a.scores, *b.scores)):
        one, other = a.scores.get(name), b.scores.get(name)
        if one is None or other is None or _apart(one, other, tolerance):
            fields[f"scores.{name}"] = (one, other)
            if a.models.get(name) != b.models.get(name):
                fields[f"models.{name}"] = (a.models.get(name), b.models.get(name))
    return fields


def _apart(a: float, b: float, tolerance: float) -> bool:
    return abs(a - b) > tolerance * max(1.0, abs(a), abs(b))


def _difference(
    pair: _Pair, fields: Mapping[str, tuple[Any, Any]], told: tuple[_Rows, _Rows], sides: tuple[Side, Side]
) -> _Found:
    a, b = pair
    kind: Kind
    if a and b:
        kind = "changed" if a.issued_at == b.issued_at else "moved"
        why = _changed(a, b, fields, told, sides) if a.id == b.id else _moved(a, b, told, sides)
    elif a:
        kind, why = "gone", _missing(a, told[1], sides[1])
    else:
        assert b is not None
        kind, why = "new", _missing(b, told[0], sides[0])
    one = a or b
    assert one is not None
    difference = Difference(
        kind=kind,
        customer=one.customer,
        campaign=one.campaign,
        id=one.id,
        id_b=b.id if a and b and a.id != b.id else "",
        at=one.issued_at,
        arm_a=a.arm if a else "",
        arm_b=b.arm if b else "",
        reason=why.reason,
        why=why.words,
        fields=fields,
    )
    return _Found(difference, why.row)


def _missing(decision: Decision, rows: _Rows, side: Side) -> _Why:
    """Why the run ``side`` has not made a decision."""
    row = rows.of(decision) or rows.before(decision) or rows.near(decision)
    if row is not None:
        return _Why(row.reason, f"in {side.name} {stopped(row)}{_was(row, decision)}", row)
    if side.modes is not None and decision.campaign not in side.modes:
        return _Why("absent", f"{side.name} has no such campaign")
    if side.modes is not None and side.modes[decision.campaign] == "off":
        return _Why("off", f"the campaign is off in {side.name}")
    if not side.explained:
        return _Why("unknown", f"{side.name} wrote nothing of what it suppressed")
    return _Why("signal", f"{decision.signal} did not arise in {side.name}")


def _was(row: Suppressed, decision: Decision) -> str:
    """What the condition's fact was where the decision was made."""
    if row.reason != "condition":
        return ""
    fact = row.rule.partition(" ")[0]
    value = next((one.value for one in decision.reasons if one.feature == fact), decision.scores.get(fact))
    return "" if value is None else f" (it was {value:.4g} where it was decided)"


def stopped(row: Suppressed) -> str:
    """What stopped a campaign, in words.

    >>> stopped(Suppressed(customer="u:1", campaign="c", at=0, signal="ordered", source="e", reason="cap_campaign",
    ...     rule="1 in 7d", value=1.0, by=("d",)))
    'cap_campaign: 1 in 7d, used up by 1 contact'
    """
    found = "" if row.value is None else f"{row.value:.4g}"
    if row.reason in CAPS:
        contacts = len(row.by)
        return f"{row.reason}: {row.rule}, used up by {contacts} contact{'' if contacts == 1 else 's'}"
    words = {
        "condition": f"condition {row.rule} not met ({found or 'not scored'})",
        "stale": f"stale: {found} minutes old ({row.rule})",
        "consent": f"consent: none for {row.rule}",
        "quiet_hours": f"quiet_hours: {row.rule}{', deferred' if row.until else ', dropped'}",
        "budget": f"budget: {found} of {row.rule} spent",
        "no_gain": f"no_gain: {found}",
        "outranked": f"outranked by {row.rule} (its own {found})",
        "member": "member: already in the audience",
        "moot": "moot: deferred, and no longer true",
    }
    return words.get(row.reason, f"{row.reason}{': ' + row.rule if row.rule else ''}")


def _moved(a: Decision, b: Decision, told: tuple[_Rows, _Rows], sides: tuple[Side, Side]) -> _Why:
    by = b.issued_at - a.issued_at
    how = f"{span(abs(by))} {'later' if by > 0 else 'earlier'} in B" if by else "at the same time, from another event"
    for decision, rows, side in ((a, told[1], sides[1]), (b, told[0], sides[0])):
        row = rows.of(decision)
        if row is not None:
            return _Why(row.reason, f"{how}: in {side.name} {stopped(row)}", row)
    return _Why("time" if by else "source", f"{how}: {a.signal} arose at another time")


def span(ms: int) -> str:
    """A span of time in words a person reads.

    >>> span(3_600_000), span(5_400_001)
    ('1h', '90m')
    """
    return duration_text(ms // MINUTE_MS * MINUTE_MS) if ms >= MINUTE_MS else f"{ms / SECOND_MS:.3g}s"


def _changed(
    a: Decision,
    b: Decision,
    fields: Mapping[str, tuple[Any, Any]],
    told: tuple[_Rows, _Rows],
    sides: tuple[Side, Side],
) -> _Why:
    shown = ", ".join(_field(name, values) for name, values in fields.items() if not name.startswith("models."))
    first = next(iter(fields)).partition(".")[0]
    if "action.id" in fields:
        for decision, rows, side in ((a, told[1], sides[1]), (b, told[0], sides[0])):
            row = rows.of(decision, decision.action.id)
            if row is not None:
                return _Why(row.reason, f"{shown}: in {side.name} {decision.action.id} {stopped(row)}", row)
        if any(option.campaign == a.campaign and option.action == a.action.id for option in b.eligible):
            return _Why("gain", f"{shown}: ranked higher in B")
        return _Why("action", shown)
    if first == "scores":
        labels = [values for name, values in fields.items() if name.startswith("models.")]
        models = f" (models: {', '.join(f'{_version(x)} -> {_version(y)}' for x, y in labels)})" if labels else ""
        return _Why("models" if labels else "scores", f"{shown}{models}")
    return _Why({"issued_at": "time", "expires_at": "expiry"}.get(first, first), shown)


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
    if value is None or value == "":
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _followed(found: list[_Found], same_engine: bool) -> list[Difference]:
    """Name the earlier difference that led to each, as far as the records tell."""
    named = {one.difference.id: one.difference for one in found}
    named |= {one.difference.id_b: one.difference for one in found if one.difference.id_b}
    done: list[Difference] = []
    moved = ""  # the first difference that changed what the customer was sent, and when
    for one, row in found:
        cause = next((named[c].id for c in (row.by if row else ()) if c in named and _leads(named[c], one, row)), "")
        if not cause and one.kind == "changed" and same_engine and all(map(_learned, one.fields)):
            cause = moved  # the contacts of a customer are an input of its scores
        if one.kind != "changed":
            moved = moved or one.id
        done.append(replace(one, follows=cause) if cause else one)
    return done


def _leads(cause: Difference, to: Difference, row: Suppressed | None) -> bool:
    """Whether a decision that stopped another is an earlier difference, and not the other half of the same one."""
    if cause.id == to.id or cause.kind == "changed":
        return False
    return cause.at < to.at or (row is not None and row.reason == "outranked" != cause.reason)


def _learned(field: str) -> bool:
    return field.partition(".")[0] in ("scores", "models", "gain", "effect", "propensity")
