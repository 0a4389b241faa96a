"""The people: what is true of each, and never written to the stream.

Rates and loyalty live on a finite grid, so that the posterior given a history is a finite sum (truth.py). Response type and
willingness to buy are independent of both, so that neither orders nor traits tell about them beyond what truth.py counts.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from math import exp, log
from statistics import NormalDist

import numpy as np

from models.simulator.calendar import ZONES, Calendar
from models.simulator.catalogue import pick
from models.simulator.config import DAY_MS, ShopConfig
from models.simulator.randomness import Bools, Floats, Ints, Words, derive, derive_many, uniform

NORMAL = NormalDist()
_EDGES = (*(i / 20 for i in range(20)), 0.97, 0.99, 0.999, 1.0)
PERSUADABLE, SURE_THING, LOST_CAUSE, SLEEPING_DOG = range(4)
RESPONSES = ("persuadable", "sure thing", "lost cause", "sleeping dog")
SOURCES = ("newsletter", "search", "social", "referral", "ads")
SOURCE_WEIGHTS = tuple(accumulate((0.2, 0.34, 0.18, 0.1, 0.18)))
_RESPONSE_WEIGHTS = tuple(
    tuple(accumulate(weights))
    for weights in (
        (0.45, 0.30, 0.15, 0.10),
        (0.22, 0.38, 0.32, 0.08),
        (0.25, 0.20, 0.25, 0.30),
        (0.15, 0.60, 0.20, 0.05),
        (0.20, 0.20, 0.50, 0.10),
    )
)  # by source: so that a model can learn from traits whom a message moves
ZONE_WEIGHTS = tuple(accumulate(weight for _, weight in ZONES))
AGENTS = (
    (
        "mobile",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1",
    ),
    ("mobile", "Mozilla/5.0 (Linux; Android 15; Pixel 8) AppleWebKit/537.36 Chrome/139.0.0.0 Mobile Safari/537.36"),
    ("desktop", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/139.0.0.0 Safari/537.36"),
    ("desktop", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.5 Safari/605.1.15"),
    ("desktop", "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0"),
    ("bot", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/139.0.0.0 Safari/537.36"),
)
_AGENT_WEIGHTS = tuple(accumulate((0.32, 0.26, 0.24, 0.12, 0.06)))


def rate_grid(config: ShopConfig) -> tuple[Floats, Floats]:
    """Visit rates per day and their prior weights, both of shape (23,): quantiles of a lognormal, finer in the tail."""
    middles = [(low + high) / 2 for low, high in pairwise(_EDGES)]
    rates = [exp(log(config.visit_rate_median) + config.visit_rate_sigma * NORMAL.inv_cdf(q)) for q in middles]
    return np.array(rates), np.diff(np.array(_EDGES))


def hazards(config: ShopConfig, calendar: Calendar, birth_day: int, day: int) -> Floats:
    """The chance, by class of loyalty, that a customer born on `birth_day` leaves at the start of `day`, shape (3,)."""
    early = 1 + config.honeymoon * exp(-(day - birth_day) / config.honeymoon_days)
    factor = early * (calendar.dropout(day) if day >= 0 else 1.0)
    return np.asarray(np.minimum(0.9, np.array(config.dropout_rates) * factor))


def response_prior(config: ShopConfig, source: int, consent_email: bool, consent_sms: bool) -> Floats:
    """P(response type | source, consents), shape (4,): all that is known before the first message."""
    cumulated = np.array(_RESPONSE_WEIGHTS[source])
    weights = np.diff(cumulated, prepend=0.0)
    for response in range(4):
        email, sms = consent_chances(config, response)
        weights[response] *= (email if consent_email else 1 - email) * (sms if consent_sms else 1 - sms)
    return np.asarray(weights / weights.sum())


def consent_chances(config: ShopConfig, response: int) -> tuple[float, float]:
    """P(consents to e-mail), P(consents to SMS): sleeping dogs more rarely."""
    chance = min(1.0, config.consent_share * (0.6 if response == SLEEPING_DOG else 1.05))
    return chance, chance * 0.5


def loyalty_prior(config: ShopConfig, calendar: Calendar, birth_day: int) -> Floats:
    """Prior weights of the classes of loyalty, shape (3,), given that the customer is there when the log begins."""
    weights = np.array(config.dropout_weights)
    for day in range(birth_day + 1, 0):
        weights = weights * (1 - hazards(config, calendar, birth_day, day))
    return np.asarray(weights / weights.sum())


class Device:
    """A browser: an anonymous id, its clock's error, and who signed in on it first."""

    __slots__ = ("agent", "anonymous_id", "first_user", "signed_in", "skew_ms")

    def __init__(self, config: ShopConfig, key: int) -> None:
        word = derive(key, 1)
        self.anonymous_id = f"{word:016x}"
        self.agent = pick(_AGENT_WEIGHTS, uniform(key, 2))
        self.first_user = -1
        self.signed_in = -1
        self.skew_ms = 0
        if uniform(key, 3) < config.skewed_share:
            self.skew_ms = int((2 * uniform(key, 4) - 1) ** 3 * 2 * DAY_MS)


class Person:
    """One customer: what never changes, and what the shop has come to know."""

    __slots__ = (
        "birth_day", "birth_ms", "budget", "company", "consent_email", "consent_sms", "consented", "conversion_logit",
        "devices", "email", "existing", "favourite", "first_name", "index", "key", "loyalty", "open_order", "rate_class",
        "registered_ms", "response", "scanner", "shared", "signed_up", "source", "subscriber", "subscribed_ms", "user_id",
        "zone",
    )  # fmt: skip

    def __init__(self, config: ShopConfig, calendar: Calendar, index: int, key: int, priors: dict[int, Floats]) -> None:
        self.index = index
        self.key = key
        self.user_id = f"{index + 1:06d}"
        self.first_name = _NAMES[int(uniform(key, 30) * len(_NAMES))]
        self.email = f"{self.first_name.lower()}.{index + 1}@example.com"
        self.existing = uniform(key, 1) < config.existing_share
        if self.existing:
            self.birth_day = -1 - min(720, int(-180 * log(1 - uniform(key, 2))))
            self.birth_ms = config.start_ms + self.birth_day * DAY_MS + int(uniform(key, 3) * DAY_MS)
        else:
            self.birth_day = int(uniform(key, 2) * config.days)
        self.zone = pick(ZONE_WEIGHTS, uniform(key, 4))
        if not self.existing:
            self.birth_ms = calendar.time(self.birth_day, self.zone, uniform(key, 3))
        born = min(self.birth_day, -1)
        if born not in priors:
            priors[born] = loyalty_prior(config, calendar, born)
        self.loyalty = pick(tuple(accumulate(priors[born].tolist())), uniform(key, 5))
        self.rate_class = pick(_EDGES[1:], uniform(key, 6))
        self.source = pick(SOURCE_WEIGHTS, uniform(key, 7))
        self.response = pick(_RESPONSE_WEIGHTS[self.source], uniform(key, 8))
        mean = min(max(config.conversion_mean, 1e-6), 1 - 1e-6)
        self.conversion_logit = log(mean / (1 - mean)) + config.conversion_spread * _normal(uniform(key, 9))
        self.budget = exp(0.35 * _normal(uniform(key, 10)))
        self.favourite = int(uniform(key, 11) * 10)
        self.subscriber = uniform(key, 12) < config.subscriber_share
        email, sms = consent_chances(config, self.response)
        self.consent_email = uniform(key, 13) < email
        self.consent_sms = uniform(key, 14) < sms
        self.scanner = uniform(key, 15) < 0.04
        self.company = int(uniform(key, 17) * 40) if uniform(key, 16) < 0.04 else -1
        self.devices = [Device(config, derive(key, 20))]
        if uniform(key, 18) < 0.35:
            self.devices.append(Device(config, derive(key, 21)))
        self.shared: Device | None = None
        self.signed_up = self.existing
        self.registered_ms = -1
        self.subscribed_ms = -1
        self.consented = False
        self.open_order = -1


class Population:
    """All customers, with the arrays that a day of the shop is computed from; shapes (customers,)."""

    def __init__(self, config: ShopConfig, calendar: Calendar, seed_key: int) -> None:
        count = config.customers
        self.keys: Words = derive_many(np.full(count, derive(seed_key, 1), dtype=np.uint64), 0)
        self.keys = derive_many(self.keys ^ np.arange(count, dtype=np.uint64), 1)
        priors: dict[int, Floats] = {}
        keys = self.keys.tolist()
        self.persons = [Person(config, calendar, index, keys[index], priors) for index in range(count)]
        for person in self.persons[1::2]:
            if uniform(person.key, 19) < 2 * config.shared_device_share:
                person.shared = self.persons[person.index - 1].devices[0]
        self.grid, self.grid_weights = rate_grid(config)
        self.rate: Floats = self.grid[np.array([person.rate_class for person in self.persons])]
        self.loyalty: Ints = np.array([person.loyalty for person in self.persons])
        self.birth_day: Ints = np.array([person.birth_day for person in self.persons])
        self.there: Bools = np.ones(count, dtype=np.bool_)


def _normal(draw: float) -> float:
    return NORMAL.inv_cdf(0.0005 + 0.999 * draw)


_NAMES = (
    "Ada", "Ben", "Chen", "Dora", "Emil", "Fatma", "Goran", "Hana", "Igor", "Jana", "Kofi", "Lena", "Mika", "Nora",
    "Omar", "Pia", "Quinn", "Rosa", "Sven", "Tara", "Uma", "Vera", "Wim", "Yara", "Zoe",
)  # fmt: skip
