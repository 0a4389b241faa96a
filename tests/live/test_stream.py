"""The whole stream on Apache Kafka and Valkey: exact state and every trigger once, whatever dies when."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from models.policy.reading import read
from models.profile.profile import Profile
from schemas.intake import Intake
from schemas.routing import RAW_TOPICS
from streams.embedded import Valkey
from streams.run import Run
from tests.live.cluster import Installation, Job
from tests.live.kafka import Elsewhere, KafkaServer
from tests.live.truth import same_as_truth, shop
from tests.support import BUSY

pytestmark = pytest.mark.kafka

POINTS = ("taken", "stepped", "committed", "sent", "offsets", "transaction", "published")


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


def test_merges_between_partitions_survive_kills(install: Install) -> None:
    """A device's profile and its stragglers reach the user's partition once, whatever dies on the way."""
    installation = install(partitions=3, records=40, session_s=1.5)
    installation.play(shop())
    for point, after in (("committed", 9), ("sent", 11), ("transaction", 13), ("published", 9)):
        assert installation.start(die_at=point, die_after=after).wait(60) == -9, installation.logs()
    installation.start()
    installation.wait()
    run, intake = Run(read(BUSY, "busy")), Intake()
    run.drain(event for raw in shop() for event in intake.read(raw, None, "x").events)
    found = installation.profiles()
    linked = [customer for customer, profile in run.profiles.items() if profile.linked]
    assert len(linked) > 20
    assert {c: found[c].linked for c in linked} == {c: run.profiles[c].linked for c in linked}
    assert {c: sums(profile) for c, profile in found.items()} == {c: sums(p) for c, p in run.profiles.items()}


def sums(profile: Profile) -> tuple[int, ...]:
    """What does not depend on when a hand-over arrived."""
    return profile.activity.events, profile.orders.count, profile.orders.total_micros
