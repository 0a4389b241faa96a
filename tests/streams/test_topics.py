"""Topics: what is planned, creating them twice, what differs, and brokers that cannot, or do not answer."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kafka.errors import ClusterAuthorizationFailedError  # type: ignore[import-untyped]  # it ships no types

from schemas.base import DAY_MS, HOUR_MS
from streams import clients, topics
from streams.connection import KafkaConnection
from streams.errors import AccessError, BrokerError, TopicError
from streams.probe import probe
from streams.topic_plan import FOR_EVER, TopicPlan, check_erasure
from tests.streams.brokers import BOTH, running
from tests.streams.conftest import Rapport

RAW = ("clickstream", "transactions", "feedback", "outcomes")
OUTBOUND = ("offers", "nudges", "recommendations", "leads", "replies", "segments", "decisions")
NAMES = (*RAW, "events", "learning", "dead-letters", *OUTBOUND)


@pytest.fixture(scope="module", params=BOTH)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaConnection]:
    with running(request.param, tmp_path_factory.mktemp("broker")) as connection:
        yield connection


@pytest.fixture
def prefix() -> str:
    return f"t{uuid4().hex[:10]}-"


def make(connection: KafkaConnection, name: str, partitions: int, **settings: str) -> None:
    """Create a topic as somebody else would."""
    configs = {name.replace("_", "."): value for name, value in settings.items()}
    with clients.admin(connection) as admin:
        options = {"num_partitions": partitions, "replication_factor": 1, "configs": configs}
        admin.create_topics({name: options}, wait_for_metadata=True)


def test_the_erased_are_remembered_longer_than_any_topic_keeps_them() -> None:
    longest = max(topic.retention_ms for topic in TopicPlan().all())
    check_erasure(longest + DAY_MS)  # a segment is closed after a day
    with pytest.raises(TopicError, match=r"erasure_days: found 90.5; write 91 or more: the topic decisions keeps"):
        check_erasure(longest + DAY_MS // 2)


def test_the_plan() -> None:
    plan = TopicPlan("x-", 4, raw_partitions=2)
    assert [topic.name for topic in plan.all()] == [f"x-{name}" for name in NAMES]
    kept = {topic.name[2:]: topic.retention_ms // DAY_MS for topic in plan.all()}
    assert (kept["clickstream"], kept["events"], kept["learning"], kept["dead-letters"]) == (7, 30, 30, 30)
    assert (kept["offers"], kept["decisions"]) == (7, 90)
    partitions = {topic.name[2:]: topic.partitions for topic in plan.all()}
    assert (partitions["outcomes"], partitions["events"], partitions["dead-letters"], partitions["leads"]) == (
        2,
        4,
        1,
        4,
    )
    assert {topic.name[2:] for topic in plan.all() if topic.fixed} == {"events", "learning"}
    settings = plan.topic("clickstream").settings()
    assert (settings["message.timestamp.type"], settings["cleanup.policy"]) == ("LogAppendTime", "delete")
    assert "min.insync.replicas" not in settings
    assert TopicPlan(replication=3).topic("events").settings()["min.insync.replicas"] == "2"


def test_played_history_keeps_its_times_and_is_kept() -> None:
    plan = TopicPlan(clock="event")
    settings = plan.topic("clickstream").settings()
    assert (settings["message.timestamp.type"], settings["retention.ms"]) == ("CreateTime", str(FOR_EVER))
    assert plan.topic("events") == TopicPlan().topic("events")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"prefix": "a b"}, "prefix: found a b; write at most 200 letters"),
        ({"prefix": "\n"}, r"prefix: found \\n; "),
        ({"partitions": 0}, "partitions: found 0; write 1 or more"),
        ({"raw_partitions": 0}, "raw-partitions: found 0"),
        ({"replication": -1}, "replication: found -1"),
    ],
)
def test_plans_that_cannot_be(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(TopicError, match=said):
        TopicPlan(**wrong)
    with pytest.raises(TopicError, match="no such topic in the plan"):
        TopicPlan().topic("click")


def test_creating_twice_changes_nothing(broker: KafkaConnection, prefix: str) -> None:
    plan = TopicPlan(prefix, 3, raw_partitions=2)
    assert {problem.found for problem in topics.check(broker, plan)} == {"no such topic"}
    names = tuple(topic.name for topic in plan.all())
    assert topics.create(broker, plan) == topics.Created(names, (), ())
    assert topics.create(broker, plan) == topics.Created((), names, ())
    assert topics.check(broker, plan) == []
    with clients.sender(broker) as producer:
        for _ in range(5):  # in one batch
            producer.send(f"{prefix}events", b"{}", partition=2)
        producer.flush(10)
    found = {each.topic.name.removeprefix(prefix): each for each in topics.survey(broker, plan)}
    assert (found["events"].partitions, found["events"].records, found["offers"].records) == (3, 5, 0)
    assert {each.replication for each in found.values()} == {1}
    assert found["decisions"].retention_ms == 90 * DAY_MS


def test_a_topic_that_is_missing_is_made_beside_the_others(broker: KafkaConnection, prefix: str) -> None:
    make(broker, f"{prefix}events", 2, retention_ms=str(30 * DAY_MS))
    made = topics.create(broker, TopicPlan(prefix, 2))
    assert (made.existing, len(made.created)) == ((f"{prefix}events",), len(NAMES) - 1)
    assert all(not problem.stops for problem in made.problems)


def test_another_number_of_partitions_is_refused_before_anything_is_made(broker: KafkaConnection, prefix: str) -> None:
    make(broker, f"{prefix}events", 2)
    with pytest.raises(TopicError) as refused:
        topics.create(broker, TopicPlan(prefix, 3))
    assert "found 2 partitions where the plan has 3; plan for 2: --partitions 2" in str(refused.value)
    assert "away from their state" in str(refused.value)
    assert sum(each.partitions > 0 for each in topics.survey(broker, TopicPlan(prefix))) == 1
    problem = next(p for p in topics.check(broker, TopicPlan(prefix, 3)) if p.topic == f"{prefix}events")
    assert (problem.stops, problem.found) == (True, "2 partitions where the plan has 3")


def test_what_differs_is_told_with_the_remedy(broker: KafkaConnection, prefix: str) -> None:
    topics.create(broker, TopicPlan(prefix, 2, clock="event"))
    make(
        broker, f"{prefix}odd-events", 2, retention_ms=str(HOUR_MS), cleanup_policy="compact", max_message_bytes="9999"
    )
    live = {str(problem) for problem in topics.check(broker, TopicPlan(prefix, 2, raw_partitions=4))}
    assert (
        f"{prefix}clickstream: found 2 partitions where the plan has 4; plan for them: --raw-partitions 2;"
        " or add some with kafka-topics --alter"
    ) in live
    assert (
        f"{prefix}outcomes: found a retention of for ever where the plan has 7d; set retention.ms=604800000 on it"
        " (kafka-configs --alter), or know that erased customers' records stay in it that long,"
        " which [engine] erasure_days has to cover"
    ) in live
    assert (
        f"{prefix}feedback: found message.timestamp.type=CreateTime; set message.timestamp.type=LogAppendTime on it:"
        " else arrival is what senders claim, and retention counts from that"
    ) in live
    odd = [p for p in topics.check(broker, TopicPlan(f"{prefix}odd-", 2, replication=2)) if p.topic.endswith("events")]
    told = {problem.found: problem for problem in odd}
    assert "a restored copy of the state store" in told["a retention of 1h where the plan has 30d"].remedy
    assert told["cleanup.policy=compact"].stops
    assert told["max.message.bytes=9999"].stops
    assert not told["1 of 2 copies"].stops


class Modest:
    """A broker that knows no settings, and tells none."""

    def __init__(self) -> None:
        self.topics: dict[str, int] = {}
        self.code = 40

    def create_topics(self, wanted: dict[str, Any], **_: object) -> dict[str, Any]:
        answers = []
        for name, options in wanted.items():
            code = self.code if options["configs"] else 0
            if not code:
                self.topics[name] = options["num_partitions"]
            answers.append({"name": name, "error_code": code, "error_message": "what?\n" if code else None})
        return {"topics": answers}

    def wait_for_topics(self, names: list[str], timeout_ms: int) -> None:
        assert set(names) <= set(self.topics)

    def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        partition = {"replica_nodes": [1]}
        return [
            {
                "name": name,
                "error_code": 0 if name in self.topics else 3,
                "partitions": [partition] * self.topics.get(name, 0),
            }
            for name in names
        ]

    def describe_configs(self, *_: object, **__: object) -> None:
        raise ClusterAuthorizationFailedError


@pytest.fixture
def modest(monkeypatch: pytest.MonkeyPatch) -> Modest:
    broker = Modest()

    @contextmanager
    def admin(_: KafkaConnection) -> Iterator[Modest]:
        yield broker

    monkeypatch.setattr(clients, "admin", admin)
    return broker


def test_a_broker_without_settings_gets_topics_without(modest: Modest) -> None:
    made = topics.create(KafkaConnection(), TopicPlan(partitions=2))
    assert (len(made.created), modest.topics["events"]) == (len(NAMES), 2)
    assert str(made.problems[0]) == (
        r"clickstream: found a broker that refuses settings (what?\n); its own apply; use Apache Kafka"
    )
    assert made.problems[-1].found == "a broker that does not tell their settings"
    assert not any(problem.stops for problem in made.problems)


@pytest.mark.parametrize(
    ("code", "said"),
    [(38, "no 1 brokers for 1 copies; write a smaller"), (44, r"a refusal to create clickstream \(what\?")],
)
def test_a_broker_that_refuses(code: int, said: str, modest: Modest) -> None:
    modest.code = code
    with pytest.raises((TopicError, BrokerError), match=said):
        topics.create(KafkaConnection(), TopicPlan())


def test_more_copies_than_brokers(tmp_path: Path) -> None:
    """Apache Kafka refuses to make them; the embedded broker makes one copy and says three."""
    with running("embedded", tmp_path) as connection:
        made = topics.create(connection, TopicPlan(replication=3))
    assert {problem.found for problem in made.problems} == {"1 of 3 copies"}


def test_commands(broker: KafkaConnection, prefix: str, rapport: Rapport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPPORT_KAFKA", broker.address)
    named = ("--prefix", prefix)
    ended = rapport("topics", "check", *named, "--partitions", 2)
    assert (ended.code, ended.err) == (1, "")
    assert "decisions: found no such topic; create the topics: rapport topics create" in ended.out
    assert f"{len(NAMES)} of {len(NAMES)} topics are missing" in rapport("topics", "list", *named).out
    ended = rapport("topics", "create", *named, "--partitions", 2, "--raw-partitions", 1)
    assert (ended.code, ended.err) == (0, "")
    assert f"created  {prefix}clickstream: 1 partitions, kept 7d" in ended.out
    assert f"14 topics created, 0 existed, on {broker.address}" in ended.out
    ended = rapport("topics", "create", *named, "--partitions", 2, "--raw-partitions", 1)
    assert (ended.code, "0 topics created, 14 existed" in ended.out) == (0, True)
    ended = rapport("topics", "check", *named, "--partitions", 2)
    assert ended.code == 0
    raw = ", ".join(f"{prefix}{name}" for name in RAW)
    assert f"note: {raw}: found 1 partitions where the plan has 2; plan for them: --raw-partitions 1" in ended.out
    ended = rapport("topics", "create", *named, "--partitions", 3)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"rapport: {prefix}events: found 2 partitions where the plan has 3")
    listed = json.loads(rapport("topics", "list", *named, "--json").out)
    assert listed[4] == {
        "topic": f"{prefix}events",
        "role": "internal",
        "exists": True,
        "partitions": 2,
        "replication": 1,
        "retention_ms": 30 * DAY_MS,
        "timestamps": "LogAppendTime",
        "records": 0,
    }
    assert f"{prefix}dead-letters" in rapport("topics", "list", *named).out


def test_commands_without_a_broker(rapport: Rapport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "ANSWER_S", 0.1)
    for command in ("create", "list", "check"):
        ended = rapport("topics", command, "--kafka", "127.0.0.1:1")
        assert (ended.code, ended.out) == (1, "")
        assert ended.err == (
            "rapport: 127.0.0.1:1: found no broker that answers within 0.1 s (Connection refused);"
            " start one, or name another with --kafka HOST:PORT or RAPPORT_KAFKA\n"
        )
    ended = rapport("topics", "list", "--kafka", "rapport:hunter2@b:9092")
    assert (ended.code, "hunter2" in ended.err) == (1, False)
    assert rapport("topics", "create", "--partitions", 0).code == 2


@contextmanager
def port(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Something that listens and is no broker."""

    def serve() -> None:
        while True:
            try:
                channel, _ = server.accept()
            except OSError:
                return
            with channel:
                answer(channel)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_what_listens_is_no_broker() -> None:
    def http(channel: socket.socket) -> None:
        channel.recv(100)
        channel.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with port(http) as address, pytest.raises(BrokerError, match=r"\(a port that speaks otherwise\)"):
        probe(KafkaConnection((address,)), 0)
    with (
        port(lambda channel: None) as address,
        pytest.raises(BrokerError, match="check too that its port speaks RAPPORT_KAFKA_SECURITY=PLAINTEXT"),
    ):
        probe(KafkaConnection((address,)), 0)
    with port(http) as address, pytest.raises(BrokerError, match="speaks RAPPORT_KAFKA_SECURITY=SSL"):
        probe(KafkaConnection((address,), security="SSL"), 0)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    alternative = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*request, *alternative, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def echo(channel: socket.socket) -> None:
        try:
            with context.wrap_socket(channel, server_side=True) as wrapped:
                question = wrapped.recv(100)
                wrapped.sendall(question[:4] + question[8:12])
        except ssl.SSLError:  # the client does not trust it
            pass

    with port(echo) as address:
        with pytest.raises(AccessError, match=r"found a certificate that is not trusted \(self-signed certificate\)"):
            probe(KafkaConnection((address,), security="SSL"), 5)
        probe(KafkaConnection((address,), security="SSL", ca=str(certificate)), 5)
