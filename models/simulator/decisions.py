"""What a customer does at a visit: on which device, known or not, buying or not, answering a survey or not."""

from __future__ import annotations

from math import exp

from models.simulator.catalogue import Catalogue, pick
from models.simulator.config import DAY_MS, ShopConfig
from models.simulator.ledger import Record
from models.simulator.orders import Order, place
from models.simulator.population import Device, Person
from models.simulator.randomness import derive, uniform
from models.simulator.scores import cumulated
from models.simulator.visit import Answer, Visit

_ANSWER_AFTER_MS = 3 * DAY_MS


class Decisions:
    """Decides visits, by draws of their own, and enters them in the ledger.

    Attributes:
        refunded: ids of orders refunded so far; they lower the survey's score.
    """

    def __init__(self, config: ShopConfig, catalogue: Catalogue, records: list[Record]) -> None:
        self._config = config
        self._catalogue = catalogue
        self._records = records
        self._unasked: dict[int, Order] = {}
        self.refunded: set[str] = set()

    def visit(self, person: Person, at_ms: int, word: int, led: tuple[str, str, str] | None, wish: float) -> Visit:
        """A customer's visit; `led` is the message that led to it, `wish` the factor on the chance of an order."""
        config, record = self._config, self._records[person.index]
        first = not person.existing and not record.visits and not record.led
        nameless = Visit(
            word, at_ms, person.devices[0], person.zone, person.source, person.favourite,
            None, False, False, False, None, None, None,
        )  # fmt: skip
        if led is None and not first and uniform(word, 2) < config.stray_share:
            record.hidden += 1
            return nameless._replace(device=Device(config, derive(word, 3)))
        device, owner = self._device(person, word)
        if owner != person.index and led is None and uniform(word, 5) < config.leak_share:
            self._records[owner].visits.append(at_ms)
            record.hidden += 1
            return nameless._replace(device=device)
        (record.visits if led is None else record.led).append(at_ms)
        signs_up = not person.signed_up and uniform(word, 6) < config.sign_up
        signed_in = signs_in = False
        if signs_up:
            person.signed_up = True
        elif person.signed_up:
            linked = device.first_user >= 0
            signed_in = linked and (owner != person.index or uniform(word, 7) < config.signed_in_share)
            signs_in = not linked or (not signed_in and uniform(word, 7) < 1.3 * config.signed_in_share)
        answer = self._answer(person, at_ms, word) if signed_in or signs_in else None
        order = self._order(person, at_ms, word, led is not None, wish) if person.signed_up else None
        if signs_up or signs_in or signed_in or order is not None:
            if record.registered_ms < 0:
                record.registered_ms = person.registered_ms = at_ms
                record.subscribed = person.subscriber
            if device.first_user < 0:
                device.first_user = person.index
        return nameless._replace(
            device=device,
            person=person,
            signed_in=signed_in,
            signs_in=signs_in,
            signs_up=signs_up,
            order=order,
            answer=answer,
            trigger=led,
        )

    def _device(self, person: Person, word: int) -> tuple[Device, int]:
        """The device of a visit and the index of its owner."""
        shared = person.shared
        draw = uniform(word, 4)
        if person.registered_ms >= 0 and shared is not None and shared.first_user == person.index - 1 and draw < 0.5:
            return shared, person.index - 1
        if person.signed_up and len(person.devices) > 1 and draw > 0.7:
            return person.devices[1], person.index
        return person.devices[0], person.index

    def _order(self, person: Person, at_ms: int, word: int, led: bool, wish: float) -> Order | None:
        record = self._records[person.index]
        if record.orders and self._config.sated_days > 0:
            wish *= 1 - exp((record.orders[-1][0] - at_ms) / (self._config.sated_days * DAY_MS))
        if uniform(word, 8) >= min(0.9, wish / (1 + exp(-person.conversion_logit))):
            return None
        coupon = led or uniform(word, 9) < 0.08
        order = place(self._config, self._catalogue, word, at_ms, person.favourite, person.budget, coupon)
        record.orders.append((at_ms, order.total))
        record.led_orders += led
        self._unasked[person.index] = order
        return order

    def _answer(self, person: Person, at_ms: int, word: int) -> Answer | None:
        """Asked once per order, at the first visit three days after it or later."""
        order = self._unasked.get(person.index)
        if order is None or at_ms < order.at_ms + _ANSWER_AFTER_MS:
            return None
        del self._unasked[person.index]
        score = rating = -1
        if uniform(word, 10) < self._config.survey_share:
            refunded = order.order_id in self.refunded
            score = pick(cumulated(person.loyalty, refunded), uniform(word, 11))
            self._records[person.index].scores.append((at_ms, score, refunded))
        if uniform(word, 12) < self._config.review_share:
            rating = min(5, max(1, round(3.9 + order.lines[0].product.quality + 2.4 * (uniform(word, 13) - 0.5))))
        return Answer(order, score, rating) if score >= 0 or rating >= 0 else None
