"""The gates a candidate passes, in order: stale, expired, consent, quiet hours, caps, budget. Holdout comes after all."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from schemas.base import MINUTE_MS

from ..profile.contact import LOG_MAX, SHADOWS_MAX, Contact, Contacted, consented
from ..randomness import uniform
from .campaigns import ActionConfig, Campaign, Campaigns, PolicyConfig
from .durations import duration_text
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
    """Why a candidate was stopped (empty: it passed), and until when it is deferred (0: it is not).

    ``rule``, ``value`` and ``by`` are as of ``schemas.decisions.Suppressed``.
    """

    reason: str = ""
    until: int = 0
    rule: str = ""
    value: float | None = None
    by: tuple[str, ...] = ()


PASS = Verdict()
ROUNDING = 1e-9  # three times 0.1 must fit into 0.3


def judge(
    candidate: Candidate, contact: Contact, campaigns: Campaigns, ledger: Ledger, now: int, killed: bool = False
) -> Verdict:
    """Send one candidate through the gates; the first that stops it names the reason."""
    campaign, action, policy = candidate.campaign, candidate.action, campaigns.policy
    config = campaign.config
    age_ms = max(candidate.delay_ms, now - candidate.occurred_at)
    if age_ms > campaign.max_age_ms:
        return stale(campaign, age_ms)
    if now >= candidate.expires_at:
        return Verdict("expired", 0, f"expires_after {duration_text(campaign.expires_ms)}")
    if killed or policy.kill:
        return Verdict("killed")
    if not consented(contact, action.channel, policy.allows(action.channel)):
        return Verdict("consent", 0, action.channel)
    if config.quiet_hours and policy.quiet_hours is not None and not campaign.audience:
        until = quiet_until(policy.quiet_hours, now, zone(contact.timezone, policy.timezone))
        if until:
            hours = f"{policy.quiet_hours.start} to {policy.quiet_hours.end}"
            return Verdict("quiet_hours", until if policy.quiet_hours.then == "defer" else 0, hours)
    return _capped(candidate, contact, campaigns, now) or _spent(candidate, ledger, now) or PASS


def stale(campaign: Campaign, age_ms: int) -> Verdict:
    """What a campaign acts on is older than it allows."""
    return Verdict("stale", 0, f"max_age {duration_text(campaign.max_age_ms)}", round(age_ms / MINUTE_MS, 1))


def _capped(candidate: Candidate, contact: Contact, campaigns: Campaigns, now: int) -> Verdict | None:
    """The first cap that is used up: the campaign's, the channel's, the customer's."""
    campaign, channel = candidate.campaign, candidate.action.channel
    name, shadow = campaign.config.id, campaign.config.mode == "shadow"
    log = [c for c in contact.log if (c.arm == "s") == shadow]
    reaches = log[0].at if len(log) >= (SHADOWS_MAX if shadow else LOG_MAX) else -1
    used = _used_up("cap_campaign", campaign.caps, log, reaches, now, lambda c: c.campaign == name)
    if used is None:
        caps = campaigns.channel_caps.get(channel, ())
        used = _used_up("cap_channel", caps, log, reaches, now, lambda c: c.channel == channel)
    if used is None and not campaign.audience:
        caps = campaigns.customer_caps
        used = _used_up("cap_customer", caps, log, reaches, now, lambda c: c.campaign not in campaigns.audiences)
    return used


def _used_up(
    reason: str,
    caps: tuple[tuple[int, int], ...],
    log: list[Contacted],
    reaches: int,
    now: int,
    counts: Callable[[Contacted], bool],
) -> Verdict | None:
    """A cap that is used up, or cannot be told: a full log may have lost contacts of a window longer than it reaches."""
    if not caps:
        return None
    counted = [c for c in log if counts(c)]
    for most, within in caps:
        if reaches > now - within or sum(c.at > now - within for c in counted) >= most:
            by = tuple(c.decision for c in counted if c.at > now - within)
            return Verdict(reason, 0, f"{most} in {duration_text(within)}", float(len(by)), by)
    return None


def _spent(candidate: Candidate, ledger: Ledger, now: int) -> Verdict | None:
    config = candidate.campaign.config
    budget = config.budget_per_day
    if budget is None or ledger.spent(config.id, now) + candidate.action.cost <= budget + ROUNDING:
        return None
    return Verdict("budget", 0, f"{budget:.12g} a day", round(ledger.spent(config.id, now), 6))


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
