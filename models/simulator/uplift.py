"""The true effect of messages: the same people, the same luck, with and without.

Customers do not influence one another (but for a shared device, whose visits may be credited to its owner), so one pair of worlds
gives both potential outcomes (Rubin, 1974) of every customer at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import NamedTuple

import numpy as np

from models.simulator.config import Contact, ShopConfig, SimulationError
from models.simulator.ledger import Record
from models.simulator.randomness import Floats
from models.simulator.shop import Shop


class Outcome(NamedTuple):
    """What a customer did in a window; also a difference or a mean of such."""

    silent: float  # 1: no activity
    visits: float
    orders: float
    bought: float  # 1: at least one order
    spent: float  # EUR, before refunds
    left: float  # 1: gone for good at the end of the window
    unsubscribed: float  # 1: off the list at the end of the window

    def minus(self, other: Outcome) -> Outcome:
        """The difference, field by field."""
        return Outcome(*(mine - its for mine, its in zip(self, other, strict=True)))


class Twin(NamedTuple):
    """Both potential outcomes of one contact, in the window that begins when it was issued."""

    contact: Contact
    customer: int
    response: int  # an index of population.RESPONSES
    treated: Outcome
    control: Outcome

    @property
    def effect(self) -> Outcome:
        """Treated minus control."""
        return self.treated.minus(self.control)


def observe(record: Record, after_ms: int, until_ms: int) -> Outcome:
    """What happened to a customer in (after_ms, until_ms].

    >>> observe(Record(visits=[5], orders=[(5, 10.0)]), 0, 9)
    Outcome(silent=0.0, visits=1.0, orders=1.0, bought=1.0, spent=10.0, left=0.0, unsubscribed=0.0)
    """
    visits = sum(after_ms < at <= until_ms for at in record.visits + record.led)
    orders = [total for at, total in record.orders if after_ms < at <= until_ms]
    return Outcome(
        float(visits == 0),
        float(visits),
        float(len(orders)),
        float(bool(orders)),
        round(sum(orders), 2),
        float(0 <= record.left_ms <= until_ms),
        float(0 <= record.unsubscribed_ms <= until_ms),
    )


def potential_outcomes(
    config: ShopConfig, contacts: Sequence[Contact], window_ms: int, background: Sequence[Contact] = ()
) -> list[Twin]:
    """Both outcomes of each contact in the world of this config and seed.

    Args:
        config: the shop.
        contacts: at most one per customer; `Shop.sent` of a finished run gives the instants at which they took effect.
        window_ms: milliseconds from `issued_at` over which outcomes are taken.
        background: messages that both worlds receive.

    Returns:
        One Twin per contact whose customer the shop knows, in the order given. The mean of `effect` over them is the true
        average effect in this world; over the treated only, the effect on the treated.

    Raises:
        SimulationError: two contacts go to the same customer.

    >>> potential_outcomes(ShopConfig(customers=10), [], 86_400_000)
    []
    """
    if not contacts:
        return []
    customers = [contact.customer for contact in contacts]
    if len(set(customers)) < len(customers):
        raise SimulationError("two contacts go to the same customer: give at most one each, the rest as background")
    end = max(contact.issued_at for contact in contacts) + window_ms
    with_it, without = Shop(config, written=False), Shop(config, written=False)
    with_it.advance(end, [*background, *contacts])
    without.advance(end, background)
    return _twins(with_it, without, contacts, window_ms)


def expected_effects(
    shop: Shop, contacts: Sequence[Contact], window_ms: int, futures: int = 16
) -> tuple[list[Twin], Floats]:
    """Effects of contacts sent now, averaged over re-drawn futures: what could be known of them now, at best.

    Args:
        shop: as it stands now; it is not changed. Its past, people and pending refunds stay; its days from tomorrow on vary.
        contacts: at most one per customer, issued at the shop's present.
        window_ms: milliseconds over which outcomes are taken.
        futures: how many futures; the standard error of an effect falls with their square root.

    Returns:
        Twins with mean outcomes, and the effects of each future, shape (futures, contacts, fields of Outcome).
    """
    runs = []
    base = deepcopy(shop)
    base.silence()
    for future in range(1, futures + 1):
        worlds = []
        for messages in (contacts, ()):
            world = deepcopy(base)
            world.reseed(future)
            world.advance(shop.now_ms + window_ms, messages)
            worlds.append(world)
        runs.append(_twins(worlds[0], worlds[1], contacts, window_ms))
    treated = np.array([[twin.treated for twin in run] for run in runs])
    control = np.array([[twin.control for twin in run] for run in runs])
    means = [
        twin._replace(
            treated=Outcome(*treated[:, i].mean(0).tolist()), control=Outcome(*control[:, i].mean(0).tolist())
        )
        for i, twin in enumerate(runs[0])
    ]
    return means, treated - control


def _twins(with_it: Shop, without: Shop, contacts: Sequence[Contact], window_ms: int) -> list[Twin]:
    twins = []
    for contact in contacts:
        index = without.customer(contact.customer)
        if index is not None:
            after, until = contact.issued_at, contact.issued_at + window_ms
            treated = observe(with_it.records[index], after, until)
            control = observe(without.records[index], after, until)
            twins.append(Twin(contact, index, without.population.persons[index].response, treated, control))
    return twins
