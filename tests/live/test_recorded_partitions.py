"""On Apache Kafka: the log of each of several partitions is recorded, and its replay is what two workers decided."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient, TopicPartition  # type: ignore[import-untyped]  # it ships no types
from typer.testing import CliRunner, Result

from schemas.codec import decode_event
from schemas.control import ModelPublished
from streams.cli import app
from streams.embedded import Valkey
from streams.publishers import partition_of
from tests.live.cluster import Installation, Job
from tests.live.kafka import Elsewhere, KafkaServer
from tests.live.truth import shop
from tests.support import BUSY

pytestmark = pytest.mark.kafka

PARTITIONS = 3
PARTS = 3
EARLY = "".join(
    f"""
[engine.models.{name}]
min_labels = 1
[engine.models.{name}.estimator]
name = "river.linear_model.LogisticRegression"
params = {{optimizer = {{class = "models.learning.adagrad.AdaGrad", lr = 0.05}}}}
"""
    for name in ("buys", "churn", "engagement")
)
"""Models answer after few labels, so that a short run rests on them."""
CAMPAIGNS = BUSY + EARLY
TOPICS = ("offers", "nudges", "leads", "replies", "recommendations")


@pytest.fixture
def installation(
    kafka: KafkaServer | Elsewhere, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> Iterator[Installation]:
    name = f"t{uuid4().hex[:10]}"
    with Valkey(tmp_path_factory.mktemp("valkey")) as store:
        job = Job(kafka.bootstrap, store.url, name, f"{name}-", CAMPAIGNS, records=60, session_s=3.0, keep=500)
        with Installation(job, PARTITIONS, tmp_path) as one:
            yield one


def rapport(installation: Installation, *arguments: object) -> Result:
    """The command as people call it, without a process of its own each time."""
    job = installation.job
    env = {"RAPPORT_SNAPSHOT_KEY": "key", "RAPPORT_KAFKA": job.kafka, "RAPPORT_REDIS": job.redis}
    return CliRunner().invoke(app, [*map(str, arguments)], env=env)


def record(installation: Installation, partition: int) -> Result:
    topic, folder = f"{installation.job.prefix}events", installation.folder
    out = ("-o", folder / f"log-{partition}.jsonl.gz", "--models", folder / "models")
    return rapport(installation, "record", topic, "--partition", partition, *out, "--app", installation.job.app)


def replay(installation: Installation, partition: int) -> tuple[int, Path, dict[str, Any]]:
    """Exit code, the folder of the results, and what is known of its exactness."""
    folder = installation.folder
    out, log = folder / f"out-{partition}", folder / f"log-{partition}.jsonl.gz"
    given = ("-c", folder / "busy.toml", "--models", folder / "models")
    ended = rapport(installation, "replay", "--log", log, *given, "-o", out)
    assert ended.exit_code in (0, 3), ended.output
    return ended.exit_code, out, json.loads((out / "metrics.json").read_text())["log"]


def of(records: list[Any], partition: int) -> list[bytes]:
    """What an engine partition gave to a topic: it has the customers whose keys lead there."""
    return [record.value for record in records if partition_of(record.key, PARTITIONS) == partition]


def test_each_partitions_recorded_log_gives_what_its_workers_decided(installation: Installation) -> None:
    first, second = installation.start(), installation.start()
    installation.started(first)
    installation.started(second)
    lines = shop()
    for part in range(PARTS):
        installation.play(lines[len(lines) * part // PARTS : len(lines) * (part + 1) // PARTS])
        installation.wait()
        installation.wait_for_models()  # what follows is decided with what was learned, however fast the machine
        if part == PARTS // 2:
            installation.stop(first)  # its partitions move on, at their versions
    installation.stop(second)

    (installation.folder / "busy.toml").write_text(CAMPAIGNS)
    decided = installation.records("decisions")
    triggered = {topic: installation.records(topic) for topic in TOPICS}
    answered = set()
    for partition in range(PARTITIONS):
        ended = record(installation, partition)
        assert ended.exit_code == 0, ended.output
        code, out, log = replay(installation, partition)
        assert (code, log["exact"], log["learning"], log["missing"]) == (0, True, "elsewhere", []), ended.output
        assert log["adopted"] > 5
        found = (out / "decisions.jsonl").read_bytes().splitlines()
        assert found == of(decided, partition)
        assert len(found) > 20
        triggers = (out / "triggers.jsonl").read_bytes().splitlines()
        for topic, records in triggered.items():
            assert [line for line in triggers if json.loads(line)["topic"] == topic] == of(records, partition), topic
        assert triggers
        answered |= {one for line in found for one in json.loads(line).get("models", {}).items() if one[1] >= 0}
    assert len(answered) > 1, "the decisions rest on models"

    versions = [e for e in map(decode_event, installation.values("events")) if isinstance(e, ModelPublished)]
    assert len({(event.model, event.version) for event in versions}) == len(
        list(Path(installation.folder / "models").iterdir())
    )
    (installation.folder / "models" / f"{versions[0].model}@{versions[0].version}").unlink()
    code, _, log = replay(installation, 0)
    assert (code, log["exact"], len(log["missing"])) == (3, False, 1)

    admin = KafkaAdminClient(**installation.connection.kafka_python())
    admin.delete_records({TopicPartition(f"{installation.job.prefix}events", 1): 40})  # as retention does
    admin.close()
    ended = record(installation, 1)
    assert "it begins at offset 40: retention took what was before" in ended.stderr
    code, _, log = replay(installation, 1)
    assert (code, log["exact"], log["start"], log["inexact_from"]) == (3, False, 40, 1)
