"""What is predicted, for whom, over which horizon, and how the label is read off the facts when it falls due.

A label is read at ``predicted_at + horizon`` exactly, by a timer that fires before any later event is stepped. So
"did anything happen since the prediction" is the same question as "did it happen within the horizon", and facts in
the profile answer it in constant time.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from schemas.base import HOUR_MS

from .config import EngineConfig, days_ms
from .features import cadence_days, in_honeymoon
from .profile.profile import Profile

INTERVALS_MS = (HOUR_MS, 24 * HOUR_MS, 7 * 24 * HOUR_MS, 30 * 24 * HOUR_MS)
BUYS = ("buys.1h", "buys.1d", "buys.7d", "buys.30d")

Horizon = Callable[[EngineConfig, Profile, int], int]
Label = Callable[[EngineConfig, Profile, int], bool]


class TargetSpec(Struct, frozen=True):
    """One thing that is predicted.

    Parameters
    ----------
    name
        Target name, such as ``churn.late``.
    model
        The model that answers.
    horizon
        Milliseconds to the label for this customer now; 0 where the customer is outside the population.
    label
        Reads the label off the profile when the prediction made at the given time falls due.
    group
        Targets of one group are sampled together.
    interval
        Index of the hazard interval that ends at the horizon; -1 for targets without one.
    own_horizon
        The horizon differs by customer, and the features look ahead just as far.
    """

    name: str
    model: str
    horizon: Horizon
    label: Label
    group: str
    interval: int = -1
    own_horizon: bool = False


def last_life(config: EngineConfig, profile: Profile) -> int:
    """The last sign of life that keeps a customer, milliseconds UTC; 0 where there was none."""
    return profile.orders.last_at if config.churn.activity == "orders" else profile.activity.at


def _churn_population(config: EngineConfig, profile: Profile, now: int) -> bool:
    """Known or buying customers who have not churned yet, by the same horizon."""
    if profile.customer[0] != "u" and not profile.orders.count:
        return False
    last = last_life(config, profile)
    return bool(last) and now - last <= days_ms(config.churn.horizon_days)


def _honeymoon(config: EngineConfig, profile: Profile, now: int) -> bool:
    return in_honeymoon(profile, now, config.churn.honeymoon_days, config.churn.honeymoon_orders)


def _early(config: EngineConfig, profile: Profile, now: int) -> int:
    eligible = _churn_population(config, profile, now) and _honeymoon(config, profile, now)
    return days_ms(config.churn.horizon_days) if eligible else 0


def _late(config: EngineConfig, profile: Profile, now: int) -> int:
    eligible = _churn_population(config, profile, now) and not _honeymoon(config, profile, now)
    return days_ms(config.churn.horizon_days) if eligible else 0


def cadence_ms(config: EngineConfig, profile: Profile) -> int:
    """Silence that is long for this customer's own cadence, milliseconds; 0 where that is not known yet."""
    gap, churn = cadence_days(profile), config.churn
    if not gap:
        return 0
    return days_ms(min(churn.cadence_max_days, max(churn.cadence_min_days, churn.cadence_factor * gap)))


def _own_cadence(config: EngineConfig, profile: Profile, now: int) -> int:
    return cadence_ms(config, profile) if _churn_population(config, profile, now) else 0


def _gone(config: EngineConfig, profile: Profile, predicted_at: int) -> bool:
    """No new visit (or order) since, or a cancellation; the rest of a visit under way is no sign of coming back."""
    came = profile.orders.last_at
    if config.churn.activity == "any":
        came = max(came, profile.session.started_at)
    return came <= predicted_at or profile.orders.cancelled_at > predicted_at


def _week(config: EngineConfig, profile: Profile, now: int) -> int:
    return days_ms(config.engagement.horizon_days)


def _visits(config: EngineConfig, profile: Profile, predicted_at: int) -> bool:
    return profile.session.started_at > predicted_at


def _stranger(config: EngineConfig, profile: Profile, now: int) -> int:
    known = profile.customer[0] == "u" or profile.journey.contact_at
    return 0 if known else days_ms(config.funnel.contact_days)


def _left_contact(config: EngineConfig, profile: Profile, predicted_at: int) -> bool:
    return profile.journey.contact_at > predicted_at


def _bought(config: EngineConfig, profile: Profile, predicted_at: int) -> bool:
    return profile.orders.last_at > predicted_at


def _within(interval: int) -> Horizon:
    return lambda config, profile, now: INTERVALS_MS[interval]


TARGETS: tuple[TargetSpec, ...] = (
    TargetSpec("churn.early", "churn", _early, _gone, "churn"),
    TargetSpec("churn.late", "churn", _late, _gone, "churn"),
    TargetSpec("churn.cadence", "churn.cadence", _own_cadence, _gone, "cadence", own_horizon=True),
    TargetSpec("engagement", "engagement", _week, _visits, "engagement"),
    TargetSpec("contact", "contact", _stranger, _left_contact, "contact"),
    *(TargetSpec(name, "buys", _within(i), _bought, "buys", i) for i, name in enumerate(BUYS)),
)
BY_NAME = {target.name: target for target in TARGETS}


def targets_of(model: str) -> tuple[str, ...]:
    """Names of the targets that ``model`` answers.

    >>> targets_of("buys")
    ('buys.1h', 'buys.1d', 'buys.7d', 'buys.30d')
    """
    return tuple(target.name for target in TARGETS if target.model == model)
