"""Orders: what is in the basket, what it comes to, what becomes of it."""

from __future__ import annotations

from math import exp
from random import Random
from typing import Any, NamedTuple

from models.simulator.catalogue import Catalogue, Product
from models.simulator.config import DAY_MS, HOUR_MS, ShopConfig
from models.simulator.population import NORMAL
from models.simulator.randomness import derive, uniform

REFUND_AFTER_DAYS = 2.0
REFUND_WITHIN_DAYS = 12.0  # a refund comes 2 to 14 days after the order, uniformly
CANCEL_WITHIN_MS = 6 * HOUR_MS


class Line(NamedTuple):
    """A product and how many of it."""

    product: Product
    quantity: int

    def properties(self) -> dict[str, Any]:
        """As an entry of Segment's `products`."""
        product = self.product
        return {
            "product_id": product.product_id,
            "name": product.name,
            "category": product.category,
            "brand": product.brand,
            "price": product.price,
            "quantity": self.quantity,
        }


class Order(NamedTuple):
    """An order; amounts in EUR."""

    order_id: str
    at_ms: int
    total: float
    shipping: float
    discount: float
    lines: tuple[Line, ...]
    refund_at_ms: int  # -1: never
    cancel_at_ms: int  # -1: never


def place(
    config: ShopConfig, catalogue: Catalogue, key: int, at_ms: int, favourite: int, budget: float, coupon: bool
) -> Order:
    """The order of a visit that converts: heavy-tailed in lines and quantities."""
    rng = Random(derive(key, 60))
    wish = budget * exp(0.6 * NORMAL.inv_cdf(0.0005 + 0.999 * rng.random()))
    lines: list[Line] = []
    for _ in range(max(1, min(25, round(1.4 * wish)))):
        category = favourite if rng.random() < 0.6 else int(rng.random() * 10)
        quantity = 1 if rng.random() < 0.85 else 2 + int(rng.random() ** 2 * 3)
        lines.append(Line(catalogue.product(category, rng.random()), quantity))
    goods = sum(line.product.price * line.quantity for line in lines)
    discount = round(goods * 0.1, 2) if coupon else 0.0
    shipping = 0.0 if goods >= 60 else 4.9
    fate = uniform(key, 61)
    refund_at = cancel_at = -1
    if fate < config.cancel_share:
        cancel_at = at_ms + HOUR_MS // 5 + int(uniform(key, 62) * (CANCEL_WITHIN_MS - HOUR_MS // 5))
    elif fate < config.cancel_share + config.refund_share:
        refund_at = at_ms + int((REFUND_AFTER_DAYS + REFUND_WITHIN_DAYS * uniform(key, 62)) * DAY_MS)
    total = round(goods - discount + shipping, 2)
    return Order(f"O{key:016x}", at_ms, total, shipping, discount, tuple(lines), refund_at, cancel_at)
