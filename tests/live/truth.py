"""The same input for several live tests, and what must have come of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache

from models.policy.reading import read
from models.profile.profile import Profile
from models.simulator.config import DAY_MS, ShopConfig
from models.simulator.shop import Shop
from schemas.intake import Intake
from schemas.routing import RAW_TOPICS
from tests.live.cluster import Installation, Truth, from_outside
from tests.support import BUSY

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


def same_as_truth(installation: Installation, lines: Sequence[bytes]) -> Truth:
    """The log holds every input once, and outputs and state are what that log leads to."""
    log = installation.values("events")
    truth = Truth(read(BUSY, "busy"), SOURCES).run(log)
    intake = Intake()
    expected = Counter(event.id for raw in lines for event in intake.read(raw, None, "x").events)
    derived = Counter(event.id for event in from_outside(log))
    assert derived == expected
    assert installation.values("decisions") == truth.decisions
    for topic in ("offers", "nudges", "leads", "replies", "recommendations"):
        assert installation.values(topic) == [value for name, value in truth.triggers if name == topic]
    assert truth.triggers
    assert differing(installation.profiles(), truth.profiles) == {}
    assert installation.timers() == truth.timers()
    return truth
