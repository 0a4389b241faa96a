"""Audiences: a campaign on the topic ``segments`` sends no message, it says who is in an audience and who has left it.

A timer stands for each membership: ``leave:CAMPAIGN@ARM``, due when its stay is over. So membership needs no state of its
own, ends by itself, and a device's memberships stay the device's when its profile goes over to a user.
"""

from __future__ import annotations

from schemas.base import DAY_MS
from schemas.decisions import Action, Decision

from ..draft import Draft
from ..profile.contact import consented
from ..profile.profile import MEMBERSHIP
from ..randomness import stable_id
from .arms import ARM_OF_KEY, KEY_OF_ARM
from .campaigns import Campaign, Campaigns

RETRY_MS = DAY_MS


def kinds(draft: Draft) -> list[str]:
    """The memberships of this customer before the step, as kinds of timers."""
    return [kind for kind, _ in draft.before.timers if kind.startswith(MEMBERSHIP)]


def member(draft: Draft, campaign: Campaign) -> bool:
    """Whether the customer is in the campaign's audience; a shadow's members are no members of a live one."""
    shadow = campaign.config.mode == "shadow"
    return any(kind.endswith("@s") == shadow for kind in draft.kinds(f"{MEMBERSHIP}{campaign.config.id}"))


def stay(draft: Draft, campaign: Campaign) -> None:
    """A member gave the signal again: the stay starts anew, and nobody has to be told."""
    for kind in draft.kinds(f"{MEMBERSHIP}{campaign.config.id}"):
        draft.set_timer(kind, draft.now + campaign.stay_ms)


def entered(draft: Draft, campaign: Campaign, decision: Decision) -> None:
    """Note the membership that a decision began."""
    for key in ARM_OF_KEY:
        draft.set_timer(f"{MEMBERSHIP}{campaign.config.id}@{key}", 0)
    draft.set_timer(f"{MEMBERSHIP}{campaign.config.id}@{KEY_OF_ARM[decision.arm]}", draft.now + campaign.stay_ms)


def why_left(draft: Draft, campaign: Campaign, campaigns: Campaigns) -> str:
    """Why this step ends a membership; empty where it does not."""
    if draft.erased_at != draft.before.erased_at:
        return "erased"
    if draft.linked != draft.before.linked:
        return "linked"
    if "order" in draft.moments and campaign.config.signal != "ordered":
        return "ordered"
    if draft.contact.consents == draft.before.contact.consents:
        return ""
    channel = campaign.config.actions[0].channel
    return "" if consented(draft.contact, channel, campaigns.policy.allows(channel)) else "consent"


def leaving(draft: Draft, campaign: Campaign, arm_key: str, why: str) -> Decision:
    """The record that a member has left; it goes where the record of the entering went, and costs nothing."""
    action, now = campaign.config.actions[0], draft.now
    customer = draft.before.customer
    return Decision(
        id=stable_id(customer, campaign.config.id, f"{draft.event.id}|left"),
        customer=customer,
        campaign=campaign.config.id,
        topic=campaign.config.topic,
        action=Action(id=action.id, channel=action.channel, offer=action.offer, creative=action.creative),
        arm=ARM_OF_KEY[arm_key],
        issued_at=now,
        expires_at=now + campaign.stay_ms,
        source=draft.event.id,
        signal=why,
        effect=0.0,
        membership="left",
    )
