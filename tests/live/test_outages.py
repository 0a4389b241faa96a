"""Broker or store away for a while: workers wait, say so once, and go on by themselves."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import pytest

from schemas.routing import RAW_TOPICS
from streams.embedded import Valkey
from tests.live.cluster import Installation, Job
from tests.live.kafka import KafkaServer
from tests.live.truth import same_as_truth, shop
from tests.support import BUSY

pytestmark = pytest.mark.kafka

AWAY_S = 30.0


@pytest.mark.parametrize("what", ["store", "broker"])
def test_half_a_minute_without(what: Literal["store", "broker"], tmp_path: Path) -> None:
    folder = tmp_path / "workers"
    folder.mkdir()
    with KafkaServer() as kafka, Valkey(tmp_path / "valkey", fsync="always") as store:
        job = Job(kafka.bootstrap, store.url, "outage", "outage-", BUSY, raw=RAW_TOPICS, records=60)
        with Installation(job, 1, folder) as installation:
            worker = installation.start()
            installation.started(worker)
            lines = shop()
            installation.play(lines[: len(lines) // 2])
            while installation.position(0) < 50:
                time.sleep(0.05)
            server = store if what == "store" else kafka
            server.stop()
            time.sleep(AWAY_S)  # what is tested: that it waits so long
            assert worker.poll() is None, installation.logs()
            server.start()
            installation.play(lines[len(lines) // 2 :])
            installation.wait()
            installation.stop(worker)
            same_as_truth(installation, lines)
            log = (folder / "worker-0.log").read_text()
            waits = [line for line in log.splitlines() if '"waits"' in line]
            assert 0 < len(waits) <= len(RAW_TOPICS) + 2, log  # once a partition that noticed
            assert log.count('"goes on"') == len(waits)
