"""Visitors who stay nameless, and bots."""

from __future__ import annotations

from math import exp, log, sqrt
from statistics import NormalDist

import numpy as np

from models.simulator.calendar import Calendar
from models.simulator.catalogue import pick
from models.simulator.config import DAY_MS, ShopConfig
from models.simulator.population import SOURCE_WEIGHTS, ZONE_WEIGHTS, Device
from models.simulator.randomness import derive, poisson_many, uniform

_RETURN_DAYS = 5.0


class Guests:
    """The anonymous crowd: who comes newly on a day, and who returns.

    >>> config = ShopConfig(customers=1000)
    >>> len(Guests(config, Calendar(config), 3).arrive(0)) > 5
    True
    """

    def __init__(self, config: ShopConfig, calendar: Calendar, key: int) -> None:
        self._config = config
        self._calendar = calendar
        self._key = key
        self.bots = [Device(config, derive(key, 1, bot)) for bot in range(config.bots)]
        for bot in self.bots[::2]:
            bot.agent = 5
        mean_rate = config.visit_rate_median * exp(config.visit_rate_sigma**2 / 2)
        self._new = config.guests_per_customer_day * config.customers
        visits = self._new / max(0.05, 1 - config.guest_return) + 0.55 * mean_rate * config.customers
        self._crawls = config.bot_share * visits

    def arrive(self, day: int) -> list[tuple[int, int]]:
        """New guests of a day: when, and the key of each."""
        key = derive(self._key, 2, day)
        found = []
        for number in range(_poisson(uniform(key, 1), self._new * self._calendar.visits(day))):
            word = derive(key, 2, number)
            found.append((self._calendar.time(day, self.zone(word), uniform(word, 1)), word))
        return found

    def crawls(self, day: int) -> list[tuple[int, int, int]]:
        """Bots' visits of a day: when, which bot, and the key of each."""
        key = derive(self._key, 3, day)
        found = []
        for number in range(_poisson(uniform(key, 1), self._crawls)):
            word = derive(key, 2, number)
            at_ms = self._config.start_ms + day * DAY_MS + int(uniform(word, 1) * DAY_MS)
            found.append((at_ms, int(uniform(word, 2) * len(self.bots)), word))
        return found

    def zone(self, word: int) -> int:
        """A guest's time zone, an index of calendar.ZONES."""
        return pick(ZONE_WEIGHTS, uniform(word, 2))

    def source(self, word: int) -> int:
        """Where a guest came from, an index of population.SOURCES."""
        return pick(SOURCE_WEIGHTS, uniform(word, 3))

    def returns_ms(self, word: int, number: int, at_ms: int) -> int:
        """When a guest comes again after visit `number`; -1 for never."""
        if uniform(word, 4, number) >= self._config.guest_return:
            return -1
        return at_ms + int(-_RETURN_DAYS * DAY_MS * log(1 - uniform(word, 5, number))) + 1


def _poisson(draw: float, mean: float) -> int:
    if mean > 500:
        return max(0, round(mean + sqrt(mean) * NormalDist().inv_cdf(min(max(draw, 1e-12), 1 - 1e-12))))
    return int(poisson_many(np.array([draw]), np.array([mean]))[0])
