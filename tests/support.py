"""What several test files share: a seeded stream of every kind of event, a busy configuration, and a recorded run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import msgspec

from models.learning.learner import Example
from models.policy.reading import Settings, read
from models.profile.profile import Profile
from schemas import clickstream as c
from schemas import control, feedback, identity, outcomes
from schemas import transactions as t
from schemas.base import DAY_MS, HOUR_MS, MINUTE_MS, Event
from schemas.decisions import Conversion, Decision
from schemas.money import Item, Money
from streams.run import Run

START = 1_700_000_000_000 // DAY_MS * DAY_MS
CATEGORIES = ("shoes", "hats", "books", "garden")
ZONES = ("Europe/Paris", "America/New_York", "Asia/Kolkata", "")

BUSY = """
[engine]
seed = 7
scoring_days = 2
[engine.churn]
horizon_days = 4
honeymoon_days = 5
cadence_min_days = 2
[engine.funnel]
sampling_share = 1.0
sampling_days = 1
contact_days = 2
[engine.engagement]
horizon_days = 2
sampling_days = 1

[policy]
timezone = "Europe/London"
consent = "allow"
quiet_hours = {start = "21:30", end = "07:15"}
customer_caps = [{most = 4, within = "3d"}]
channel_caps = {email = [{most = 2, within = "1d"}]}
global_holdout = 0.05

[[campaign]]
id = "cart"
signal = "cart_left"
topic = "nudges"
mode = "live"
when = ["cart_value >= 10"]
value = "cart_value"
caps = [{most = 1, within = "12h"}]
holdout = 0.2
expires_after = "14h"
actions = [
    {id = "mail", channel = "email", cost = 0.01, prior_effect = 0.05},
    {id = "text", channel = "sms", cost = 0.4, prior_effect = 0.08},
]

[[campaign]]
id = "browse"
signal = "browse_left"
topic = "nudges"
mode = "live"
budget_per_day = 0.05
value = 5
actions = [{id = "mail", channel = "email", cost = 0.01}]

[[campaign]]
id = "win-back"
signal = "churn_risk"
topic = "nudges"
mode = "live"
when = ["churn.late >= 0.2"]
value = "order_value"
holdout = 0.3
actions = [{id = "mail", channel = "email"}]

[[campaign]]
id = "thanks"
signal = "ordered"
topic = "offers"
mode = "live"
value = 1
goal = {event = "visit", window = "2d"}
quiet_hours = false
actions = [{id = "push", channel = "push"}]

[[campaign]]
id = "cart-shadow"
signal = "cart_left"
topic = "nudges"
mode = "shadow"
actions = [{id = "mail", channel = "email"}]

[[campaign]]
id = "welcome"
signal = "contact_left"
topic = "leads"
mode = "live"
value = 2
actions = [{id = "call", channel = "phone"}]
"""

OWN_MODEL = "own_model.BayesLogistic"
OWN = f"""
[engine.models.churn]
prior = 0.5
[engine.models.churn.estimator]
name = "{OWN_MODEL}"
allow = ["{OWN_MODEL}"]
params = {{memory = 0.999}}
[engine.models.buys.estimator]
name = ["river.preprocessing.StandardScaler", "{OWN_MODEL}"]
allow = ["{OWN_MODEL}"]
"""
FOREST = """
[engine.models.churn]
prior = 0.5
[engine.models.churn.estimator]
name = "river.forest.ARFClassifier"
params = {n_models = 3, grace_period = 20}
"""
# not installed: found as PYTHONPATH=examples/own_model would have it
sys.path.append(str(Path(__file__).parents[1] / "examples" / "own_model"))

E = TypeVar("E", bound=Event)


def busy(extra: str = "") -> Settings:
    """Campaigns on every signal and horizons of days, so that a short stream passes through everything."""
    return read(BUSY + extra)


def make(kind: type[E], at: int, customer: str = "u:1", id: str = "", **fields: Any) -> E:  # noqa: A002 - the field's name
    """An event with an id made from what it is."""
    fields.setdefault("received_at", at)
    return kind(id=id or f"{kind.__name__}-{customer}-{at}", customer=customer, occurred_at=at, **fields)


def eur(amount: float | str) -> Money:
    """Money in the reporting currency."""
    return Money(Decimal(str(amount)), "EUR")


def add(at: int, customer: str = "u:1", price: str = "20", product: str = "p", **fields: Any) -> t.CartChanged:
    """A unit put into the cart."""
    return make(t.CartChanged, at, customer, item=Item(product=product, price=Decimal(price)), currency="EUR", **fields)


def order(at: int, customer: str = "u:1", total: str = "20", number: str = "", **fields: Any) -> t.OrderCompleted:
    """An order of its own."""
    return make(t.OrderCompleted, at, customer, order=number or f"o-{customer}-{at}", total=eur(total), **fields)


def stream(seed: int, size: int, customers: int = 60, days: int = 25) -> list[Event]:
    """Mixed events of users and devices in order of (occurred_at, id): visits, carts, orders, links, consents, the rest.

    Parameters
    ----------
    size
        Events, about.
    """
    random = Random(seed)
    events: list[Event] = []
    while len(events) < size:
        number = random.randrange(customers)
        customer = f"u:{number}" if random.random() < 0.6 else f"a:{number}"
        at = START + int(random.random() ** 1.3 * days * DAY_MS)
        events.extend(_visit(random, customer, number, at, f"{seed}-{len(events)}"))
    return sorted(events, key=lambda event: (event.occurred_at, event.id))


def _visit(random: Random, customer: str, number: int, at: int, prefix: str) -> Iterator[Event]:
    delay = random.choice((0, 0, 50, 4000, 3 * HOUR_MS if random.random() < 0.1 else 0))
    channel = random.choice(("web", "app", "store"))
    for step in range(random.randrange(1, 9)):
        at += random.randrange(0, 8 * MINUTE_MS, 500)
        common: dict[str, Any] = {
            "id": f"{prefix}-{step}",
            "customer": customer,
            "occurred_at": at,
            "received_at": at + delay,
            "channel": channel,
        }
        yield _event(random, number, common)


def _event(random: Random, number: int, common: dict[str, Any]) -> Event:
    product = f"p{random.randrange(12)}"
    category = random.choice(CATEGORIES)
    price = Decimal(random.randrange(100, 9000)) / 100
    item = Item(product=product, category=category, price=price, quantity=random.randrange(1, 4))
    money = Money(price, random.choice(("EUR", "EUR", "EUR", "USD")))
    number_of_order = f"o{number}-{random.randrange(6)}"
    makers: list[tuple[float, Any]] = [
        (10, lambda: c.PageViewed(**common)),
        (4, lambda: c.ProductListViewed(**common, category=category)),
        (12, lambda: c.ProductViewed(**common, product=product, category=category, price=money)),
        (3, lambda: c.ProductsSearched(**common, query=product)),
        (2, lambda: c.WishlistChanged(**common, product=product, category=category)),
        (1, lambda: c.SignedUp(**common)),
        (1, lambda: c.FormSubmitted(**common, contact=random.random() < 0.5, request=True)),
        (9, lambda: t.CartChanged(**common, item=item, currency="EUR", added=random.random() < 0.8)),
        (2, lambda: t.CartViewed(**common)),
        (3, lambda: t.CheckoutStarted(**common, value=money, items=(item,))),
        (1, lambda: t.CheckoutAdvanced(**common)),
        (5, lambda: t.OrderCompleted(**common, order=number_of_order, total=money, items=(item,))),
        (0.5, lambda: t.OrderRefunded(**common, order=number_of_order, total=money)),
        (0.5, lambda: t.SubscriptionChanged(**common, status=random.choice(("started", "cancelled")))),
        (0.5, lambda: feedback.SurveyAnswered(**common, score=random.randrange(11))),
        (0.5, lambda: feedback.ProductReviewed(**common, product=product, rating=random.randrange(11))),
        (1, lambda: outcomes.OutcomeReported(**common, outcome=random.choice(("opened", "clicked", "unsubscribed")))),
        (1, lambda: identity.ConsentChanged(**common, granted=random.random() < 0.8, scope=random.choice("*e"))),
        (0.2, lambda: identity.ConsentChanged(**common, granted=random.random() < 0.6, purpose="profiling")),
        (1, lambda: identity.Identified(**common, email=random.random() < 0.3, timezone=random.choice(ZONES))),
        (1, lambda: identity.Linked(**common, user=f"u:{number + random.randrange(2)}")),
        (0.1, lambda: identity.ErasureRequested(**common)),
        (1, lambda: control.Custom(**common, name="played")),
    ]
    chosen = random.choices(makers, [weight for weight, _ in makers])[0][1]
    event: Event = chosen()
    return event


class Recorded:
    """A run with everything that it gave out, encoded in order."""

    def __init__(self, settings: Settings, quiet: bool = False) -> None:
        self.decisions: list[Decision] = []
        self.conversions: list[Conversion] = []
        self.examples: list[Example] = []
        self.run = Run(settings, self.decisions.append, self.conversions.append, self.examples.append, quiet)

    def feed(self, events: Iterable[Event], until: int | None = None) -> Recorded:
        """Step over the events."""
        self.run.drain(events, until)
        return self

    def profile(self, customer: str = "u:1") -> Profile:
        """A customer's profile now."""
        return self.run.profiles[customer]

    def given(self) -> tuple[bytes, bytes, bytes]:
        """Decisions, conversions and examples as bytes."""
        encode = msgspec.msgpack.encode
        return encode(self.decisions), encode(self.conversions), encode(self.examples)

    def figures(self) -> bytes:
        """All progressive figures as bytes."""
        models = self.run.learner.models
        return msgspec.msgpack.encode(
            {name: {t: m.figures() for t, m in models[name].metrics.items()} for name in sorted(models)}
        )


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a page, or of a part of one."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
