"""Broker or store away for a while: workers wait, say so once, and go on by themselves."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from schemas.routing import RAW_TOPICS
from streams.embedded import Broker, Valkey
from tests.live.cluster import Installation, Job
from tests.live.kafka import KafkaServer
from tests.live.truth import same_as_truth, shop
from tests.support import BUSY

Server = Broker | KafkaServer | Valkey


class Outage(NamedTuple):
    """What is away, how, and for how many seconds.

    A stopped server starts again with its data, which the embedded broker has not; a suspended one keeps its
    connections and answers nobody, which may be over before anybody gives up.
    """

    broker: Callable[[Path], Broker | KafkaServer]
    what: str
    stopped: bool
    seconds: float


def embedded(folder: Path) -> Broker:
    return Broker(folder / "broker")


def kafka(folder: Path) -> KafkaServer:
    return KafkaServer()


def case(name: str, mark: pytest.MarkDecorator, outage: Outage) -> object:
    return pytest.param(outage, marks=mark, id=name)


@pytest.mark.parametrize(
    "outage",
    [
        case("kafka-store-stopped", pytest.mark.kafka, Outage(kafka, "store", True, 30)),
        case("kafka-broker-stopped", pytest.mark.kafka, Outage(kafka, "broker", True, 30)),
        case("embedded-store-stopped", pytest.mark.live, Outage(embedded, "store", True, 6)),
        case("embedded-store-suspended", pytest.mark.live, Outage(embedded, "store", False, 6)),
        case("embedded-broker-suspended", pytest.mark.live, Outage(embedded, "broker", False, 6)),
    ],
)
def test_a_while_without(outage: Outage, tmp_path: Path) -> None:
    folder = tmp_path / "workers"
    folder.mkdir()
    with outage.broker(tmp_path) as broker, Valkey(tmp_path / "valkey", fsync="always") as store:
        transactions = isinstance(broker, KafkaServer)
        job = Job(broker.address, store.url, "outage", "outage-", BUSY, records=60, transactions=transactions)
        with Installation(job, 1, folder) as installation:
            worker = installation.start()
            installation.started(worker)
            lines = shop()
            installation.play(lines[: len(lines) // 2])
            while installation.position(0) < 50:
                time.sleep(0.05)
            server: Server = store if outage.what == "store" else broker
            (server.stop if outage.stopped else server.suspend)()
            time.sleep(outage.seconds)  # what is tested: that it waits so long
            assert worker.poll() is None, installation.logs()
            (server.start if outage.stopped else server.resume)()
            installation.play(lines[len(lines) // 2 :])
            installation.wait()
            installation.stop(worker)
            same_as_truth(installation, lines)
            log = (folder / "worker-0.log").read_text()
            waits = [line for line in log.splitlines() if '"waits"' in line]
            assert outage.stopped <= len(waits) <= len(RAW_TOPICS) + 2, log  # once a partition that noticed
            assert log.count('"goes on"') == len(waits)
