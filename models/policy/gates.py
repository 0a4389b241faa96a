"""The gates a candidate passes, in order: stale, expired, consent, quiet hours, caps, budget. Holdout comes after all."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ..profile.contact import LOG_MAX, SHADOWS_MAX, Contact, Contacted, consented
from ..randomness import uniform
from .campaigns import ActionConfig, Campaign, Campaigns, PolicyConfig
from .ledger import Ledger
from .quiet import quiet_until, zone


class Candidate(Struct, frozen=True, kw_only=True):
    """One action of one campaign for one customer at one moment.

    Parameters
    ----------
    occurred_at
        When the thing happened that the signal tells of, milliseconds UTC.
    delay_ms
        How long the customer's last event took to reach us (a timer that rests on a backfilled event is as stale), or
        what led here waited to be processed: the longer of the two.
    expires_at
        After this it is not sent any more.
    effect, value, gain
        Assumed gain in P(goal); worth of the goal; effect x value - cost (reporting currency).
    """

    campaign: Campaign
    action: ActionConfig
    occurred_at: int
    delay_ms: int
    expires_at: int
    effect: float
    value: float
    gain: float


class Verdict(Struct, frozen=True):
    """Why a candidate was stopped (empty: it passed), and until when it is deferred (0: it is not)."""

    reason: str = ""
    until: int = 0


PASS = Verdict()
ROUNDING = 1e-9  # three times 0.1 must fit into 0.3


def judge(
    candidate: Candidate, contact: Contact, campaigns: Campaigns, ledger: Ledger, now: int, killed: bool = False
) -> Verdict:
    """Send one candidate through the gates; the first that stops it names the reason."""
    campaign, action, policy = candidate.campaign, candidate.action, campaigns.policy
    config = campaign.config
    if max(candidate.delay_ms, now - candidate.occurred_at) > campaign.max_age_ms:
        return Verdict("stale")
    if now >= candidate.expires_at:
        return Verdict("expired")
    if killed or policy.kill:
        return Verdict("killed")
    if not consented(contact, action.channel, policy.allows(action.channel)):
        return Verdict("consent")
    if config.quiet_hours and policy.quiet_hours is not None and not campaign.audience:
        until = quiet_until(policy.quiet_hours, now, zone(contact.timezone, policy.timezone))
        if until:
            return Verdict("quiet_hours", until if policy.quiet_hours.then == "defer" else 0)
    shadow = config.mode == "shadow"
    log = [c for c in contact.log if (c.arm == "s") == shadow]
    reaches = log[0].at if len(log) >= (SHADOWS_MAX if shadow else LOG_MAX) else -1
    if _capped(campaign.caps, log, reaches, now, lambda c: c.campaign == config.id):
        return Verdict("cap_campaign")
    if _capped(
        campaigns.channel_caps.get(action.channel, ()), log, reaches, now, lambda c: c.channel == action.channel
    ):
        return Verdict("cap_channel")
    if not campaign.audience and _capped(
        campaigns.customer_caps, log, reaches, now, lambda c: c.campaign not in campaigns.audiences
    ):
        return Verdict("cap_customer")
    budget = config.budget_per_day
    if budget is not None and ledger.spent(config.id, now) + action.cost > budget + ROUNDING:
        return Verdict("budget")
    return PASS


def _capped(
    caps: tuple[tuple[int, int], ...],
    log: list[Contacted],
    reaches: int,
    now: int,
    counts: Callable[[Contacted], bool],
) -> bool:
    """Whether a cap is used up, or cannot be told: a full log may have lost contacts of a window longer than it reaches."""
    if not caps:
        return False
    times = [c.at for c in log if counts(c)]
    return any(reaches > now - within or sum(at > now - within for at in times) >= most for most, within in caps)


def held_out(seed: int, person: str, campaign: Campaign, policy: PolicyConfig) -> bool:
    """Whether the person belongs to the campaign's holdout or to the global one; the same answer for ever.

    >>> from models.policy.campaigns import CampaignConfig
    >>> mail = ActionConfig(id="a", channel="email")
    >>> config = CampaignConfig(id="c", signal="ordered", topic="offers", actions=(mail,), holdout=0.0)
    >>> campaign = Campaign(config=config, conditions=(), caps=(), expires_ms=1, max_age_ms=1, window_ms=1)
    >>> held_out(1, "u:1", campaign, PolicyConfig())
    False
    """
    if held_out_of_all(seed, person, policy):
        return True
    config = campaign.config
    return bool(config.holdout) and uniform(seed, f"{person}|{config.id}", "holdout") < config.holdout


def held_out_of_all(seed: int, person: str, policy: PolicyConfig) -> bool:
    """Whether the person belongs to the global holdout: no campaign ever reaches it."""
    return bool(policy.global_holdout) and uniform(seed, person, "global-holdout") < policy.global_holdout
