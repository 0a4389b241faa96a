"""Which earlier difference led to which: of the same customer, or by way of the models and budgets that all share."""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from schemas.decisions import Suppressed

from .difference import BUDGET, DEVICE, LEARNING, Difference, Sides, same_set
from .matching import learned


class Found(NamedTuple):
    """A difference, and the suppression that its reason was read from."""

    difference: Difference
    row: Suppressed | None


def followed(found: list[Found], sides: Sides) -> list[Difference]:
    """Name what led to each difference, as far as the records tell.

    With the same engine, options and input, what a customer does is the same in both runs. Then only contacts can change
    a score, by way of the feature that counts them: the customer's own, or those of others that the models learned from.

    Parameters
    ----------
    found
        The differences of one customer, in order of time.
    """
    same_engine = sides[0].engine == sides[1].engine
    named = {one.difference.id: one.difference for one in found}
    named |= {one.difference.id_b: one.difference for one in found if one.difference.id_b}
    done: list[Difference] = []
    moved = ""  # the first difference that changed what the customer was sent
    entered: dict[str, str] = {}  # audience -> the difference in the last entering
    for one, row in found:
        cause = next((named[c].id for c in (row.by if row else ()) if c in named and _leads(named[c], one, row)), "")
        if not cause and one.membership == "left":
            cause = entered.pop(one.campaign, "")
        if not cause and same_engine and _by_score(one, row, sides):
            cause = moved or (LEARNING if sides[0].learns else "")
        if not cause and same_engine and one.reason == "budget" and same_set(sides, one.campaign, "budget_per_day"):
            cause = BUDGET
        if not cause and same_engine and "mixed_history" in one.fields.get("flag", ()) and one.arm_a == one.arm_b:
            cause = DEVICE
        if one.membership == "entered" and one.kind != "moved":
            entered[one.campaign] = one.id
        if one.kind != "changed":
            moved = moved or one.id
        done.append(replace(one, follows=cause) if cause else one)
    return done


def _leads(cause: Difference, to: Difference, row: Suppressed | None) -> bool:
    """Whether a decision that stopped another is an earlier difference, and not the other half of the same one."""
    if cause.id == to.id or cause.kind == "changed":
        return False
    return cause.at < to.at or (row is not None and row.reason == "outranked" != cause.reason)


def _by_score(one: Difference, row: Suppressed | None, sides: Sides) -> bool:
    """Whether nothing but another score can have led to a difference."""
    if one.kind == "changed":
        return learned(one.fields)
    if one.membership == "left" or sides[0].campaigns is None or sides[1].campaigns is None:
        return False
    if one.reason == "condition":
        return row is not None and same_set(sides, one.campaign, "when", "signal", "delay", "mode")
    return one.reason in ("signal", "time") and same_set(sides, one.campaign, "signal", "delay", "mode")
