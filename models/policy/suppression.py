"""What stopped a campaign in one step, written down beside the decisions."""

from __future__ import annotations

from schemas.decisions import Suppressed

from ..draft import Draft
from .campaigns import Campaign
from .gates import Verdict

CONDITION = "condition"


def suppress(draft: Draft, campaign: Campaign, verdict: Verdict, until: int = 0, action: str = "") -> None:
    """Write down what stopped a campaign, or one of its actions, in this step.

    It is counted by campaign and reason where all of the campaign was stopped, and not by its own condition.

    Parameters
    ----------
    draft
        The step.
    campaign
        What was stopped.
    verdict
        By what.
    until
        When it is tried again, milliseconds UTC; 0: it is not.
    action
        The one action that was stopped; empty: the whole campaign.
    """
    if not action and verdict.reason != CONDITION:
        draft.count(f"suppressed|{campaign.config.id}|{verdict.reason}")
    draft.suppressed += (
        Suppressed(
            customer=draft.before.customer,
            campaign=campaign.config.id,
            at=draft.now,
            signal=campaign.config.signal,
            source=draft.event.id,
            reason=verdict.reason,
            action=action,
            rule=verdict.rule,
            value=verdict.value,
            by=verdict.by,
            until=until,
        ),
    )
