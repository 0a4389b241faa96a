"""The calls of one visit: pages, lists, products, cart, checkout, sign-in."""

from __future__ import annotations

from itertools import accumulate
from math import exp
from random import Random
from typing import NamedTuple

from models.simulator.calendar import ZONES
from models.simulator.catalogue import CATEGORIES, Catalogue, Product, pick
from models.simulator.envelope import Properties, Writer, iso
from models.simulator.orders import Order
from models.simulator.population import NORMAL, SOURCES, Device, Person
from models.simulator.randomness import derive
from models.simulator.texts import comment

_CATEGORY_WEIGHTS = tuple(accumulate(weight for _, weight, _ in CATEGORIES))
_STAY = 0.83  # P(the next click is in the same category)


class Answer(NamedTuple):
    """What a customer answers about an order at the start of a visit; -1 where not asked."""

    order: Order
    score: int
    rating: int


class Visit(NamedTuple):
    """Everything decided about a visit before its clicks are written."""

    key: int
    at_ms: int
    device: Device
    zone: int
    source: int
    favourite: int
    person: Person | None  # None: an anonymous guest
    signed_in: bool  # from the first call on
    signs_in: bool  # early in the visit
    signs_up: bool
    order: Order | None
    answer: Answer | None
    trigger: tuple[str, str, str] | None  # trigger id, campaign, channel of the message that led here


class VisitWriter:
    """Turns visits into calls."""

    def __init__(self, catalogue: Catalogue, writer: Writer) -> None:
        self._catalogue = catalogue
        self._writer = writer

    def write(self, visit: Visit) -> None:
        """Write all calls of a visit."""
        _Session(self._catalogue, self._writer, visit).run()

    def crawl(self, key: int, at_ms: int, device: Device) -> None:
        """Write a bot's visit: 30 to 120 product views, fractions of a second apart."""
        rng = Random(derive(key, 50))
        products = self._catalogue.products
        first = int(rng.random() * len(products))
        for index in range(30 + int(rng.random() * 91)):
            product = products[(first + index) % len(products)]
            page = {"page": _page(f"/p/{product.product_id}", product.name)}
            self._writer.write(key, index, at_ms, device, 2, "track", "Product Viewed", _product(product), None, page)
            at_ms += 80 + int(rng.random() * 500)


class _Session:
    __slots__ = ("_at", "_cart", "_catalogue", "_index", "_landing", "_rng", "_user", "_visit", "_writer")

    def __init__(self, catalogue: Catalogue, writer: Writer, visit: Visit) -> None:
        self._catalogue = catalogue
        self._writer = writer
        self._visit = visit
        self._rng = Random(derive(visit.key, 50))
        self._at = visit.at_ms
        self._index = 0
        self._user = visit.person.user_id if visit.person is not None and visit.signed_in else None
        self._cart: list[Product] = []
        if visit.trigger is not None:
            trigger, campaign, channel = visit.trigger
            self._landing: Properties = {"name": campaign, "source": "rapport", "medium": channel, "content": trigger}
        else:
            self._landing = {"source": SOURCES[visit.source], "medium": "web"}

    def _call(self, kind: str, name: str, properties: Properties, path: str, title: str = "") -> None:
        context: Properties = {"page": _page(path, title or name)}
        if self._index == 0:
            context["campaign"] = self._landing
        visit = self._visit
        self._writer.write(
            visit.key, self._index, self._at, visit.device, visit.zone, kind, name, properties, self._user, context
        )
        self._index += 1
        self._at += 400 + int(self._gap() * 1000)

    def _gap(self) -> float:
        """Seconds to the next click: about lognormal, median 25, from a logistic."""
        draw = 0.004 + 0.992 * self._rng.random()
        return 25.0 * float((draw / (1 - draw)) ** 0.6)

    def _track(self, name: str, properties: Properties, path: str) -> None:
        self._call("track", name, properties, path)

    def run(self) -> None:
        visit, rng = self._visit, self._rng
        self._call("page", "Home" if rng.random() < 0.7 else "Landing", {}, "/")
        if visit.signs_up and visit.person is not None:
            self._sign_up(visit.person)
        elif visit.signs_in and visit.person is not None:
            self._sign_in(visit.person)
        if visit.answer is not None:
            self._answer(visit.answer)
        self._browse(visit.order is not None)
        if visit.order is not None:
            self._buy(visit.order)

    def _sign_up(self, person: Person) -> None:
        self._user = person.user_id
        self._call("identify", "", self._traits(person), "/account/new")
        self._track("Signed Up", {"method": "email", "source": SOURCES[person.source]}, "/account/new")
        if self._rng.random() < 0.2:
            self._call("alias", "", {}, "/account/new")
        self._consents(person)
        if person.subscriber:
            self._track("Subscription Started", {"plan": "club", "price": 4.9, "currency": "EUR"}, "/club")

    def _sign_in(self, person: Person) -> None:
        self._user = person.user_id
        self._call("identify", "", self._traits(person), "/account")
        self._track("Signed In", {"method": "email"}, "/account")
        if person.company >= 0 and self._rng.random() < 0.3:
            traits: Properties = {"name": f"Company {person.company}", "industry": "retail"}
            self._call("group", f"C{person.company:03d}", traits, "/account")
        if person.existing:
            self._consents(person)

    def _consents(self, person: Person) -> None:
        if not person.consented:
            person.consented = True
            for channel, granted in (("email", person.consent_email), ("sms", person.consent_sms)):
                self._track("Consent Changed", {"channel": channel, "granted": granted}, "/account/consent")

    def _traits(self, person: Person) -> Properties:
        created = person.birth_ms if person.existing else person.registered_ms
        return {
            "email": person.email,
            "firstName": person.first_name,
            "timezone": ZONES[person.zone][0],
            "createdAt": iso(created),
            "source": SOURCES[person.source],
            "plan": "club" if person.subscriber else "free",
            "marketing_consent": person.consent_email,
        }

    def _answer(self, answer: Answer) -> None:
        product = answer.order.lines[0].product
        if answer.score >= 0:
            self._track(
                "Survey Answered",
                {
                    "survey_id": "nps",
                    "order_id": answer.order.order_id,
                    "score": answer.score,
                    "comment": comment(self._rng, answer.score, product.category),
                },
                "/survey",
            )
        if answer.rating > 0:
            self._track(
                "Product Reviewed",
                {
                    "product_id": product.product_id,
                    "review_id": f"R{answer.order.order_id[1:]}",
                    "rating": str(answer.rating),
                    "review_body": comment(self._rng, 2 * answer.rating, product.category),
                },
                f"/p/{product.product_id}/review",
            )

    def _browse(self, buys: bool) -> None:
        rng = self._rng
        clicks = max(1, min(120, round(4.4 * exp(1.05 * NORMAL.inv_cdf(0.0005 + 0.999 * rng.random()))))) - 1
        favourite = self._visit.favourite
        category = favourite if rng.random() < 0.6 else pick(_CATEGORY_WEIGHTS, rng.random())
        fresh = True
        for _ in range(clicks):
            if rng.random() > _STAY:
                category = favourite if rng.random() < 0.25 else pick(_CATEGORY_WEIGHTS, rng.random())
                fresh = True
            self._click(category, fresh and rng.random() < 0.7, buys)
            fresh = False
        if self._cart and not buys:
            self._abandon()

    def _click(self, category: int, listing: bool, buys: bool) -> None:
        rng = self._rng
        name = CATEGORIES[category][0]
        draw = rng.random()
        if listing:
            self._track("Product List Viewed", {"list_id": name, "category": name}, f"/c/{name}")
        elif draw < 0.07:
            self._track("Products Searched", {"query": name}, "/search")
        elif draw < 0.12:
            self._call("page", ("About", "Delivery", "Size guide", "Blog")[int(rng.random() * 4)], {}, "/info")
        elif draw < 0.16:
            promotion: Properties = {"promotion_id": f"promo-{name}", "creative": f"{name}-{int(rng.random() * 3)}"}
            self._track("Promotion Clicked" if rng.random() < 0.1 else "Promotion Viewed", promotion, f"/c/{name}")
        else:
            product = self._catalogue.product(category, rng.random())
            self._track("Product Viewed", _product(product), f"/p/{product.product_id}")
            if not buys and rng.random() < 0.07:
                self._cart.append(product)
                self._add(product, 1)

    def _cart_id(self) -> str:
        return f"K{self._visit.key:016x}"

    def _add(self, product: Product, quantity: int) -> None:
        properties = _product(product) | {"cart_id": self._cart_id(), "quantity": quantity}
        self._track("Product Added", properties, f"/p/{product.product_id}")

    def _abandon(self) -> None:
        rng = self._rng
        if rng.random() < 0.25:
            gone = self._cart.pop()
            self._track("Product Removed", _product(gone) | {"cart_id": self._cart_id(), "quantity": 1}, "/cart")
        if self._cart and rng.random() < 0.5:
            products = [_product(product) | {"quantity": 1} for product in self._cart]
            self._track("Cart Viewed", {"cart_id": self._cart_id(), "products": products}, "/cart")
            if rng.random() < 0.3:
                value = round(sum(product.price for product in self._cart), 2)
                checkout: Properties = {"order_id": f"O{self._visit.key:016x}", "value": value, "currency": "EUR"}
                self._track("Checkout Started", checkout | {"products": products}, "/checkout")

    def _buy(self, order: Order) -> None:
        visit = self._visit
        for line in order.lines[:12]:
            self._track("Product Viewed", _product(line.product), f"/p/{line.product.product_id}")
            self._add(line.product, line.quantity)
        products = [line.properties() for line in order.lines]
        self._track("Cart Viewed", {"cart_id": self._cart_id(), "products": products}, "/cart")
        paid: Properties = {"order_id": order.order_id, "value": order.total, "currency": "EUR", "products": products}
        self._track("Checkout Started", paid, "/checkout")
        if visit.person is not None and self._user is None:
            self._sign_in(visit.person)
        step: Properties = {"checkout_id": order.order_id, "step": 1}
        self._track("Checkout Step Completed", step, "/checkout/1")
        if order.discount:
            self._track("Coupon Applied", {"coupon_id": "TEN", "order_id": order.order_id}, "/checkout/1")
        self._track("Payment Info Entered", {"checkout_id": order.order_id, "order_id": order.order_id}, "/checkout/2")
        completed: Properties = {
            "order_id": order.order_id,
            "total": order.total,
            "revenue": round(order.total - order.shipping, 2),
            "shipping": order.shipping,
            "discount": order.discount,
            "currency": "EUR",
            "products": products,
        }
        if visit.trigger is not None:
            completed["trigger_id"] = visit.trigger[0]
        self._track("Order Completed", completed, "/checkout/done")


def _page(path: str, title: str) -> Properties:
    return {"path": path, "url": f"https://shop.example{path}", "title": title}


def _product(product: Product) -> Properties:
    return {
        "product_id": product.product_id,
        "name": product.name,
        "category": product.category,
        "brand": product.brand,
        "price": product.price,
        "currency": "EUR",
    }
