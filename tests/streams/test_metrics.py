"""A worker's numbers: what they say is what happened, no customer is in them, and a port that is taken is said."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from kafka import TopicPartition  # type: ignore[import-untyped]  # it ships no types
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from models.policy.reading import read
from schemas.codec import decode_decision
from schemas.errors import REASONS, SchemaError
from streams import clients, embedded, log_reader, topics
from streams.connection import KafkaConnection
from streams.environment import from_environment
from streams.errors import StreamError
from streams.lag_metrics import LagMetrics
from streams.lag_survey import Survey
from streams.metrics_server import FIRST, SPAN, Endpoint
from streams.player import Player
from streams.settings import StreamSettings
from streams.tallies import SECONDS, Buckets
from streams.topic_plan import TopicPlan
from streams.worker import Worker
from tests.streams.conftest import Rapport
from tests.support import BUSY

LABELS = {"app", "arm", "campaign", "clock", "group", "kind", "le", "model", "partition", "reason", "role", "stage"} | {
    "step",
    "target",
    "topic",
    "version",
}


@dataclass
class Scraped:
    """What an installation with one worker said of itself, and what it had done."""

    families: dict[str, Metric] = field(default_factory=dict)
    watched: dict[str, Metric] = field(default_factory=dict)
    sent: int = 0
    refused: int = 0
    decided: Counter[tuple[str, str]] = field(default_factory=Counter)
    published: Counter[str] = field(default_factory=Counter)
    customers: set[str] = field(default_factory=set)

    @property
    def names(self) -> set[str]:
        """The names of all metrics as queries have them, those of ``rapport lag`` among them."""
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        return {
            name + suffix
            for name, family in {**self.families, **self.watched}.items()
            for suffix in suffixes.get(family.type, ("",))
        }

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples of that name with those labels."""
        family = self.families.get(name) or self.families[re.sub(r"_(total|count|sum|bucket)$", "", name)]
        return sum(
            sample.value for sample in family.samples if sample.name == name and labels.items() <= sample.labels.items()
        )


async def scrape(url: str) -> dict[str, Metric]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
        return {family.name: family for family in text_string_to_metric_families(await answer.text())}


def ends(kafka: KafkaConnection, names: list[str]) -> int:
    """Records in topics of one partition."""
    with clients.reader(kafka) as consumer:
        return sum(e.most for e in log_reader.extents(consumer, [TopicPartition(name, 0) for name in names]).values())


async def all_done(found: Scraped, url: str, kafka: KafkaConnection) -> bool:
    """Scrape; whether intake and engine have come to the end."""
    with suppress(aiohttp.ClientConnectionError):
        found.families = await scrape(url)
    if "rapport_records" not in found.families:
        return False
    done = {stage: found.value("rapport_records_total", stage=stage) for stage in ("intake", "engine")}
    if done["intake"] != found.sent or done["engine"] != await asyncio.to_thread(ends, kafka, ["events"]):
        return False
    written = [topic.name for topic in TopicPlan().all() if topic.role != "raw"]
    return found.value("rapport_outputs_total") == await asyncio.to_thread(ends, kafka, written)


@pytest.fixture(scope="module")
def scraped(shop: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Scraped:
    """A shop through a real worker, one record of it unreadable; its numbers when all of it is done."""
    return asyncio.run(lived(shop, tmp_path_factory.mktemp("stack")))


async def lived(shop: list[bytes], folder: Path) -> Scraped:
    with embedded.start(folder) as servers:
        connection = from_environment({}, kafka=servers.kafka, redis=servers.redis)
        plan = TopicPlan(partitions=1, raw_partitions=1, clock="event")
        await asyncio.to_thread(topics.create, connection.kafka, plan)
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        settings = StreamSettings(engine=read(BUSY, "busy"), clock="event", transactions=False, session_s=3.0)
        worker = Worker(connection, settings, metrics=Endpoint(port=port))
        working = asyncio.create_task(worker.run())
        found = Scraped()

        def play() -> None:
            with Player(connection.kafka) as player:
                player.play([*shop, b"{nonsense"])

        try:
            await asyncio.to_thread(play)
            raw = [topic.name for topic in plan.raw()]
            found.sent = await asyncio.to_thread(ends, connection.kafka, raw)
            async with asyncio.timeout(60):
                while not await all_done(found, f"http://127.0.0.1:{port}/metrics", connection.kafka):
                    assert not working.done(), working
                    await asyncio.sleep(0.05)
        finally:
            worker.stop()
            await asyncio.wait_for(working, 30)
        with clients.reader(connection.kafka) as consumer:
            for topic in plan.all():
                records = list(log_reader.whole(consumer, topic.name))
                if topic.role != "raw":
                    found.published[topic.name] = len(records)
                if topic.name == "decisions":
                    for record in records:
                        try:
                            decision = decode_decision(record.value or b"")
                        except SchemaError:
                            continue  # a conversion
                        found.decided[decision.campaign, decision.arm] += 1
                if topic.name == "events":
                    found.customers |= {(record.key or b"").decode()[2:] for record in records} - {"*"}
        lag = LagMetrics()
        with Survey(connection, plan, clock="event") as survey:
            lag.see(await asyncio.to_thread(survey.look), 0.0)
        found.watched = {family.name: family for family in lag.collect()}
        return found


def test_the_numbers_are_what_happened(scraped: Scraped) -> None:
    value = scraped.value
    assert value("rapport_records_total", stage="intake") == scraped.sent > 1000
    assert value("rapport_records_total", stage="engine") == scraped.published["events"]
    assert value("rapport_outputs_total") == sum(scraped.published.values())
    assert value("rapport_dead_letters_total", reason="not_json") == value("rapport_dead_letters_total") == 1
    assert {s.labels["reason"] for s in scraped.families["rapport_dead_letters"].samples} == set(REASONS)
    assert scraped.decided.total() > 50
    for (campaign, arm), count in scraped.decided.items():
        assert value("rapport_decisions_total", campaign=campaign, arm=arm) == count
    assert value("rapport_decisions_total") == scraped.decided.total()
    assert value("rapport_suppressed_total") > 0
    assert value("rapport_batch_records_sum", stage="intake") == scraped.sent
    for stage, step in (("intake", "transaction"), ("engine", "step"), ("engine", "commit"), ("engine", "transaction")):
        assert value("rapport_step_seconds_count", stage=stage, step=step) > 0
    assert value("rapport_profile_lookups_total") > value("rapport_profile_misses_total") > 0
    assert value("rapport_profiles_cached") > 0
    assert value("rapport_lane_open", stage="engine") == value("rapport_partitions", stage="engine") == 1
    assert value("rapport_kill_switch") == 0
    assert value("rapport_model_labels", target="engagement") > 0
    assert 0 < value("rapport_model_log_loss", target="engagement") < 3
    # played history says nothing about the wall's clock
    assert value("rapport_trigger_latency_seconds_count") == 0
    # no customer is in a label, and labels are those that are documented
    samples = [sample for family in scraped.families.values() for sample in family.samples]
    texts = {text for sample in samples for text in sample.labels.values()}
    assert len(scraped.customers) > 50
    assert not {text for text in texts if text in scraped.customers or text[2:] in scraped.customers}
    assert {name for s in samples if s.name.startswith("rapport_") for name in s.labels} <= LABELS


@pytest.fixture
def taken() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def test_a_port_that_is_taken_is_said_with_its_remedy(taken: int) -> None:
    with (
        pytest.raises(StreamError, match=rf"127.0.0.1:{taken} in use by another process; name another"),
        Endpoint(port=taken).listening(),
    ):
        pass


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(StreamError, match=r"no way to listen on 192\.0\.2\.1:0"), Endpoint("192.0.2.1", 0).listening():
        pass


def test_workers_of_one_machine_find_each_their_own_port() -> None:
    with Endpoint().listening() as one, Endpoint().listening() as other:
        ports = [socket_.getsockname()[1] for socket_ in (one, other)]
    assert ports[0] < ports[1]
    assert set(ports) <= set(range(FIRST, FIRST + SPAN))
    with Endpoint(port=0).listening() as any_:
        assert any_.getsockname()[1] > 0


def test_a_worker_whose_port_is_taken_says_so_before_anything_else(taken: int, rapport: Rapport) -> None:
    command = [sys.executable, "-m", "streams", "worker", "--kafka", "127.0.0.1:1", "--metrics-port", str(taken)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"127.0.0.1:{taken} in use by another process" in done.stderr
    assert "Traceback" not in done.stderr
    ended = rapport("lag", "--kafka", "127.0.0.1:1", "--metrics-port", taken)
    assert (ended.code, "in use by another process" in ended.err) == (1, True)


def test_a_histogram_counts_what_is_at_a_bound_into_it() -> None:
    buckets = Buckets(SECONDS)
    for value in (0.0, 0.001, 0.0011, 31.0):
        buckets.add(value)
    found = dict(buckets.cumulative())
    assert (found["0.001"], found["0.0025"], found["30"], found["+Inf"]) == (2, 3, 3, 4)


ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
NAME = re.compile(r"\b(?:rapport|process)_[a-z0-9_]+")


def rules() -> list[dict[str, Any]]:
    loaded = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def queries(dashboard: Path) -> list[str]:
    loaded = json.loads(dashboard.read_text())
    return [target["expr"] for panel in loaded["panels"] for target in panel["targets"]] + [
        annotation["expr"] for annotation in loaded["annotations"]["list"]
    ]


def test_rules_and_dashboards_ask_for_metrics_that_there_are(scraped: Scraped) -> None:
    asked = [rule["expr"] for rule in rules()]
    assert len(DASHBOARDS) == 2
    for dashboard in DASHBOARDS:
        asked += queries(dashboard)
    named = {name for expr in asked for name in NAME.findall(re.sub(r'"[^"]*"', "", expr))}
    assert len(named) > 30
    assert named - scraped.names == set()


def test_dashboards_have_panels_of_their_own_on_the_provisioned_source() -> None:
    source = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    uid = source["datasources"][0]["uid"]
    loaded = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert len({board["uid"] for board in loaded}) == len(loaded)
    for board in loaded:
        panels = board["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels) > 10
        for panel in panels:
            assert panel["title"]
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {panel["datasource"]["uid"]} == {uid}
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        cells = Counter(
            (x, y)
            for panel in panels
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        )
        assert max(cells.values()) == 1, "panels lie over each other"


def test_every_metric_and_alert_is_documented_and_no_other(scraped: Scraped) -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    known = {name for name in scraped.names if name.startswith("rapport_")}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known}
    documented = set(re.findall(r"^\| `(rapport_[a-z0-9_]+)`", text, re.MULTILINE))
    assert documented == families
    alerts = {rule["alert"] for rule in rules()}
    assert set(re.findall(r"^\| (Rapport[A-Za-z]+) \|", text, re.MULTILINE)) == alerts
    assert all(rule["annotations"].keys() == {"summary", "description"} for rule in rules())
    assert all(rule["labels"]["severity"] in ("warning", "critical") for rule in rules())


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    return found


def test_promtool_accepts_configuration_and_rules(promtool: str) -> None:
    for kind, name in (("config", "prometheus.yml"), ("config", "compose.yml"), ("rules", "rules.yml")):
        done = subprocess.run([promtool, "check", kind, PROMETHEUS / name], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_where_it_must(promtool: str) -> None:
    cases = PROMETHEUS / "rules.test.yml"
    tested = set(re.findall(r'alertname="(Rapport\w+)"', cases.read_text()))
    assert tested == {rule["alert"] for rule in rules()}
    done = subprocess.run([promtool, "test", "rules", cases], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_queries_of_the_dashboards_are_understood(promtool: str, tmp_path: Path) -> None:
    exprs = [expr for dashboard in DASHBOARDS for expr in queries(dashboard)]
    recorded = [{"record": f"q{number}", "expr": expr} for number, expr in enumerate(exprs)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": recorded}]}))
    done = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
