"""A shop that lives: customers come, buy, answer messages and leave; `advance` gives what the collector received.

A day's visits are planned when the day begins, from derived draws (randomness.py); each visit is decided and written when its time
comes, so a message that arrived before it can change it. Steps of `advance` may be of any size: without messages, many small
steps give the bytes of one large one.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from models.simulator.calendar import Calendar
from models.simulator.catalogue import Catalogue
from models.simulator.config import DAY_MS, Contact, Sent, ShopConfig, SimulationError
from models.simulator.decisions import Decisions
from models.simulator.envelope import Arrival, Properties, Writer
from models.simulator.guests import Guests
from models.simulator.ledger import Message, Record
from models.simulator.orders import Order, place
from models.simulator.population import AGENTS, Device, Person, Population
from models.simulator.randomness import derive, derive_text, poisson_many, uniform, uniform_many
from models.simulator.response import led_conversion, respond
from models.simulator.visit import Visit, VisitWriter

_DAY, _VISIT, _GUEST, _BOT, _CONTACT, _LED, _LEAVES, _REFUND, _CANCEL, _FAREWELL, _PERSUADED = range(11)


class Shop:
    """A simulated shop.

    Args:
        config: its known truth.
        written: write events; without, only the ledger is kept (several times as fast, for twin worlds).

    Attributes:
        records: what truly happened, by customer index.
        population: who the customers truly are.
        sent: the messages taken in, each at the instant it took effect.

    >>> shop = Shop(ShopConfig(customers=200, days=10))
    >>> events = shop.advance(shop.now_ms + 86_400_000)
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
        self._decisions = Decisions(config, self.catalogue, self.records)
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
        self._persuaded_by = np.zeros(count)  # strength of the last message that persuaded
        self._seen: set[int] = set()
        self.sent: list[Sent] = []
        self._strengths = dict(config.campaign_strength)
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
            raise SimulationError(
                f"until_ms {until_ms} is before the shop's present {self.now_ms}: advance only forward"
            )
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

    def silence(self) -> None:
        """Write no events from now on."""
        self._written = False
        self._waiting.clear()

    def customer(self, address: str) -> int | None:
        """The index of `u:USER` or `a:ANONYMOUS`, None for nobody the shop keeps track of."""
        return self._people.get(address)

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
        elif kind == _PERSUADED:
            self._persuaded_until[who] = self.day(at_ms) + self.config.effect_days
            self._persuaded_by[who] = what
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
            heappush(
                self._agenda, (people.persons[index].birth_ms, _VISIT, index, derive(int(people.keys[index]), 99), None)
            )
        active = people.there & (people.birth_day < day)
        early = 1 + config.honeymoon * np.exp(-np.maximum(day - people.birth_day, 0) / config.honeymoon_days)
        hazard = np.array(config.dropout_rates)[people.loyalty] * early * self.calendar.dropout(day)
        persuaded = self._persuaded_until >= day
        hazard = np.minimum(0.9, hazard) * np.where(persuaded, config.persuaded_dropout**self._persuaded_by, 1.0)
        gone = active & (uniform_many(people.keys, purpose, 1) < hazard)
        start_ms = config.start_ms + day * DAY_MS
        for index in np.flatnonzero(gone).tolist():
            self._leave(index, start_ms)
        means = (
            people.rate
            * self.calendar.visits(day)
            * np.where(persuaded, config.persuaded_visits**self._persuaded_by, 1.0)
        )
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
        index = person.index
        if not self.population.there[index]:
            return
        wish = self.calendar.conversion(self.day(at_ms))
        if led is not None:
            wish *= led_conversion(person.response, self.config.persuaded_conversion)
        elif self._persuaded_until[index] >= self.day(at_ms):
            wish *= self.config.persuaded_conversion ** float(self._persuaded_by[index])
        visit = self._decisions.visit(person, at_ms, word, led, wish)
        if visit.person is not None and visit.order is not None:
            order = visit.order
            if order.refund_at_ms >= 0:
                heappush(self._agenda, (order.refund_at_ms, _REFUND, index, word, order))
            elif order.cancel_at_ms >= 0:
                heappush(self._agenda, (order.cancel_at_ms, _CANCEL, index, word, order))
        self._write(visit)

    def _write(self, visit: Visit) -> None:
        if self._written:
            self._visits.write(visit)

    def _refund(self, person: Person, at_ms: int, word: int, order: Order) -> None:
        self.records[person.index].refunds.append((at_ms, order.at_ms))
        self._decisions.refunded.add(order.order_id)
        self._aside(person, word, 900, at_ms, "Order Refunded", _reversal(order))
        if uniform(word, 63) < self.config.refund_dropout:
            self._leave(person.index, at_ms)

    def _aside(self, person: Person, word: int, index: int, at_ms: int, name: str, properties: Properties) -> None:
        """An event that is no visit: from the back office or a mail service, marked by `context.channel` = server."""
        if self._written:
            user = person.user_id if person.registered_ms >= 0 else None
            device, server = person.devices[0], {"channel": "server"}
            self._writer.write(word, index, at_ms, device, person.zone, "track", name, properties, user, server)

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
        if word in self._seen:
            return
        self._seen.add(word)
        what = (contact.id, contact.campaign, contact.channel)
        at_ms = max(contact.issued_at, self.now_ms)
        self.sent.append(Sent(contact.id, contact.customer, contact.campaign, contact.channel, at_ms))
        heappush(self._agenda, (at_ms, _CONTACT, index, word, what))

    def _contacted(self, person: Person, at_ms: int, word: int, what: tuple[str, str, str]) -> None:
        trigger, campaign, channel = what
        if at_ms < person.birth_ms:
            return
        record, index = self.records[person.index], person.index
        strength = self._strengths.get(campaign, 1.0)
        recent = sum(at_ms - 7 * DAY_MS < message.at_ms for message in record.messages)
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
        bounced = response.calls[0].name == "Email Bounced"
        record.messages.append(
            Message(trigger, campaign, at_ms, channel, strength, phone, recent, bounced, response.opened_ms,
                    response.visit_ms, response.unsubscribes_ms)
        )  # fmt: skip
        if response.persuaded_ms >= 0:
            heappush(self._agenda, (response.persuaded_ms, _PERSUADED, index, word, strength))
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
