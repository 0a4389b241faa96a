"""The event of the part ``decode``: 400 bytes of JSON, and the typed decoder that all peers use."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import msgspec
from msgspec import Struct

BYTES = 400
SEED = 1


class Product(Struct, gc=False):
    """What was looked at."""

    product_id: str
    category: str
    price: float
    quantity: int


class Viewed(Struct, gc=False, rename="camel"):
    """A product was viewed."""

    type: str
    event: str
    user_id: str
    message_id: str
    timestamp: str
    properties: Product
    context: dict[str, str]


decode = msgspec.json.Decoder(Viewed).decode


def events(count: int, seed: int = SEED) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of so many events, each value 400 bytes; the same for the same seed.

    >>> {len(value) for _, value in events(100)}, decode(next(events(1))[1]).event
    ({400}, 'Product Viewed')
    """
    random, encode = Random(seed), msgspec.json.Encoder().encode
    for number in range(count):
        product = Product(f"p{random.randrange(2000)}", f"c{random.randrange(12)}", random.randrange(9000) / 100, 1)
        user = f"{random.randrange(10_000):05d}"
        event = Viewed(
            "track", "Product Viewed", user, f"m{number:09d}", "2026-01-01T00:00:00.000Z", product, {"page": ""}
        )
        event.context["page"] = "x" * (BYTES - len(encode(event)))
        yield user.encode(), encode(event)
