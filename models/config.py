"""The engine's configuration: one frozen object, checked once, passed explicitly."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.base import DAY_MS, MINUTE_MS
from schemas.money import ExchangeTable

from .learning.model import ModelSpec
from .learning.registry import EstimatorSpec

Days = Annotated[float, Meta(ge=0.001, le=3650)]
Minutes = Annotated[float, Meta(ge=0.01, le=525_600)]


class ChurnConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who counts as churned.

    Parameters
    ----------
    horizon_days
        No new visit and no order for this long after the prediction is churn. Frozen in each pending prediction.
    honeymoon_days, honeymoon_orders
        Early life ends after so many days or orders, whichever comes first.
    cadence_factor
        The own-cadence target's horizon is this many of the customer's own mean gaps ...
    cadence_min_days, cadence_max_days
        ... within these bounds.
    activity
        ``any``: a new visit keeps a customer; ``orders``: only an order does (shops that see orders only).
    """

    horizon_days: Days = 30.0
    honeymoon_days: Days = 45.0
    honeymoon_orders: Annotated[int, Meta(ge=1)] = 3
    cadence_factor: Annotated[float, Meta(gt=0, le=20)] = 3.0
    cadence_min_days: Days = 7.0
    cadence_max_days: Days = 180.0
    activity: Literal["any", "orders"] = "any"


class FunnelConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The funnel's timers and horizons.

    Parameters
    ----------
    browse_left_minutes, cart_left_minutes, checkout_left_minutes
        Silence after which a browse, a cart or a checkout counts as left.
    join_minutes
        Wait after a sign-up, in which a device and its user become one: a person joins once.
    contact_days
        Horizon of P(leaves contact details).
    loyal_orders
        Orders from which a customer is loyal.
    sampling_days
        At most one prediction per customer and target waits for its label in this period.
    sampling_share
        Share of the moments within a visit (its start, each stage entered, an order) that may be that one.
    """

    browse_left_minutes: Minutes = 120.0
    cart_left_minutes: Minutes = 60.0
    checkout_left_minutes: Minutes = 30.0
    join_minutes: Minutes = 10.0
    contact_days: Days = 7.0
    loyal_orders: Annotated[int, Meta(ge=2)] = 3
    sampling_days: Days = 3.0
    sampling_share: Annotated[float, Meta(gt=0, le=1)] = 1 / 3


class EngagementConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Engagement, P(a new visit within the horizon).

    Parameters
    ----------
    horizon_days
        For how long a new visit counts.
    sampling_days
        At most one prediction per customer waits for its label in this period.
    """

    horizon_days: Days = 7.0
    sampling_days: Days = 7.0


class LeadsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a lead is ready for sales.

    Parameters
    ----------
    score
        Which P(buys) is its readiness.
    ready
        A lead is given when it reaches this, 0 to 1 ...
    again
        ... and may be given again once it has fallen below this ...
    rest_days
        ... and so many days have passed since it was given, since sales took it over, or since the last order.
    """

    score: Literal["buys.1h", "buys.1d", "buys.7d", "buys.30d"] = "buys.7d"
    ready: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    again: Annotated[float, Meta(ge=0, lt=1)] = 0.1
    rest_days: Days = 30.0


LOGISTIC = EstimatorSpec(
    name="river.linear_model.LogisticRegression",
    params={
        "optimizer": {"class": "models.learning.adagrad.AdaGrad", "lr": 0.05},
        "intercept_lr": {"class": "river.optim.schedulers.InverseScaling", "learning_rate": 0.2, "power": 0.5},
    },
)
CHURN_FEATURES = (
    "quiet",
    "late_visit",
    "spent",
    "order_value",
    "once",
    "refund_share",
    "orders_30d",
    "touches_1d",
    "touches_7d",
    "touches_30d",
)


def default_models() -> dict[str, ModelSpec]:
    """The models that run where the configuration names none; how they were chosen: ``docs/quality.md``."""
    churn = ModelSpec(estimator=LOGISTIC, prior=0.5, features=CHURN_FEATURES, weights={"quiet": 1.0})
    return {
        "churn": churn,
        "churn.cadence": churn,
        "engagement": ModelSpec(estimator=LOGISTIC, prior=0.3),
        "contact": ModelSpec(estimator=LOGISTIC, prior=0.05),
        "buys": ModelSpec(estimator=LOGISTIC, prior=0.05),
    }


class EngineConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that the engine is told.

    Parameters
    ----------
    seed
        Seed of all derived randomness: holdouts, tie-breaks.
    typical_order
        A usual order total in the reporting currency; centres the money features.
    scoring_days
        Period of the scoring timer of known customers.
    erasure_days
        How long events from before an erasure are kept out, and the wishes of the erased remembered. On a stream at least
        as long as the longest retention of its topics.
    money
        The reporting currency and the rates into it.
    churn, funnel, engagement, leads
        Sections of their own, below.
    models
        Estimators by model name; those left out keep their defaults.
    """

    seed: int = 1
    typical_order: Annotated[float, Meta(gt=0, le=1e9)] = 50.0
    scoring_days: Days = 7.0
    erasure_days: Days = 400.0
    money: ExchangeTable = ExchangeTable()
    churn: ChurnConfig = ChurnConfig()
    funnel: FunnelConfig = FunnelConfig()
    engagement: EngagementConfig = EngagementConfig()
    leads: LeadsConfig = LeadsConfig()
    models: dict[str, ModelSpec] = {}

    def model_specs(self) -> dict[str, ModelSpec]:
        """All models, the configured ones in place of the defaults.

        >>> sorted(EngineConfig().model_specs())[:2]
        ['buys', 'churn']
        """
        return default_models() | self.models


def days_ms(days: float) -> int:
    """Days in milliseconds.

    >>> days_ms(0.5)
    43200000
    """
    return round(days * DAY_MS)


def minutes_ms(minutes: float) -> int:
    """Minutes in milliseconds."""
    return round(minutes * MINUTE_MS)
