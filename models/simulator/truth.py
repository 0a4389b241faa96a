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

from models.simulator.config import DAY_MS, SimulationError
from models.simulator.evidence import known_by, likelihood, lively_days, proves_there
from models.simulator.ledger import Message, Record
from models.simulator.orders import CANCEL_WITHIN_MS, REFUND_AFTER_DAYS, REFUND_WITHIN_DAYS
from models.simulator.population import (
    LOST_CAUSE,
    PERSUADABLE,
    SLEEPING_DOG,
    Person,
    hazards,
    loyalty_prior,
    response_prior,
)
from models.simulator.randomness import Bools, Floats
from models.simulator.response import LEAVES_WITHIN_MS
from models.simulator.scores import likelihood as score_likelihood
from models.simulator.shop import Shop

_LEAVES_AFTER_MS = 65_000 + LEAVES_WITHIN_MS // 2  # when a sleeping dog leaves, on average


class Point(NamedTuple):
    """A question: will this customer (an index) be silent after this instant (epoch ms)?"""

    customer: int
    at_ms: int


class _Life(NamedTuple):
    """Everything an oracle needs of a customer from the first day on; D days, R rates, C classes of loyalty."""

    first_day: int  # of the exposure
    exposure: Floats  # (D + 1,) expected visits per unit of rate before each day, from first_day on
    survival: Floats  # (D, C) chance not to leave at the start of each day


class _Case(NamedTuple):
    """A customer as known at `at_ms`, under the hypothesis of one response type."""

    person: Person
    record: Record
    messages: Sequence[Message]
    life: _Life
    response: int
    at_ms: int
    prior: Floats  # (R, C)


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
        return np.array(
            [not records[p.customer].active_between(p.at_ms, p.at_ms + horizon) for p in points], dtype=bool
        )

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
        visits = bisect_right(record.visits, at_ms)
        led = bisect_right(record.led, at_ms)
        if visits + led == 0:
            raise SimulationError(f"customer {point.customer} is not seen by {at_ms}: ask from the first visit on")
        since = max(record.visits[visits - 1] if visits else -1, record.led[led - 1] if led else -1)
        messages = known_by(record.messages, at_ms)
        since = max([since, *(message.at_ms for message in messages if proves_there(message))])
        counted = record.visits[:visits] if person.existing else record.visits[1:visits]  # a newcomer's first is given
        log_prior = self._log_rate_prior + len(counted) * self._log_rate
        prior = np.exp(log_prior - log_prior.max())[:, None] * self._loyalty(person, record, at_ms)[None, :]
        silent = known = 0.0
        for response, weight in self._responses(person, messages, counted, since, at_ms):
            case = _Case(person, record, messages, self._life(person, messages, response), response, at_ms, prior)
            silent += weight * self._weight(case, since, at_ms + horizon)
            known += weight * self._weight(case, since, at_ms)
        return min(1.0, silent / known)

    def _responses(
        self, person: Person, messages: Sequence[Message], visits: Sequence[int], since: int, at_ms: int
    ) -> list[tuple[int, float]]:
        """Response types with their weights, given the messages up to the last proof of life and the pace of visits."""
        if not messages:
            return [(LOST_CAUSE, 1.0)]
        config = self._shop.config
        weights = response_prior(config, person.source, person.consent_email, person.consent_sms).tolist()
        lively = lively_days(config, messages)
        strength = sum(lively.get(self._shop.day(at), 0.0) for at in visits)
        weights[PERSUADABLE] *= config.persuaded_visits**strength
        for message in messages:
            if message.at_ms <= since:
                weights = [w * likelihood(message, response, at_ms) for response, w in enumerate(weights)]
        return [(response, weight) for response, weight in enumerate(weights) if weight > 0]

    def _latent(self, point: Point, horizon: int) -> float:
        shop, at_ms = self._shop, point.at_ms
        record, person = shop.records[point.customer], shop.population.persons[point.customer]
        if 0 <= record.left_ms <= at_ms:
            return 1.0
        prior = np.zeros((len(self._log_rate), 3))
        prior[person.rate_class, person.loyalty] = 1.0
        messages = known_by(record.messages, at_ms)
        life = self._life(person, messages, person.response)
        case = _Case(person, record, messages, life, person.response, at_ms, prior)
        return min(1.0, self._weight(case, at_ms, at_ms + horizon) / self._weight(case, at_ms, at_ms))

    def _weight(self, case: _Case, since: int, until: int) -> float:
        """A + G of the module's formula: the weight of all lives that fit what is known and are silent in (since, until]."""
        shop, config, person, record, life = self._shop, self._shop.config, case.person, case.record, case.life
        rates = shop.population.grid
        seen = 1 - config.stray_share
        if person.shared is not None and person.shared.first_user >= 0:
            seen *= 1 - 0.5 * config.leak_share
        today, last, first = shop.day(since), shop.day(until), life.first_day
        refunds = [at for at, _ in record.refunds if at <= min(until, case.at_ms)]
        survived = np.prod(life.survival[: max(0, today - first + 1)], axis=0)
        survived = survived * (1 - config.refund_dropout) ** sum(at <= since for at in refunds)
        # at each instant: the chance to leave there, by class, and the likelihood of what follows for who has not left before
        one = np.ones(3)
        instants: list[tuple[int, Floats, float]] = [
            (config.start_ms + day * DAY_MS, 1 - life.survival[day - first], 1.0)
            for day in range(max(today + 1, first), last + 1)
        ]
        instants += [(at, config.refund_dropout * one, 1.0) for at in refunds if at > since]
        instants += [(at, chance * one, 1.0) for at, chance in self._coming_refunds(record, case.at_ms, until)]
        for message in case.messages:
            leaves_ms = message.at_ms + _LEAVES_AFTER_MS
            dog = config.dog_leaves * message.strength if case.response == SLEEPING_DOG and not message.bounced else 0.0
            if message.at_ms > since:
                instants.append((message.at_ms, 0 * one, likelihood(message, case.response, case.at_ms)))
            if leaves_ms <= since:
                survived = survived * (1 - dog)
            elif leaves_ms <= until:
                instants.append((leaves_ms, dog * one, 1.0))
        total = 0.0
        alive = survived
        if instants:
            instants.sort(key=lambda instant: instant[0])
            times = [at for at, _, _ in instants]
            chances = np.array([chance for _, chance, _ in instants])  # (I, C)
            stays = (1 - chances) * np.array([fits for _, _, fits in instants])[:, None]
            before = np.vstack([one, np.cumprod(stays, axis=0)]) * survived  # (I + 1, C)
            exposure = np.array([self._exposed(person, life, at) for at in times]) * seen
            weights = chances * before[:-1]
            if record.subscribed:
                past = np.clip((case.at_ms - np.array(times)) / DAY_MS, 0.0, 1.0)
                weights = weights * (1 - config.cancel_on_dropout * past)[:, None]
            total = float((case.prior * (np.exp(-np.outer(rates, exposure)) @ weights)).sum())
            alive = before[-1]
        end = np.exp(-rates * (self._exposed(person, life, until) * seen))
        return total + float((case.prior * end[:, None] * alive[None, :]).sum())

    def _coming_refunds(self, record: Record, at_ms: int, until_ms: int) -> list[tuple[int, float]]:
        """When refunds of orders made so far may yet drive the customer away: (instant, chance given still there)."""
        config = self._shop.config
        found = []
        refunded = {order for at, order in record.refunds if at <= at_ms}
        gone = {order for at, order in zip(record.cancelled, record.cancelled_orders, strict=True) if at <= at_ms}
        for ordered_ms, _ in record.orders:
            if ordered_ms > at_ms or ordered_ms in refunded or ordered_ms in gone:
                continue
            begin = ordered_ms + int(REFUND_AFTER_DAYS * DAY_MS)
            end = begin + int(REFUND_WITHIN_DAYS * DAY_MS)
            if end <= at_ms or begin >= until_ms:
                continue
            chance = config.refund_share
            if at_ms > ordered_ms + CANCEL_WITHIN_MS:
                chance /= 1 - config.cancel_share
            density = chance / (end - begin)
            low = max(begin, at_ms)
            open_share = 1 - density * max(0, at_ms - begin)
            left = 0.0
            while low < min(end, until_ms):
                high = min(low + DAY_MS, end, until_ms)
                leaves = config.refund_dropout * density * (high - low) / open_share
                found.append(((low + high) // 2, leaves / (1 - left)))
                left += leaves
                low = high
        return found

    def _loyalty(self, person: Person, record: Record, at_ms: int) -> Floats:
        born = min(person.birth_day, -1)
        if born not in self._priors:
            self._priors[born] = loyalty_prior(self._shop.config, self._shop.calendar, born)
        weights = self._priors[born]
        for asked_ms, score, refunded in record.scores:
            if asked_ms <= at_ms:
                weights = weights * np.array(score_likelihood(score, refunded))
        return weights

    def _exposed(self, person: Person, life: _Life, at_ms: int) -> float:
        day, rest = divmod(at_ms - self._shop.config.start_ms, DAY_MS)
        position = day - life.first_day
        if position < 0:
            return 0.0
        whole = float(life.exposure[position])
        if not rest:
            return whole
        return whole + float(life.exposure[position + 1] - whole) * self._shop.calendar.share_of_day(person.zone, at_ms)

    def _life(self, person: Person, messages: Sequence[Message] = (), response: int = LOST_CAUSE) -> _Life:
        known = self._lives.get(person.index)
        if known is None:
            shop = self._shop
            first = max(0, person.birth_day + 1)
            days = range(first, self._last_day + 2)
            exposure = np.concatenate([[0.0], np.cumsum(self._season[first:])])
            leaves = [hazards(shop.config, shop.calendar, person.birth_day, day) for day in days]
            known = self._lives[person.index] = _Life(first, exposure, 1 - np.array(leaves).reshape(-1, 3))
        if response != PERSUADABLE or not messages:
            return known
        config = self._shop.config
        pace, leaves_now = np.diff(known.exposure), 1 - known.survival
        for day, strength in lively_days(config, messages).items():
            position = day - known.first_day
            if 0 <= position < len(pace):
                pace[position] *= config.persuaded_visits**strength
                leaves_now[position] *= config.persuaded_dropout**strength
        return _Life(known.first_day, np.concatenate([[0.0], np.cumsum(pace)]), 1 - leaves_now)
