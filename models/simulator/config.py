"""What a simulated shop is told: sizes, rates, noise. All of it is known truth."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000


class SimulationError(Exception):
    """A simulated shop was asked for what it cannot do; the message says what to change."""


class Contact(Protocol):
    """A message that the engine sent; the engine's trigger satisfies it."""

    @property
    def id(self) -> str:
        """The trigger's id; outcomes carry it as `trigger_id`."""

    @property
    def customer(self) -> str:
        """`u:` and the user id, or `a:` and the anonymous id."""

    @property
    def campaign(self) -> str:
        """The campaign's name; outcomes carry it as `campaign_id`."""

    @property
    def channel(self) -> str:
        """email, sms, push, or any other word (taken as a banner on the site)."""

    @property
    def issued_at(self) -> int:
        """Epoch milliseconds, UTC."""


class Sent(NamedTuple):
    """A contact as the shop took it in."""

    id: str
    customer: str
    campaign: str
    channel: str
    issued_at: int  # when it took effect


class ShopConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The known truth of a shop. Shares and probabilities are in [0, 1], rates per day.

    Raises SimulationError when a value is out of its range.

    >>> ShopConfig(seed=7, customers=100).customers
    100
    >>> ShopConfig(late_share=2)
    Traceback (most recent call last):
    models.simulator.config.SimulationError: late_share is 2: give a number from 0 to 1
    """

    seed: int = 1
    customers: int = 3000  # persons who can be known; anonymous guests come on top
    start_ms: int = 1_756_684_800_000  # 2025-09-01T00:00Z; a whole UTC day
    days: int = 120  # new customers arrive over this many days; the shop runs on after them
    existing_share: float = 0.5  # customers with an account before the start

    # visits: lognormal rates, on a finite grid (population.py)
    visit_rate_median: float = 0.033  # visits per day
    visit_rate_sigma: float = 1.25  # standard deviation of log rate: heavy tail
    guests_per_customer_day: float = 0.0125  # new anonymous visitors per day, per customer
    guest_return: float = 0.25  # P(a guest comes back), each time
    signed_in_share: float = 0.26  # P(a visit of a known customer starts signed in)
    stray_share: float = 0.08  # P(a visit happens in a private window or at work: never attributable)
    sign_up: float = 0.35  # P(a visitor signs up), each visit
    bot_share: float = 0.005  # bots' visits / all other visits
    bots: int = 6

    # dropout per day by class of loyalty
    dropout_rates: tuple[float, ...] = (0.0015, 0.009, 0.04)
    dropout_weights: tuple[float, ...] = (0.45, 0.33, 0.22)
    honeymoon: float = 2.0  # extra early hazard, as a multiple
    honeymoon_days: float = 14.0
    refund_dropout: float = 0.15  # P(a refund drives the customer away)
    subscriber_share: float = 0.10
    cancel_on_dropout: float = 0.6  # P(a subscriber who leaves cancels in so many words)

    # buying
    conversion_mean: float = 0.22  # P(order | visit of a known customer), long after the last order
    sated_days: float = 8.0  # after an order the wish to buy comes back over this time
    conversion_spread: float = 1.1  # standard deviation of its logit between customers
    guest_conversion: float = 0.01
    refund_share: float = 0.12  # of orders
    cancel_share: float = 0.045
    survey_share: float = 0.3  # P(an order's survey is answered at the next visit)
    review_share: float = 0.12

    # the regime change, from this day on (None: never)
    regime_change_day: int | None = 80
    regime_visits: float = 0.75
    regime_conversion: float = 0.8
    regime_dropout: float = 1.6
    season_week: bool = True
    season_year: float = 0.2  # amplitude of the yearly wave, its top in late November

    # what reaches the collector
    late_share: float = 0.02
    duplicate_share: float = 0.01
    skewed_share: float = 0.05  # devices with a wrong clock
    shared_device_share: float = 0.08  # customers who also use a household member's device
    leak_share: float = 0.1  # P(their visit there is signed out, so counts as the owner's)
    consent_share: float = 0.62

    # messages; response types: persuadable, sure thing, lost cause, sleeping dog
    campaign_strength: tuple[tuple[str, float], ...] = ()  # (campaign, 0..2); others are 1
    persuaded_dropout: float = 0.35  # factor on a persuaded customer's hazard
    persuaded_visits: float = 1.5
    persuaded_conversion: float = 1.4
    effect_days: int = 21
    dog_leaves: float = 0.2  # P(a message drives a sleeping dog away)

    def __post_init__(self) -> None:
        for name in _SHARES:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise SimulationError(f"{name} is {value}: give a number from 0 to 1")
        for name in ("customers", "days", "bots"):
            if getattr(self, name) < 1:
                raise SimulationError(f"{name} is {getattr(self, name)}: give at least 1")
        for campaign, strength in self.campaign_strength:
            if not 0 <= strength <= 2:
                raise SimulationError(f"campaign_strength of {campaign} is {strength}: give a number from 0 to 2")
        if self.visit_rate_median <= 0 or self.visit_rate_sigma <= 0:
            raise SimulationError("visit_rate_median and visit_rate_sigma must be above 0")
        if self.start_ms % DAY_MS or self.start_ms < 0:
            raise SimulationError(f"start_ms is {self.start_ms}: give midnight UTC in epoch milliseconds")
        if len(self.dropout_rates) != 3 or len(self.dropout_weights) != 3:
            raise SimulationError("dropout_rates and dropout_weights need three values: loyal, regular, fickle")
        if not 0.99 < sum(self.dropout_weights) < 1.01:
            raise SimulationError(f"dropout_weights add up to {sum(self.dropout_weights)}: make that 1")

    def strength(self, campaign: str) -> float:
        """How strongly a campaign works: 0 none, 1 as usual, at most 2."""
        return dict(self.campaign_strength).get(campaign, 1.0)


_SHARES = (
    "existing_share", "guest_return", "signed_in_share", "stray_share", "sign_up", "bot_share", "refund_dropout",
    "subscriber_share", "cancel_on_dropout", "conversion_mean", "guest_conversion", "refund_share", "cancel_share",
    "survey_share", "review_share", "season_year", "late_share", "duplicate_share", "skewed_share",
    "shared_device_share", "leak_share", "consent_share", "dog_leaves",
)  # fmt: skip
