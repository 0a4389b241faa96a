"""P(label | history), exactly: what the best possible model of a customer's silence could say.

Label: no activity of the user is seen in (t, t + horizon]. Activity is a visit under the user id or on a device first linked to
it. Visits are a Poisson process of known shape and unknown rate while the customer is there, and the customer leaves with a known
hazard of unknown class; both unknowns live on a finite grid (population.py), so the posterior is a finite sum:

    P(silent until t + h | history) = (A(t + h) + G(v, t + h)) / (A(t) + G(v, t))

A(t): still there at t and silent since the last visit v; G(v, t): left at some instant of (v, t]. Each is a sum over the grid of
prior x likelihood of the visits so far x survival. This is the "alive" reasoning of Schmittlein, Morrison, Colombo (1987) and
BG/NBD, with a day's hazard, a season, the regime change, refunds, survey scores, cancellations and messages taken in.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from models.simulator.config import DAY_MS
from models.simulator.ledger import Record
from models.simulator.orders import CANCEL_WITHIN_MS, REFUND_AFTER_DAYS, REFUND_WITHIN_DAYS
from models.simulator.population import Person, hazards, loyalty_prior
from models.simulator.randomness import Bools, Floats
from models.simulator.scores import likelihood
from models.simulator.shop import Shop


class Point(NamedTuple):
    """A question: will this customer (an index) be silent after this instant (epoch ms)?"""

    customer: int
    at_ms: int


class _Life(NamedTuple):
    """Everything an oracle needs of a customer from the first day on; D days, R rates, C classes of loyalty."""

    first_day: int  # of the exposure
    exposure: Floats  # (D + 1,) expected visits per unit of rate before each day, from first_day on
    survival: Floats  # (D, C) chance not to leave at the start of each day


class Oracle:
    """Answers questions about a shop whose truth is known.

    Args:
        shop: it must have lived through the points asked about, not through their horizons.
        last_day: the last day (UTC, the shop's first is 0) that any horizon reaches.

    >>> from models.simulator.config import ShopConfig
    >>> shop = Shop(ShopConfig(customers=200, days=60), written=False)
    >>> _ = shop.advance(shop.now_ms + 40 * DAY_MS)
    >>> oracle = Oracle(shop, last_day=80)
    >>> points = oracle.points([shop.now_ms])
    >>> bool(((0 <= oracle.given_history(points, 30)) & (oracle.given_history(points, 30) <= 1)).all())
    True
    """

    def __init__(self, shop: Shop, last_day: int) -> None:
        self._shop = shop
        self._last_day = last_day
        self._season = np.array([shop.calendar.visits(day) for day in range(last_day + 2)])
        self._log_rate = np.log(shop.population.grid)
        self._log_rate_prior = np.log(shop.population.grid_weights)
        self._lives: dict[int, _Life] = {}
        self._priors: dict[int, Floats] = {}

    def points(self, times: Iterable[int], *, recent_days: int | None = None) -> list[Point]:
        """Every customer known by then at each of the times; only those seen in the last `recent_days`, if given."""
        found = []
        for at_ms in times:
            for index, record in enumerate(self._shop.records):
                if not 0 <= record.registered_ms <= at_ms:
                    continue
                if recent_days is not None and not record.active_between(at_ms - recent_days * DAY_MS, at_ms):
                    continue
                found.append(Point(index, at_ms))
        return found

    def labels(self, points: Sequence[Point], horizon_days: float) -> Bools:
        """What happened: True where the customer was silent; shape (points,). The shop must have lived that long."""
        horizon = int(horizon_days * DAY_MS)
        records = self._shop.records
        return np.array([not records[p.customer].active_between(p.at_ms, p.at_ms + horizon) for p in points], dtype=bool)

    def given_history(self, points: Sequence[Point], horizon_days: float) -> Floats:
        """P(silent for `horizon_days` | all that was observed of the customer), shape (points,)."""
        return np.array([self._history(point, int(horizon_days * DAY_MS)) for point in points])

    def given_latent(self, points: Sequence[Point], horizon_days: float) -> Floats:
        """P(silent | rate, class of loyalty, whether still there), shape (points,): more than any history tells."""
        return np.array([self._latent(point, int(horizon_days * DAY_MS)) for point in points])

    def _history(self, point: Point, horizon: int) -> float:
        shop, at_ms = self._shop, point.at_ms
        record, person = shop.records[point.customer], shop.population.persons[point.customer]
        if 0 <= record.left_in_words_ms <= at_ms:
            return 1.0
        life = self._life(person)
        visits = bisect_right(record.visits, at_ms)
        led = bisect_right(record.led, at_ms)
        if visits + led == 0:
            raise ValueError(f"customer {point.customer} has not been seen by {at_ms}: ask from the first visit on")
        last_ms = max(record.visits[visits - 1] if visits else -1, record.led[led - 1] if led else -1)
        counted = visits - (0 if person.existing else 1)  # a newcomer's first visit is given, not drawn
        log_prior = self._log_rate_prior + counted * self._log_rate
        prior = np.exp(log_prior - log_prior.max())[:, None] * self._loyalty(person, record, at_ms)[None, :]
        silent = self._silence(person, record, life, point, last_ms, at_ms + horizon, prior, False)
        known = self._silence(person, record, life, point, last_ms, at_ms, prior, False)
        return min(1.0, silent / known)

    def _latent(self, point: Point, horizon: int) -> float:
        shop = self._shop
        record, person = shop.records[point.customer], shop.population.persons[point.customer]
        if 0 <= record.left_ms <= point.at_ms:
            return 1.0
        prior = np.zeros((len(self._log_rate), 3))
        prior[person.rate_class, person.loyalty] = 1.0
        life, end = self._life(person), point.at_ms + horizon
        silent = self._silence(person, record, life, point, point.at_ms, end, prior, True)
        known = self._silence(person, record, life, point, point.at_ms, point.at_ms, prior, True)
        return min(1.0, silent / known)

    def _silence(
        self,
        person: Person,
        record: Record,
        life: _Life,
        point: Point,
        since_ms: int,
        until_ms: int,
        prior: Floats,
        latent: bool,
    ) -> float:
        """A + G of the module's formula: the weight of all lives that fit the history and are silent in (since, until]."""
        shop, config, first = self._shop, self._shop.config, life.first_day
        start_ms = config.start_ms
        rates = shop.population.grid
        seen = 1 - config.stray_share
        if person.shared is not None and person.shared.first_user >= 0:
            seen *= 1 - 0.5 * config.leak_share
        last = shop.day(until_ms)
        today = shop.day(since_ms)
        # chance to outlive the refunds up to `since`, then the instants at which the customer may have left
        begun = np.prod(life.survival[: max(0, today - first + 1)], axis=0)
        stays = (1 - config.refund_dropout) ** sum(at <= since_ms for at, _ in record.refunds if at <= point.at_ms)
        instants: list[tuple[int, Floats]] = [
            (start_ms + day * DAY_MS, 1 - life.survival[day - first])
            for day in range(max(today + 1, first), last + 1)
        ]
        drop = np.full(3, config.refund_dropout)
        instants += [(at, drop) for at, _ in record.refunds if since_ms < at <= min(until_ms, point.at_ms)]
        instants += [
            (at, np.full(3, chance)) for at, chance in self._coming_refunds(record, point.at_ms, until_ms)
        ]
        instants.sort(key=lambda instant: instant[0])
        there = begun * stays
        alive = np.ones(3) * there
        total = 0.0
        cancels = config.cancel_on_dropout if record.subscribed else 0.0
        if instants:
            times = [at for at, _ in instants]
            chances = np.array([chance for _, chance in instants])  # (I, C)
            before = np.vstack([np.ones((1, 3)), np.cumprod(1 - chances, axis=0)])
            exposure = np.array([self._exposed(person, life, at) for at in times]) * seen
            weights = chances * before[:-1] * there  # (I, C)
            if cancels:
                past = np.array([min(1.0, max(0.0, (point.at_ms - at) / DAY_MS)) for at in times])
                weights = weights * (1 - cancels * past)[:, None]
            silent = np.exp(-np.outer(rates, exposure))  # (R, I)
            total = float((prior * (silent @ weights)).sum())
            alive = there * before[-1]
        end = np.exp(-rates * (self._exposed(person, life, until_ms) * seen))
        return total + float((prior * end[:, None] * alive[None, :]).sum())
