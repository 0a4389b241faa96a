"""The goods: 120 products in ten categories, with prices and popularity.

Prices are lognormal within a category; popularity is a Zipf law flattened so that the top tenth of the products draws the same
share of views as in the clothing shop of 2008 (docs/simulator.md).
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import exp
from statistics import NormalDist
from typing import NamedTuple

from models.simulator.randomness import derive, uniform

CATEGORIES = (
    ("dresses", 1.25, 48.0),
    ("shirts", 1.2, 27.0),
    ("trousers", 1.1, 42.0),
    ("shoes", 1.0, 68.0),
    ("jackets", 0.8, 95.0),
    ("knitwear", 0.8, 44.0),
    ("sports", 0.7, 36.0),
    ("bags", 0.6, 58.0),
    ("jewellery", 0.5, 24.0),
    ("home", 0.5, 19.0),
)  # name, weight, typical price in EUR
_PER_CATEGORY = 12
_NORMAL = NormalDist()


class Product(NamedTuple):
    """One product; `quality` in -1..1 moves the stars of its reviews."""

    product_id: str
    name: str
    category: str
    brand: str
    price: float
    quality: float


def pick(cumulated: tuple[float, ...], draw: float) -> int:
    """The index drawn by a uniform from cumulated weights.

    >>> pick((1.0, 3.0, 4.0), 0.5)
    1
    """
    return min(bisect_right(cumulated, draw * cumulated[-1]), len(cumulated) - 1)


class Catalogue:
    """The products of a shop.

    >>> len(Catalogue(1).products)
    120
    """

    def __init__(self, seed_key: int) -> None:
        brands = ("Aster", "Birk", "Corvid", "Dune", "Elm")
        products = []
        for category, (name, _, price) in enumerate(CATEGORIES):
            for rank in range(_PER_CATEGORY):
                key = derive(seed_key, category, rank)
                value = price * exp(0.6 * _NORMAL.inv_cdf(0.001 + 0.998 * uniform(key, 1)))
                products.append(
                    Product(
                        f"P{category}{rank:02d}",
                        f"{brands[int(uniform(key, 2) * 5)]} {name} {rank + 1}",
                        name,
                        brands[int(uniform(key, 2) * 5)],
                        round(max(2.0, value)) - 0.05,
                        2 * uniform(key, 3) - 1,
                    )
                )
        self.products = tuple(products)
        self.popularity = tuple(accumulate((rank + 2.0) ** -1.15 for rank in range(_PER_CATEGORY)))
        self.category_weights = tuple(weight for _, weight, _ in CATEGORIES)

    def product(self, category: int, draw: float) -> Product:
        """A product of a category, drawn by popularity."""
        return self.products[category * _PER_CATEGORY + pick(self.popularity, draw)]
