"""Input for the limits: raw records of made-up customers in order of time, and a state of any number of customers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from random import Random

from msgspec.structs import replace

from benchmarks.machine import say
from benchmarks.speed import records
from models.profile.profile import Profile, encode
from schemas.base import DAY_MS
from schemas.intake import Intake
from streams.commands.examples import example_settings
from streams.publishers import partition_of
from streams.redis_store import RedisStore
from streams.run import Run
from streams.store import Commit, Position

START = 1_767_225_600_000  # 2026-01-01
SPAN_MS = 10 * DAY_MS
CHUNK = 5_000
SIGNALS = ("cart_left", "browse_left", "checkout_left", "churn_risk", "ordered", "joined", "lead_ready", "gone_quiet")

CAMPAIGN = """
[[campaign]]
id = "c{number}"
signal = "{signal}"
topic = "{topic}"
mode = "live"
when = ["cart_value >= {least}", "visits >= 1"]
value = "order_value"
caps = [{{most = 1, within = "7d"}}]
max_age = "10d"
{delay}
actions = [{{id = "mail", channel = "email", cost = 0.01}}, {{id = "push", channel = "push", cost = 0.01}}]
"""
POLICY = """
[policy]
consent = "allow"
customer_caps = [{most = 2, within = "7d"}]
global_holdout = 0.02
"""


def campaigns(count: int, one_signal: bool = False, delay: str = "") -> str:
    """A file of so many live campaigns, spread over eight signals, or all on ``cart_left``.

    Parameters
    ----------
    delay
        How long each waits after its signal, such as ``2h``.
    """
    return POLICY + "".join(
        CAMPAIGN.format(
            number=number,
            signal="cart_left" if one_signal else SIGNALS[number % len(SIGNALS)],
            topic=("offers", "nudges")[number % 2],
            least=number % 40,
            delay=f'delay = "{delay}"' if delay else "",
        )
        for number in range(count)
    )


def lines(
    count: int,
    who: Callable[[Random], str],
    seed: int = 1,
    start: int = START,
    span_ms: int = SPAN_MS,
    products: int = 2_000,
) -> Iterator[bytes]:
    """``count`` Segment records, over ten days by default: looks, carts, checkouts and orders of whoever ``who`` draws."""
    random = Random(seed)
    for number in range(count):
        at = start + number * span_ms // count
        product, price = f"p{random.randrange(products)}", random.randrange(500, 9000) / 100
        item = {"product_id": product, "category": f"k{random.randrange(12)}", "price": price, "quantity": 1}
        draw = random.random()
        if draw < 0.7:
            name, properties = "Product Viewed", {**item, "currency": "EUR"}
        elif draw < 0.9:
            name, properties = "Product Added", {**item, "currency": "EUR"}
        elif draw < 0.95:
            name, properties = "Checkout Started", {"value": price, "currency": "EUR", "products": [item]}
        else:
            properties = {"order_id": f"o{number}", "total": price, "currency": "EUR", "products": [item]}
            name = "Order Completed"
        seconds, ms = divmod(at, 1000)
        yield json.dumps(
            {
                "type": "track",
                "event": name,
                "userId": who(random),
                "messageId": f"m{number}",
                "timestamp": _iso(seconds, ms),
                "properties": properties,
            }
        ).encode()


def _iso(seconds: int, ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{ms:03d}Z"


def patterns(count: int = 40_000) -> list[Profile]:
    """Profiles of known customers as a run over the simulated shop leaves them."""
    run, intake = Run(example_settings()), Intake()
    run.drain(event for n, raw in enumerate(records(count)) for event in intake.read(raw, None, f"x:{n}").events)
    return [profile for profile in run.profiles.values() if profile.customer[0] == "u"]


async def fill(store: RedisStore, customers: int, partitions: int, identities: list[str], due: int) -> dict[str, int]:
    """Store so many customers, each a copy of one of ``patterns`` with its periodic scoring due at ``due`` (milliseconds UTC).

    Returns
    -------
    dict
        Timers and bytes of profiles that were stored.
    """
    held = patterns()
    parts: list[list[str]] = [[] for _ in range(partitions)]
    for number in range(customers):
        customer = f"u:{number}"
        parts[partition_of(customer.encode(), partitions)].append(customer)
    timers = size = 0
    for p, who in enumerate(parts):
        token = (await store.take(p)).token
        for seq, first in enumerate(range(0, len(who), CHUNK)):
            made, set_ = {}, {}
            for customer in who[first : first + CHUNK]:
                pattern = held[int(customer[2:]) % len(held)]
                kinds = (("score", due),)
                made[customer] = encode(
                    replace(pattern, customer=customer, timers=kinds, clock=min(pattern.clock, due))
                )
                set_.update({(customer, kind): at for kind, at in kinds})
                size += len(made[customer])
            timers += len(set_)
            commit = Commit(token, seq, Position(0), b"", identities[p], profiles=made, timers=set_)
            await store.commit(p, commit)
        say(f"  partition {p}: {len(who):,} customers stored")
    return {"customers": customers, "timers": timers, "profile_bytes": size}
