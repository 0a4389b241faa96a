"""Campaigns are data: what ``campaigns.toml`` may hold, with its defaults. Reading and checking: ``reading.py``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.base import DAY_MS
from schemas.decisions import Topic

from .conditions import Condition
from .durations import Duration

Share = Annotated[float, Meta(ge=0, le=0.9)]
Amount = Annotated[float, Meta(ge=0, le=1e9)]
Identifier = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}(?!\n)$")]
ClockTime = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9](?!\n)$")]

AUDIENCES: Topic = "segments"
SIGNALS: dict[str, str] = {
    "joined": "somebody new signed up or left contact details in a form (after funnel.join_minutes), once a person",
    "browse_left": "products were looked at and nothing put into a cart (funnel.browse_left_minutes)",
    "cart_left": "a cart with something in it was left (silence of funnel.cart_left_minutes)",
    "checkout_left": "a checkout was left (funnel.checkout_left_minutes); the cart in it is then not left as well",
    "lead_ready": "one with contact details became ready to buy (leads.ready) or asked for details",
    "churn_risk": "a known customer past the honeymoon was scored (every scoring_days)",
    "honeymoon_drop": "a customer in the first weeks lost engagement (at least 10 points) or went silent",
    "gone_quiet": "a known customer is silent for long by the own cadence (churn.cadence_factor), once a silence",
    "churned": "a known customer has been silent for the churn horizon (churn.horizon_days), once a silence",
    "ordered": "an order was placed",
    "contact_left": "contact details were left for the first time",
}


class Cap(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most so many contacts to a customer in any window of event time.

    Parameters
    ----------
    most
        Contacts.
    within
        The window's length, such as ``7d``.
    """

    most: Annotated[int, Meta(ge=1, le=40)]
    within: Duration


class ActionConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing a campaign can do.

    Parameters
    ----------
    id
        Its name: small letters, digits, ``.``, ``_``, ``-``.
    channel
        email, sms, push, site, ...: consent and channel caps go by it.
    offer, creative
        For whoever sends it: what is offered, and which text or picture.
    cost
        Of one contact, in the reporting currency.
    prior_effect
        Assumed gain in P(goal), 0 to 1, until uplift has been learned; shown as "configured".
    """

    id: Identifier
    channel: Identifier
    offer: str = ""
    creative: str = ""
    cost: Amount = 0.0
    prior_effect: Annotated[float, Meta(ge=0, le=1)] = 0.02


class Goal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the campaign wants.

    Parameters
    ----------
    event
        An order, a new visit, or contact details left.
    window
        For how long a contact may claim it.
    """

    event: Literal["order", "visit", "contact"] = "order"
    window: Duration = "7d"


class QuietHours(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours of the customer's own day in which nothing is sent.

    Parameters
    ----------
    start, end
        Such as ``21:00`` and ``08:00``, in the customer's time zone.
    then
        ``defer``: to their end, and checked again then; ``drop``: not sent.
    """

    start: ClockTime
    end: ClockTime
    then: Literal["defer", "drop"] = "defer"


class CampaignConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A campaign as written in the file; see ``docs/campaigns.md``.

    Parameters
    ----------
    id
        Its name: small letters, digits, ``.``, ``_``, ``-``.
    signal
        What it answers to, such as ``cart_left``.
    topic
        Where its triggers go; ``segments`` makes it an audience.
    actions
        1 to 20, of which one is chosen.
    when
        Conditions such as ``cart_value >= 20``, all of which must hold.
    mode
        ``shadow``: decisions are recorded, nothing is sent.
    goal
        What it wants: ``{event, window}``.
    value
        What the goal is worth, in the reporting currency: a number, or a fact such as ``cart_value``.
    caps
        Contacts of this campaign to one customer: ``{most, within}``.
    budget_per_day
        Money a UTC day, kept per partition.
    holdout
        Share of persons from whom it is withheld for ever.
    expires_after
        After this, counted from the signal or the end of the delay, it is not sent.
    max_age
        What led here must not be older when it is processed.
    quiet_hours
        Whether the policy's quiet hours hold for it.
    delay
        Wait so long after the signal; then it is sent if what the signal told is still true and the conditions hold.
    stay
        On the topic ``segments``: how long a person stays in the audience.
    """

    id: Identifier
    signal: str
    topic: Topic
    actions: Annotated[tuple[ActionConfig, ...], Meta(min_length=1, max_length=20)]
    when: Annotated[tuple[str, ...], Meta(max_length=20)] = ()
    mode: Literal["off", "shadow", "live"] = "shadow"
    goal: Goal = Goal()
    value: Amount | str | None = None
    caps: tuple[Cap, ...] = ()
    budget_per_day: Amount | None = None
    holdout: Share = 0.1
    expires_after: Duration = "24h"
    max_age: Duration = "1h"
    quiet_hours: bool = True
    delay: Duration | None = None
    stay: Duration = "30d"


class PolicyConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for all campaigns.

    Parameters
    ----------
    timezone
        IANA name for customers whose own is unknown.
    consent
        What counts where the customer said nothing: ``deny`` or ``allow``.
    channel_consent
        The same for single channels, where it differs.
    customer_caps, channel_caps
        Caps over all campaigns, per customer, and per customer and channel.
    global_holdout
        Share of persons who never receive anything.
    quiet_hours
        ``{start, end, then}``; none: at any hour.
    kill
        True stops all triggers; what would have gone out is counted as suppressed.
    """

    timezone: str = "UTC"
    consent: Literal["deny", "allow"] = "deny"
    channel_consent: dict[str, Literal["deny", "allow"]] = {}
    quiet_hours: QuietHours | None = None
    customer_caps: tuple[Cap, ...] = ()
    channel_caps: dict[str, tuple[Cap, ...]] = {}
    global_holdout: Share = 0.0
    kill: bool = False

    def allows(self, channel: str) -> bool:
        """Whether silence on consent allows a channel.

        >>> PolicyConfig(channel_consent={"phone": "allow"}).allows("phone")
        True
        """
        return self.channel_consent.get(channel, self.consent) == "allow"


class Campaign(Struct, frozen=True, kw_only=True):
    """A campaign, checked and ready: conditions parsed, durations in milliseconds.

    Parameters
    ----------
    audience
        It names who is in an audience and sends no message: quiet hours and the customer's caps are not for it.
    """

    config: CampaignConfig
    conditions: tuple[Condition, ...]
    caps: tuple[tuple[int, int], ...]
    expires_ms: int
    max_age_ms: int
    window_ms: int
    delay_ms: int = 0
    stay_ms: int = 30 * DAY_MS
    audience: bool = False


class Campaigns(Struct, frozen=True, kw_only=True):
    """All campaigns by signal, and what holds for all of them."""

    policy: PolicyConfig = PolicyConfig()
    by_signal: dict[str, tuple[Campaign, ...]] = {}
    customer_caps: tuple[tuple[int, int], ...] = ()
    channel_caps: dict[str, tuple[tuple[int, int], ...]] = {}
    audiences: frozenset[str] = frozenset()

    def all(self) -> tuple[Campaign, ...]:
        """Every campaign, in the order of the file within a signal."""
        return tuple(c for campaigns in self.by_signal.values() for c in campaigns)
