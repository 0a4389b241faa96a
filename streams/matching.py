"""Which decision of one run stands for which of the other, and in what two that do differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import asdict

from schemas.base import DAY_MS
from schemas.decisions import Decision

from .difference import began

TOLERANCE = 0.01
NEAR_MS = DAY_MS
_PLAIN = ("arm", "topic", "issued_at", "expires_at", "flag", "membership")
_NUMBERS = ("effect", "gain", "propensity")
_LEARNED = ("scores", "models", "gain", "effect", "propensity")


class Pair(NamedTuple):
    """A decision of A and the one that stands for it in B; None where there is none."""

    a: Decision | None
    b: Decision | None


def matched(a: Sequence[Decision], b: Sequence[Decision], near_ms: int) -> list[Pair]:
    """Match by the stable id; what is left by the signal it began with, by the stay in an audience, by the nearest time.

    Parameters
    ----------
    near_ms
        How far the nearest may be away, milliseconds.
    """
    pairs, left, right = _same(a, b, lambda one: one.id)
    more, left, right = _same(left, right, lambda one: (one.campaign, one.membership, began(one)))
    pairs += more
    stays = _stays(a), _stays(b)
    alike = {pair.b.id: pair.a.id for pair in pairs if pair.a and pair.b}
    entering = {one.id: alike.get(stay, stay) for one, stay in ((one, stays[1].get(one.id, "")) for one in right)}
    entering |= {one.id: stays[0].get(one.id, "") for one in left}
    more, left, right = _same(left, right, lambda one: entering[one.id] or one.id)
    pairs += more
    near = sorted(
        (abs(x.issued_at - y.issued_at), x.id, y.id)
        for x in left
        for y in right
        if (x.campaign, x.membership) == (y.campaign, y.membership) and abs(x.issued_at - y.issued_at) <= near_ms
    )
    of_a, of_b = {one.id: one for one in left}, {one.id: one for one in right}
    for _, x_id, y_id in near:
        if x_id in of_a and y_id in of_b:
            pairs.append(Pair(of_a.pop(x_id), of_b.pop(y_id)))
    return [*pairs, *(Pair(one, None) for one in of_a.values()), *(Pair(None, one) for one in of_b.values())]


def _same(
    a: Iterable[Decision], b: Iterable[Decision], key: Callable[[Decision], Hashable]
) -> tuple[list[Pair], list[Decision], list[Decision]]:
    there: dict[Hashable, list[Decision]] = defaultdict(list)
    for one in b:
        there[key(one)].append(one)
    pairs, left = [], []
    for one in a:
        waiting = there.get(key(one))
        if waiting:
            pairs.append(Pair(one, waiting.pop(0)))
        else:
            left.append(one)
    return pairs, left, [one for rest in there.values() for one in rest]


def _stays(decisions: Iterable[Decision]) -> dict[str, str]:
    """Id of each leaving -> id of the entering before it."""
    entered: dict[str, str] = {}
    stays = {}
    for one in sorted(decisions, key=lambda one: (one.issued_at, one.membership != "left")):
        if one.membership == "entered":
            entered[one.campaign] = one.id
        elif one.membership == "left" and one.campaign in entered:
            stays[one.id] = entered.pop(one.campaign)
    return stays


def fields(a: Decision, b: Decision, tolerance: float) -> dict[str, tuple[Any, Any]]:
    """What differs in a decision, the most telling first.

    What the configuration says of all of a campaign's decisions alike (``holdout``, ``until``) is no difference of one.
    """
    found: dict[str, tuple[Any, Any]] = {}
    if a.action != b.action:
        acts, others = asdict(a.action), asdict(b.action)
        found |= {f"action.{name}": (acts[name], others[name]) for name in acts if acts[name] != others[name]}
    found |= {name: (getattr(a, name), getattr(b, name)) for name in _PLAIN if getattr(a, name) != getattr(b, name)}
    if a.membership == "left":
        found.pop("expires_at", None)  # its time and the stay, no more
        found |= {"signal": (a.signal, b.signal)} if a.signal != b.signal else {}
    for name in _NUMBERS:
        if _apart(getattr(a, name), getattr(b, name), tolerance):
            found[name] = (getattr(a, name), getattr(b, name))
    for name in dict.fromkeys((*a.scores, *b.scores)):
        one, other = a.scores.get(name), b.scores.get(name)
        if one is None or other is None or _apart(one, other, tolerance):
            found[f"scores.{name}"] = (one, other)
            if a.models.get(name) != b.models.get(name):
                found[f"models.{name}"] = (a.models.get(name), b.models.get(name))
    return found


def learned(found: Mapping[str, Any]) -> bool:
    """Whether only numbers differ that models give."""
    return all(name.partition(".")[0] in _LEARNED for name in found)


def _apart(a: float, b: float, tolerance: float) -> bool:
    return abs(a - b) > tolerance * max(1.0, abs(a), abs(b))
