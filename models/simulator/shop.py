"""A shop that lives: customers come, buy, answer messages and leave; `advance` gives what the collector received.

A day's visits are planned when the day begins, from derived draws (randomness.py); each visit is decided and written when its time
comes, so a message that arrived before it can change it. Steps of `advance` may be of any size: without messages, many small
steps give the bytes of one large one.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from math import exp
from typing import Any

import numpy as np

from models.simulator.calendar import Calendar
from models.simulator.catalogue import Catalogue, pick
from models.simulator.config import DAY_MS, Contact, ShopConfig, SimulationError
from models.simulator.envelope import Arrival, Properties, Writer
from models.simulator.guests import Guests
from models.simulator.ledger import Record
from models.simulator.orders import Order, place
from models.simulator.population import AGENTS, Device, Person, Population
from models.simulator.randomness import derive, derive_text, poisson_many, uniform, uniform_many
from models.simulator.response import led_conversion, respond
from models.simulator.scores import cumulated
from models.simulator.visit import Answer, Visit, VisitWriter

_DAY, _VISIT, _GUEST, _BOT, _CONTACT, _LED, _LEAVES, _REFUND, _CANCEL, _FAREWELL = range(10)
_ANSWER_AFTER_MS = 3 * DAY_MS


class Shop:
    """A simulated shop.

    Args:
        config: its known truth.
        written: write events; without, only the ledger is kept (several times as fast, for twin worlds).

    Attributes:
        records: what truly happened, by customer index.
        population: who the customers truly are.

    >>> shop = Shop(ShopConfig(customers=50, days=10))
    >>> events = shop.advance(shop.now_ms + DAY_MS)
    >>> len(events) > 10, events[0][:8]
    (True, b'{"type":')
    """

    def __init__(self, config: ShopConfig, *, written: bool = True) -> None:
        self.config = config
        self.now_ms = config.start_ms
        self._key = derive(derive(0x5EED, config.seed % 2**62), 1)
        self._future = 0
        self._future_day = 1 << 40
        self.calendar = Calendar(config)
        self.catalogue = Catalogue(derive(self._key, 3))
        self.population = Population(config, self.calendar, derive(self._key, 4))
        self.records = [Record() for _ in self.population.persons]
        self._writer = Writer(config)
        self._written = written
        self._visits = VisitWriter(self.catalogue, self._writer)
        self._guests = Guests(config, self.calendar, derive(self._key, 5))
        self._agenda: list[tuple[int, int, int, int, Any]] = []
        self._waiting: list[Arrival] = []
        self._births: dict[int, list[int]] = {}
        for person in self.population.persons:
            if not person.existing:
                self._births.setdefault(person.birth_day, []).append(person.index)
        count = config.customers
        self._persuaded_until = np.full(count, -1, dtype=np.int64)  # day index
        self._unasked: dict[int, Order] = {}
        self._sent: set[int] = set()
        self._strengths = dict(config.campaign_strength)
        self._refunded: set[str] = set()
        self._people = {f"u:{person.user_id}": person.index for person in self.population.persons}
        for person in self.population.persons:
            for device in person.devices:
                self._people[f"a:{device.anonymous_id}"] = person.index
        heappush(self._agenda, (config.start_ms, _DAY, 0, 0, None))

    def advance(self, until_ms: int, triggers: Sequence[Contact] = ()) -> list[bytes]:
        """Let the shop live up to and including `until_ms`.

        Args:
            until_ms: epoch milliseconds, not before the shop's present.
            triggers: messages sent since the last call; each takes effect at its `issued_at`, or now if that is past.

        Returns:
            Segment calls as JSON, in order of arrival, of those that arrived after the last `until_ms` up to this one.

        Raises:
            SimulationError: `until_ms` lies in the past.
        """
        if until_ms < self.now_ms:
            raise SimulationError(f"until_ms {until_ms} is before the shop's present {self.now_ms}: advance only forward")
        for trigger in triggers:
            self._send(trigger)
        agenda = self._agenda
        while agenda and agenda[0][0] <= until_ms:
            at_ms, kind, who, word, what = heappop(agenda)
            self._happen(at_ms, kind, who, word, what)
        self.now_ms = until_ms
        return self._arrived(until_ms)

    def reseed(self, future: int) -> None:
        """Draw the lives from tomorrow on (UTC) anew: same people, same past, another future. 0 is the first one."""
        self._future = future
        self._future_day = (self.now_ms - self.config.start_ms) // DAY_MS + 1

    def day(self, at_ms: int) -> int:
        """The index of the UTC day of an instant; the shop's first day is 0."""
        return (at_ms - self.config.start_ms) // DAY_MS

    def _arrived(self, until_ms: int) -> list[bytes]:
        self._waiting += self._writer.arrivals
        self._writer.arrivals.clear()
        self._waiting.sort(key=_arrival)
        low, high = 0, len(self._waiting)
        while low < high:
            middle = (low + high) // 2
            if self._waiting[middle].received_ms <= until_ms:
                low = middle + 1
            else:
                high = middle
        ready = [arrival.data for arrival in self._waiting[:low]]
        del self._waiting[:low]
        return ready

    def _happen(self, at_ms: int, kind: int, who: int, word: int, what: Any) -> None:
        if kind == _DAY:
            self._begin_day(who)
        elif kind == _VISIT:
            self._visit(self.population.persons[who], at_ms, word, None)
        elif kind == _GUEST:
            self._guest(at_ms, word, who)
        elif kind == _BOT:
            self._visits.crawl(word, at_ms, self._guests.bots[who])
        elif kind == _CONTACT:
            self._contacted(self.population.persons[who], at_ms, word, what)
        elif kind == _LED:
            self._visit(self.population.persons[who], at_ms, word, what)
        elif kind == _LEAVES:
            self._leave(who, at_ms)
        elif kind == _REFUND:
            self._refund(self.population.persons[who], at_ms, word, what)
        elif kind == _CANCEL:
            self.records[who].cancelled.append(at_ms)
            self.records[who].cancelled_orders.append(what.at_ms)
            self._aside(self.population.persons[who], word, 901, at_ms, "Order Cancelled", _reversal(what))
        else:
            self.records[who].left_in_words_ms = at_ms
            self._aside(self.population.persons[who], word, 902, at_ms, "Subscription Cancelled", {"plan": "club"})

    def _draw(self, day: int) -> int:
        """The purpose of a day's draws; another one in a re-drawn future."""
        return day if day < self._future_day or not self._future else day + (self._future << 20)

    def _begin_day(self, day: int) -> None:
        config, people = self.config, self.population
        heappush(self._agenda, (config.start_ms + (day + 1) * DAY_MS, _DAY, day + 1, 0, None))
        purpose = self._draw(day)
        for index in self._births.get(day, ()):
            heappush(self._agenda, (people.persons[index].birth_ms, _VISIT, index, derive(int(people.keys[index]), 99), None))
        active = people.there & (people.birth_day < day)
        early = 1 + config.honeymoon * np.exp(-np.maximum(day - people.birth_day, 0) / config.honeymoon_days)
        hazard = np.array(config.dropout_rates)[people.loyalty] * early * self.calendar.dropout(day)
        persuaded = self._persuaded_until >= day
        hazard = np.minimum(0.9, hazard) * np.where(persuaded, config.persuaded_dropout, 1.0)
        gone = active & (uniform_many(people.keys, purpose, 1) < hazard)
        start_ms = config.start_ms + day * DAY_MS
        for index in np.flatnonzero(gone).tolist():
            self._leave(index, start_ms)
        means = people.rate * self.calendar.visits(day) * np.where(persuaded, config.persuaded_visits, 1.0)
        counts = poisson_many(uniform_many(people.keys, purpose, 2), means)
        counts[~active | gone] = 0
        for index in np.flatnonzero(counts).tolist():
            person = people.persons[index]
            for number in range(int(counts[index])):
                word = derive(person.key, purpose, 100 + number)
                heappush(
                    self._agenda, (self.calendar.time(day, person.zone, uniform(word, 1)), _VISIT, index, word, None)
                )
        for at_ms, word in self._guests.arrive(day):
            heappush(self._agenda, (at_ms, _GUEST, 0, word, None))
        if self._written:
            for at_ms, bot, word in self._guests.crawls(day):
                heappush(self._agenda, (at_ms, _BOT, bot, word, None))

    def _leave(self, index: int, at_ms: int) -> None:
        if not self.population.there[index]:
            return
        self.population.there[index] = False
        record, person = self.records[index], self.population.persons[index]
        record.left_ms = at_ms
        if record.subscribed and uniform(person.key, 40) < self.config.cancel_on_dropout:
            later = at_ms + int(uniform(person.key, 41) * DAY_MS)
            heappush(self._agenda, (later, _FAREWELL, index, derive(person.key, 42), None))

    def _visit(self, person: Person, at_ms: int, word: int, led: tuple[str, str, str] | None) -> None:
        if not self.population.there[person.index]:
            return
        config, record = self.config, self.records[person.index]
        first = not person.existing and not record.visits and not record.led
        if led is None and not first and uniform(word, 2) < config.stray_share:
            record.hidden += 1
            self._write(
                Visit(word, at_ms, Device(config, derive(word, 3)), person.zone, person.source, person.favourite,
                      None, False, False, False, None, None, None)
            )  # fmt: skip
            return
        device, owner = self._device(person, word)
        leaks = owner != person.index and led is None and uniform(word, 5) < config.leak_share
        if leaks:
            self.records[owner].visits.append(at_ms)
            record.hidden += 1
            self._write(
                Visit(word, at_ms, device, person.zone, person.source, person.favourite,
                      None, False, False, False, None, None, None)
            )  # fmt: skip
            return
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
        order = self._order(person, at_ms, word, led) if person.signed_up else None
        if signs_up or signs_in or signed_in or order is not None:
            if record.registered_ms < 0:
                record.registered_ms = person.registered_ms = at_ms
                record.subscribed = person.subscriber
            if device.first_user < 0:
                device.first_user = person.index
        self._write(
            Visit(word, at_ms, device, person.zone, person.source, person.favourite, person, signed_in, signs_in,
                  signs_up, order, answer, led)
        )  # fmt: skip

    def _write(self, visit: Visit) -> None:
        if self._written:
            self._visits.write(visit)

    def _device(self, person: Person, word: int) -> tuple[Device, int]:
        """The device of a visit and the index of its owner."""
        shared = person.shared
        draw = uniform(word, 4)
        if person.signed_up and shared is not None and shared.first_user == person.index - 1 and draw < 0.5:
            return shared, person.index - 1
        if person.signed_up and len(person.devices) > 1 and draw > 0.7:
            return person.devices[1], person.index
        return person.devices[0], person.index

    def _order(self, person: Person, at_ms: int, word: int, led: tuple[str, str, str] | None) -> Order | None:
        day = self.day(at_ms)
        factor = self.calendar.conversion(day)
        if led is not None:
            factor *= led_conversion(person.response, self.config.persuaded_conversion)
        elif self._persuaded_until[person.index] >= day:
            factor *= self.config.persuaded_conversion
        orders = self.records[person.index].orders
        if orders and self.config.sated_days > 0:
            factor *= 1 - exp((orders[-1][0] - at_ms) / (self.config.sated_days * DAY_MS))
        if uniform(word, 8) >= min(0.9, factor / (1 + exp(-person.conversion_logit))):
            return None
        coupon = led is not None or uniform(word, 9) < 0.08
        order = place(self.config, self.catalogue, word, at_ms, person.favourite, person.budget, coupon)
        record = self.records[person.index]
        record.orders.append((at_ms, order.total))
        record.led_orders += led is not None
        self._unasked[person.index] = order
        if order.refund_at_ms >= 0:
            heappush(self._agenda, (order.refund_at_ms, _REFUND, person.index, word, order))
        elif order.cancel_at_ms >= 0:
            heappush(self._agenda, (order.cancel_at_ms, _CANCEL, person.index, word, order))
        return order

    def _answer(self, person: Person, at_ms: int, word: int) -> Answer | None:
        """Asked once per order, at the first visit three days after it or later."""
        order = self._unasked.get(person.index)
        if order is None or at_ms < order.at_ms + _ANSWER_AFTER_MS:
            return None
        del self._unasked[person.index]
        score = rating = -1
        if uniform(word, 10) < self.config.survey_share:
            refunded = order.order_id in self._refunded
            score = pick(cumulated(person.loyalty, refunded), uniform(word, 11))
            self.records[person.index].scores.append((at_ms, score, refunded))
        if uniform(word, 12) < self.config.review_share:
            rating = min(5, max(1, round(3.9 + order.lines[0].product.quality + 2.4 * (uniform(word, 13) - 0.5))))
        return Answer(order, score, rating) if score >= 0 or rating >= 0 else None

    def _refund(self, person: Person, at_ms: int, word: int, order: Order) -> None:
        self.records[person.index].refunds.append((at_ms, order.at_ms))
        self._refunded.add(order.order_id)
        self._aside(person, word, 900, at_ms, "Order Refunded", _reversal(order))
        if uniform(word, 63) < self.config.refund_dropout:
            self._leave(person.index, at_ms)

    def _aside(self, person: Person, word: int, index: int, at_ms: int, name: str, properties: Properties) -> None:
        """An event that is no visit: from the back office or a mail service."""
        if self._written:
            user = person.user_id if person.registered_ms >= 0 else None
            self._writer.write(word, index, at_ms, person.devices[0], person.zone, "track", name, properties, user)

    def _guest(self, at_ms: int, word: int, number: int) -> None:
        again_ms = self._guests.returns_ms(word, number, at_ms)
        if again_ms >= 0:
            heappush(self._agenda, (again_ms, _GUEST, number + 1, word, None))
        if not self._written:
            return
        key, favourite = derive(word, 6, number), int(uniform(word, 7) * 10)
        order = None
        if uniform(key, 8) < self.config.guest_conversion * self.calendar.conversion(self.day(at_ms)):
            order = place(self.config, self.catalogue, key, at_ms, favourite, 0.9, False)
        device = Device(self.config, derive(word, 8))
        zone, source = self._guests.zone(word), self._guests.source(word)
        self._write(Visit(key, at_ms, device, zone, source, favourite, None, False, False, False, order, None, None))

    def _send(self, contact: Contact) -> None:
        index = self._people.get(contact.customer)
        if index is None:
            return
        word = derive(derive_text(self.population.persons[index].key, contact.id), self._future)
        if word in self._sent:
            return
        self._sent.add(word)
        what = (contact.id, contact.campaign, contact.channel)
        heappush(self._agenda, (max(contact.issued_at, self.now_ms), _CONTACT, index, word, what))

    def _contacted(self, person: Person, at_ms: int, word: int, what: tuple[str, str, str]) -> None:
        trigger, campaign, channel = what
        record, index = self.records[person.index], person.index
        strength = self._strengths.get(campaign, 1.0)
        recent = sum(at_ms - 7 * DAY_MS < at for at, _, _ in record.contacts)
        record.contacts.append((at_ms, channel, strength))
        phone = AGENTS[person.devices[0].agent][0] == "mobile"
        there = bool(self.population.there[index])
        response = respond(
            self.config, word, at_ms, channel, strength, person.response, phone, there, person.scanner, recent
        )
        properties: Properties = {"trigger_id": trigger, "campaign_id": campaign, "channel": channel}
        if channel == "email":
            properties["email_id"] = trigger
        for number, call in enumerate(response.calls):
            self._aside(person, word, 910 + number, call.at_ms, call.name, properties)
        if response.opened_ms >= 0:
            record.opened.append(response.opened_ms)
        if response.persuaded_ms >= 0:
            until = self.day(response.persuaded_ms) + self.config.effect_days
            self._persuaded_until[index] = max(self._persuaded_until[index], until)
        if response.unsubscribes_ms >= 0 and record.unsubscribed_ms < 0:
            record.unsubscribed_ms = response.unsubscribes_ms
        if response.visit_ms >= 0:
            heappush(self._agenda, (response.visit_ms, _LED, index, derive(word, 70), what))
        if response.leaves_ms >= 0:
            heappush(self._agenda, (response.leaves_ms, _LEAVES, index, word, None))


def _reversal(order: Order) -> Properties:
    return {
        "order_id": order.order_id,
        "total": order.total,
        "currency": "EUR",
        "products": [line.properties() for line in order.lines],
    }


def _arrival(arrival: Arrival) -> tuple[int, str, int]:
    return arrival.received_ms, arrival.message_id, arrival.copy
