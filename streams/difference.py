"""One difference between two runs, and what is known of each of them: the structs of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from models.policy.waiting import DEFER
from schemas.decisions import Arm, Decision, Suppressed

Kind = Literal["gone", "new", "moved", "changed"]
LEARNING, BUDGET, DEVICE = "learning", "budget", "device"


class Difference(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision that two runs, A and B, do not share.

    Parameters
    ----------
    kind
        ``gone``: only in A. ``new``: only in B. ``moved``: of the same signal or the same campaign within a day, but from
        another event. ``changed``: the same decision, or one of the same moment, with other contents.
    id, id_b
        The decision's in A, or in B where it is new; and in B where another id stands for it there.
    at
        When it was made, milliseconds UTC: in A; in B where it is new.
    arm_a, arm_b
        Its arm in each run; empty where it is not there. ``treated`` is a trigger.
    membership
        Of an audience: whether the customer ``entered`` or ``left`` it.
    reason
        What the other run did instead: the reason of its suppression; ``signal``: what the campaign acts on did not
        arise; ``wait``: it waited for another time; ``membership``: the customer was not in the audience; ``absent``,
        ``off``: the other run's configuration has no such campaign, or it is off; ``unknown``: it wrote nothing of
        what it suppressed. For a changed decision, the first field that differs.
    why
        The same in words.
    fields
        For a decision that is in both: field -> its value in A and in B.
    follows
        Id of the earlier difference of this customer that led to this one; ``learning``: other customers' differences
        did, from which the models learned; ``budget``: others spent it; ``device``: a difference of a device
        that became this customer; empty for a cause of its own.
    """

    kind: Kind
    customer: str
    campaign: str
    id: str
    at: int
    arm_a: Arm | Literal[""] = ""
    arm_b: Arm | Literal[""] = ""
    membership: Literal["", "entered", "left"] = ""
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
    campaigns
        Campaign -> its table in the configuration, ``mode`` filled in; None where the run does not say.
    explained
        Whether it wrote down what it suppressed.
    engine
        What tells apart all but the campaigns: code, engine settings, options and input.
    learns
        Whether its models learned in it; False: they came with a recorded log.
    """

    name: str
    campaigns: Mapping[str, Mapping[str, Any]] | None = None
    explained: bool = True
    engine: str = ""
    learns: bool = True

    def set_of(self, campaign: str, key: str) -> Any:
        """A campaign's setting; None where it has none, or the run does not say."""
        return (self.campaigns or {}).get(campaign, {}).get(key)


Sides = tuple[Side, Side]


def same_set(sides: Sides, campaign: str, *keys: str) -> bool:
    """Whether a campaign has the same settings in both runs, as far as they say."""
    one, other = sides
    return all(one.set_of(campaign, key) == other.set_of(campaign, key) for key in keys)


def began(record: Decision | Suppressed) -> int:
    """When the signal of a decision was given, milliseconds UTC: what waited tells by the timer it comes from.

    >>> began(Suppressed(customer="u:1", campaign="c", at=9, signal="ordered", source="u:1|defer:c@5|9", reason="moot"))
    5
    """
    at = record.at if isinstance(record, Suppressed) else record.issued_at
    _, waited, started = record.source.rpartition("|")[0].rpartition(f"|{DEFER}{record.campaign}@")
    return int(started) if waited and started.isdecimal() else at
