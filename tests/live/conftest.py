"""What the live tests share: a broker of each kind, a store, and installations on them that are cleaned away."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from streams.embedded import Broker, Valkey
from tests.live.cluster import Installation, Job
from tests.live.kafka import Elsewhere, KafkaServer, missing
from tests.support import BUSY

KINDS = (pytest.param("embedded", marks=pytest.mark.live), pytest.param("kafka", marks=pytest.mark.kafka))

Install = Callable[..., Installation]


@dataclass(frozen=True)
class Shared:
    """A running broker that tests share, each with topics of its own.

    Parameters
    ----------
    bootstrap
        ``host:port``
    transactions
        Whether it has them.
    """

    bootstrap: str
    transactions: bool


@pytest.fixture(scope="session", params=KINDS)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Every kind of broker, one after the other: a test that asks for it runs on each."""
    if request.param == "kafka":
        yield Shared(request.getfixturevalue("kafka").bootstrap, transactions=True)
        return
    with Broker(tmp_path_factory.mktemp("broker")) as server:
        yield Shared(server.address, transactions=False)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer | Elsewhere]:
    """A running Kafka: the one at ``RAPPORT_KAFKA``, or one of our own for the whole session.

    Without ``RAPPORT_REQUIRE_KAFKA=1`` the tests are skipped; with it they fail where none can be started.
    """
    if address := os.environ.get("RAPPORT_KAFKA"):
        yield Elsewhere(address)
        return
    if reason := missing():
        pytest.fail(f"RAPPORT_REQUIRE_KAFKA is 1, but {'; '.join(reason)}", pytrace=False)
    with KafkaServer() as server:
        yield server


@pytest.fixture
def kafka_server(kafka: KafkaServer | Elsewhere) -> KafkaServer:
    """The shared Kafka where it may be halted, which somebody else's may not; leave it running."""
    if isinstance(kafka, Elsewhere):
        pytest.skip("RAPPORT_KAFKA names a broker that is not ours to halt")
    return kafka


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A running store of the module's own."""
    with Valkey(tmp_path_factory.mktemp("valkey")) as valkey:
        yield valkey


@pytest.fixture
def install(broker: Shared, store: Valkey, tmp_path: Path) -> Iterator[Install]:
    """Makes installations on the broker, given their ``partitions`` and what else a ``Job`` takes."""
    made: list[Installation] = []

    def make(partitions: int = 1, campaigns: str = BUSY, **settings: object) -> Installation:
        name = f"t{uuid4().hex[:10]}"
        folder = tmp_path / name
        folder.mkdir()
        settings["transactions"] = broker.transactions
        job = Job(broker.bootstrap, store.url, name, f"{name}-", campaigns, **settings)  # type: ignore[arg-type]  # what a test says
        made.append(Installation(job, partitions, folder))
        return made[-1]

    yield make
    for one in made:
        one.__exit__()
