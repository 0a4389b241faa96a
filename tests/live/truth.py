"""The same input for several live tests, and what must have come of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache

import msgspec

from models.policy.reading import read
from models.profile.profile import Profile
from models.simulator.config import DAY_MS, ShopConfig
from models.simulator.shop import Shop
from schemas.intake import Intake
from schemas.routing import RAW_TOPICS
from tests.live.cluster import Installation, Truth, from_outside
from tests.support import BUSY

TRIGGERS = ("offers", "nudges", "leads", "replies", "recommendations")
SOURCES = tuple(f"{topic}/0" for topic in RAW_TOPICS)


@cache
def shop(customers: int = 150, days: int = 10) -> tuple[bytes, ...]:
    """The calls of a simulated shop, in order of arrival."""
    world = Shop(ShopConfig(seed=4, customers=customers, days=days))
    return tuple(world.advance(world.config.start_ms + days * DAY_MS))


def differing(found: dict[str, Profile], true: dict[str, Profile]) -> dict[str, object]:
    """The fields in which profiles differ, of the first few customers."""
    differences: dict[str, object] = {}
    for customer in sorted({*found, *true}):
        one, other = found.get(customer), true.get(customer)
        if one is None or other is None:
            differences[customer] = (one, other)
        elif one != other:
            differences[customer] = {
                name: (getattr(one, name), getattr(other, name))
                for name in Profile.__struct_fields__
                if getattr(one, name) != getattr(other, name)
            }
    return dict(list(differences.items())[:3])


def once(installation: Installation, topic: str) -> list[bytes]:
    """What a topic holds without repeats, in order of first appearance; with transactions there are none to drop."""
    values = installation.values(topic)
    first = list(dict.fromkeys(values))
    if installation.job.transactions:
        assert first == values, f"repeats on {topic}"
    return first


def told(installation: Installation, topic: str) -> list[bytes]:
    """What a subscriber that drops repeats by their ids is told; equal ids have equal bytes."""
    first = once(installation, topic)
    assert len({*map(_identity, first)}) == len(first), f"an id with two contents on {topic}"
    return first


def _identity(value: bytes) -> tuple[str, str]:
    found = msgspec.json.decode(value)
    return ("goal of", found["decision"]) if found.get("kind") == "conversion" else ("", found["id"])


def repeats(installation: Installation, *topics: str) -> int:
    """How many records of these topics were there before."""
    return sum(len(values) - len({*values}) for values in map(installation.values, topics))


def same_as_truth(installation: Installation, lines: Sequence[bytes]) -> Truth:
    """The log holds every input, and outputs and state are what that log leads to.

    Where the broker has no transactions, log and outputs may hold repeats, and nothing is otherwise than without them.
    """
    log = once(installation, "events")
    truth = Truth(read(BUSY, "busy"), SOURCES).run(log)
    intake = Intake()
    expected = Counter(event.id for raw in lines for event in intake.read(raw, None, "x").events)
    derived = Counter(event.id for event in from_outside(log))
    assert (expected - derived, derived - expected) == (Counter(), Counter())  # lost, doubled
    assert told(installation, "decisions") == truth.decisions
    for topic in TRIGGERS:
        assert told(installation, topic) == [value for name, value in truth.triggers if name == topic]
    assert truth.triggers
    assert differing(installation.profiles(), truth.profiles) == {}
    assert installation.timers() == truth.timers()
    return truth
