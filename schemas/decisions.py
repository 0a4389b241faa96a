"""Decisions out: the record of what was decided about a customer, why, and what else was possible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

from .base import CustomerId, Id, Millis, Name

Topic = Literal["offers", "nudges", "recommendations", "leads", "replies", "segments"]
Arm = Literal["treated", "holdout", "shadow"]
Probability = Annotated[float, Meta(ge=0, le=1)]


class Action(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to do: on which channel, with which offer, creative and products; ``cost`` in the reporting currency."""

    id: Id
    channel: Name
    offer: Name = ""
    creative: Name = ""
    cost: float = 0.0
    items: tuple[Id, ...] = ()


class Reason(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One reason in words and numbers.

    Parameters
    ----------
    feature
        Name of the fact or feature.
    value
        Its value when the decision was made.
    weight
        Its contribution to the score in log-odds; 0 for a condition that simply held.
    text
        The same in words.
    """

    feature: Name
    value: float
    weight: float = 0.0
    text: str = ""


class Candidate(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A campaign and action that could have been chosen, with its expected gain in the reporting currency."""

    campaign: Name
    action: Name
    gain: float


class Decision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A decision about one customer at one moment; with arm ``treated`` it is a trigger.

    Parameters
    ----------
    id
        Stable: derived from the customer, the campaign and the event that led to it, so a repeat keeps it.
    topic
        The outbound topic for a trigger; holdout and shadow decisions go to ``decisions`` only.
    arm
        ``treated`` (sent), ``holdout`` (chosen, withheld, consumes caps as a send would) or ``shadow`` (campaign in shadow mode).
    flag
        Empty, or why the decision must be left out of the effect of its campaign: ``mixed_history`` (a device with contacts
        of its own was merged in) or ``global_holdout`` (the person is withheld from every campaign).
    issued_at, expires_at
        Milliseconds UTC, partition time.
    effect_source
        ``configured`` until uplift has been learned.
    scores
        Probabilities the decision was based on, by model.
    reasons
        The strongest first.
    eligible
        The set after all gates, the chosen one included, best first.
    propensity
        Probability with which the policy chooses this action given the eligible set.
    suppressed
        Candidates that a gate stopped at this moment: campaign -> reason.
    models
        Versions of the models used.
    source
        Id of the event that led to the decision.
    signal
        The signal that the campaign listens to; of one who left an audience the reason: ``ordered``, ``over``, ``consent``,
        ``linked``, ``erased``.
    membership
        Of the topic ``segments``: whether the customer ``entered`` or ``left`` the audience that the action names.
    until
        End of the attribution window, milliseconds UTC.
    holdout, global_holdout
        Probability with which the campaign, and all campaigns together, are withheld from a person.
    """

    id: Id
    customer: CustomerId
    campaign: Name
    topic: Topic
    action: Action
    arm: Arm
    issued_at: Millis
    expires_at: Millis
    source: str
    signal: Name
    effect: float
    effect_source: Literal["configured", "learned"] = "configured"
    gain: float = 0.0
    propensity: Probability = 1.0
    scores: Mapping[str, float] = {}
    reasons: tuple[Reason, ...] = ()
    eligible: tuple[Candidate, ...] = ()
    suppressed: Mapping[str, str] = {}
    models: Mapping[str, int] = {}
    flag: Name = ""
    membership: Literal["", "entered", "left"] = ""
    until: Millis = 0
    holdout: Probability = 0.0
    global_holdout: Probability = 0.0

    @property
    def channel(self) -> str:
        """The channel of the chosen action."""
        return self.action.channel


class Conversion(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="conversion", tag_field="kind"):
    """The goal event of a campaign, within its attribution window, for either arm."""

    decision: Id
    customer: CustomerId
    campaign: Name
    arm: Arm
    goal: Name
    occurred_at: Millis
    value: float = 0.0


class Suppressed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A campaign that acts on a signal of this moment and sent nothing: what stopped it.

    Parameters
    ----------
    at
        Milliseconds UTC, partition time.
    signal
        What the campaign would have acted on.
    source
        Id of the event that led here.
    reason
        ``condition``, ``moot`` (deferred, and no longer true), ``outranked``, or the first gate that stopped it.
    action
        Only this action was stopped, the campaign went on with another; empty: all of it.
    rule
        What was not met: the condition, the cap, the channel without consent, the winner that outranked it.
    value
        What was found instead: the fact's value, contacts counted, minutes too old, money spent; None where nothing was.
    by
        Ids of the decisions that a cap counted, or of the one that outranked it.
    until
        When it is looked at again, milliseconds UTC; 0: never.
    """

    customer: CustomerId
    campaign: Name
    at: Millis
    signal: Name
    source: str
    reason: Name
    action: Name = ""
    rule: str = ""
    value: float | None = None
    by: tuple[str, ...] = ()
    until: Millis = 0
