"""The whole stream on Apache Kafka and Valkey: exact state and every trigger once, whatever dies when."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest

from models.policy.reading import read
from models.profile.profile import Profile
from models.simulator.config import DAY_MS, ShopConfig
from models.simulator.shop import Shop
from schemas.intake import Intake
from schemas.routing import RAW_TOPICS
from streams.embedded import Valkey
from tests.live.cluster import Installation, Job, Truth, from_outside
from tests.live.kafka import Elsewhere, KafkaServer
from tests.support import BUSY

pytestmark = pytest.mark.kafka

SOURCES = tuple(f"{topic}/0" for topic in RAW_TOPICS)
POINTS = ("taken", "stepped", "committed", "sent", "offsets", "transaction", "published")


@cache
def shop(customers: int = 150, days: int = 10) -> tuple[bytes, ...]:
    """The calls of a simulated shop, in order of arrival."""
    world = Shop(ShopConfig(seed=4, customers=customers, days=days))
    return tuple(world.advance(world.config.start_ms + days * DAY_MS))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("valkey")) as valkey:
        yield valkey


Install = Callable[..., Installation]


@pytest.fixture
def install(kafka: KafkaServer | Elsewhere, store: Valkey, tmp_path: Path) -> Iterator[Install]:
    made: list[Installation] = []

    def make(
        partitions: int = 1, campaigns: str = BUSY, raw: tuple[str, ...] = RAW_TOPICS, **settings: object
    ) -> Installation:
        name = f"t{uuid4().hex[:10]}"
        folder = tmp_path / name
        folder.mkdir()
        job = Job(kafka.bootstrap, store.url, name, f"{name}-", campaigns, raw=raw, **settings)  # type: ignore[arg-type]
        made.append(Installation(job, partitions, folder))
        return made[-1]

    yield make
    for one in made:
        one.__exit__()


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


def same_as_truth(installation: Installation, lines: tuple[bytes, ...]) -> Truth:
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


def test_the_recorded_log_gives_the_streams_bytes(install: Install) -> None:
    installation = install()
    worker = installation.start()
    installation.play(shop())
    installation.wait()
    installation.stop(worker)
    same_as_truth(installation, shop())


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_point_loses_and_doubles_nothing(install: Install, point: str) -> None:
    installation = install(records=120, session_s=1.5)
    installation.play(shop())
    for after in (1, 3, 7) if point != "taken" else (1, 1, 1):
        worker = installation.start(die_at=point, die_after=after)
        assert worker.wait(60) == -9, installation.logs()
    installation.start()
    installation.wait()
    same_as_truth(installation, shop())


def test_workers_that_come_and_go_lose_and_double_nothing(install: Install) -> None:
    installation = install(records=60, session_s=1.5)
    first = installation.start()
    installation.started(first)
    installation.play(shop())
    second = installation.start()
    installation.started(second)
    time.sleep(1)
    installation.stop(first)
    third = installation.start()
    installation.started(third)
    second.kill()
    installation.wait()
    installation.stop(third)
    same_as_truth(installation, shop())
