"""What became of a trigger, as the messaging services report it."""

from __future__ import annotations

from typing import Literal

from .base import Event, Id, Name

Outcome = Literal["delivered", "opened", "clicked", "bounced", "spam", "unsubscribed", "converted", "dismissed"]


class OutcomeReported(Event, frozen=True, tag="outcome_reported"):
    """An outcome of a trigger.

    Parameters
    ----------
    trigger
        The trigger's id; empty where the sender knows the campaign only.
    outcome
        ``unsubscribed`` and ``spam`` also withdraw consent for the channel.
    """

    outcome: Outcome
    trigger: Name = ""
    campaign: Name = ""


class DecisionExposed(Event, frozen=True, tag="decision_exposed"):
    """The customer was shown what a decision chose (an offer, a banner, an experiment's variation)."""

    decision: Id
    variation: Name = ""


class ContactSuppressed(Event, frozen=True, tag="contact_suppressed"):
    """A messaging service did not send a trigger, and why."""

    trigger: Id
    reason: Name = ""
