"""``rapport lag``: what is behind, by how much, until when, and which triggers expired unread; on either broker."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaProducer, TopicPartition  # type: ignore[import-untyped]  # it ships no types
from kafka.errors import NoError  # type: ignore[import-untyped]  # it ships no types
from kafka.structs import OffsetAndMetadata  # type: ignore[import-untyped]  # it ships no types

from models.learning.learner import Example
from schemas.base import DAY_MS, MINUTE_MS
from schemas.codec import encode_decision, encode_event
from schemas.control import NOBODY, ModelPublished
from schemas.decisions import Action, Decision
from streams import clients, topics
from streams.connection import Connection, KafkaConnection, RedisConnection
from streams.embedded import Valkey
from streams.emitting import encode_example
from streams.environment import redis_from_environment
from streams.lag import Course, Expired, Limits, Look, Pace, Spot, passed, totals
from streams.lag_survey import Survey
from streams.publishers import partition_of
from streams.redis_store import key
from streams.topic_plan import TopicPlan
from tests.streams.brokers import BOTH, running
from tests.streams.conftest import Rapport
from tests.support import START, add

ROOT = Path(__file__).parents[2]
NOWHERE = RedisConnection(port=1)


@pytest.fixture(scope="module", params=BOTH)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaConnection]:
    with running(request.param, tmp_path_factory.mktemp("broker")) as connection:
        yield connection


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@dataclass
class Shop:
    """Topics with a prefix of their own, records in them, and positions that groups have committed."""

    at: KafkaConnection
    plan: TopicPlan
    producer: Any

    @property
    def app(self) -> str:
        return f"{self.plan.prefix}app"

    def send(self, topic: str, *values: bytes, partition: int = 0, at: int | None = None) -> None:
        for value in values:
            self.producer.send(self.plan.name(topic), value, partition=partition, timestamp_ms=at).get(10)

    def commit(self, group: str, positions: Mapping[str, int], partition: int = 0) -> None:
        offsets = {
            TopicPartition(self.plan.name(topic), partition): OffsetAndMetadata(offset, "", -1)
            for topic, offset in positions.items()
        }
        with clients.admin(self.at) as admin:
            while set(clients.coordinated(lambda: admin.alter_group_offsets(group, offsets)).values()) != {NoError}:
                time.sleep(0.05)  # the coordinator is still loading the group

    def survey(self, redis: RedisConnection = NOWHERE, **options: Any) -> Survey:
        return Survey(Connection(self.at, redis), self.plan, self.app, **options)

    def look(self, redis: RedisConnection = NOWHERE, **options: Any) -> Look:
        with self.survey(redis, **options) as survey:
            return survey.look()

    def spot(self, topic: str, partition: int = 0, redis: RedisConnection = NOWHERE, **options: Any) -> Spot:
        (found,) = [
            spot
            for spot in self.look(redis, **options).spots
            if spot.topic == self.plan.name(topic) and spot.partition == partition
        ]
        return found

    def options(self) -> list[str]:
        return ["--kafka", self.at.address, "--redis", "redis://127.0.0.1:1/0", "--app", self.app, *self.prefix()]

    def prefix(self) -> list[str]:
        return ["--prefix", self.plan.prefix]


@pytest.fixture
def shop(broker: KafkaConnection) -> Iterator[Shop]:
    plan = TopicPlan(f"lag{uuid4().hex[:10]}-", 2, raw_partitions=1, clock="event")
    topics.create(broker, plan)
    with clients.sender(broker) as producer:
        yield Shop(broker, plan, producer)


def page(minute: int) -> bytes:
    """A page that was seen so many minutes after ``START``."""
    return encode_event(add(START + minute * MINUTE_MS))


def trigger(number: int, expires_at: int, campaign: str = "cart", topic: Any = "offers") -> bytes:
    return encode_decision(
        Decision(
            id=f"trigger-{number}",
            customer="u:1",
            campaign=campaign,
            topic=topic,
            action=Action(id="a", channel="email"),
            arm="treated",
            issued_at=START,
            expires_at=expires_at,
            source="m1",
            signal="cart_left",
            effect=0.1,
        )
    )


def example(minute: int, model: str = "engagement") -> bytes:
    due = START + minute * MINUTE_MS
    return encode_example(
        Example(
            target=model,
            model=model,
            customer="u:1",
            predicted_at=due - DAY_MS,
            due=due,
            features=b"",
            interval=-1,
            p=0.5,
            null=0.5,
            label=True,
        )
    )


def test_what_nobody_has_read_is_all_behind_and_the_remedy_is_said(shop: Shop) -> None:
    shop.send("clickstream", page(0), page(1), page(3))
    look = shop.look()
    spot = next(spot for spot in look.spots if spot.topic == shop.plan.name("clickstream"))
    assert (spot.position, spot.end, spot.unread, spot.behind_ms) == (None, 3, 3, 3 * MINUTE_MS)
    assert len(look.spots) == 4 + 2 + 2
    said = " ".join(look.notes)
    assert f"no worker has committed anything as {shop.app}: start one" in said
    assert "the state store at redis://127.0.0.1:1/0 does not answer" in said


def test_each_stage_is_as_far_as_its_group_has_committed(shop: Shop, valkey: Valkey) -> None:
    redis = redis_from_environment({}, valkey.url)
    shop.send("clickstream", page(0), page(10), page(40))
    shop.send("events", page(0), page(10), partition=1)
    shop.commit(shop.app, {"clickstream": 1})
    shop.commit(shop.app, {"events": 2}, partition=1)
    raw = shop.spot("clickstream")
    assert (raw.position, raw.unread, raw.behind_ms) == (1, 2, 30 * MINUTE_MS)
    done = shop.spot("events", 1)
    assert (done.position, done.unread, done.behind_ms, done.waiting_ms) == (2, 0, 0, 0)
    model = "engagement"
    number = partition_of(model.encode(), 2)
    shop.send("learning", *(example(minute) for minute in (0, 1, 2, 8)), partition=number)
    assert shop.spot("learning", number).unread is None  # only the store knows
    assert shop.spot("learning", number, redis).unread == 4
    with redis.sync_client() as store:
        store.rpush(key(shop.app, "models", f"versions:{model}"), b"0,0,9", b"1,1,9")
    spot = shop.spot("learning", number, redis)
    assert (spot.position, spot.unread, spot.behind_ms) == (1, 3, 7 * MINUTE_MS)


def test_the_engine_is_as_far_as_its_state_once_its_outputs_are_out(shop: Shop, valkey: Valkey) -> None:
    redis = redis_from_environment({}, valkey.url)
    shop.send("events", *map(page, range(5)))
    shop.commit(shop.app, {"events": 1})
    with redis.sync_client() as store:
        store.hset(key(shop.app, 0, "meta"), "pos", b"4,0")
        assert shop.spot("events", redis=redis).position == 4
        assert shop.spot("events").position == 1  # without the store
        store.set(key(shop.app, 0, "outbox"), b"outputs of a commit")
        assert shop.spot("events", redis=redis).position == 1
        store.delete(key(shop.app, 0, "outbox"))
        store.hset(key(shop.app, 0, "meta"), "pos", b"77,0")
    look = shop.look(redis)
    assert next(spot for spot in look.spots if spot.topic == shop.plan.name("events")).unread == 5
    assert any("ends at 5, and what was done of it at 77: they do not belong together" in note for note in look.notes)


def test_looks_see_what_came_and_what_was_done_since(shop: Shop) -> None:
    shop.send("clickstream", *map(page, range(3)))
    shop.commit(shop.app, {"clickstream": 1})
    course = Course()
    with shop.survey() as survey:
        course.add(survey.look())
        shop.send("clickstream", *map(page, range(3, 8)))
        shop.commit(shop.app, {"clickstream": 7})
        course.add(survey.look())
    spot = course.last.spots[0]
    assert (spot.position, spot.end, spot.unread, spot.behind_ms) == (7, 8, 1, 0)
    pace = course.pace(spot)
    assert pace is not None
    assert pace.done / pace.arrives == pytest.approx(6 / 5)
    assert course.catches_up_s(spot) == 0.0  # no more than comes in within a second


def test_an_event_that_came_late_makes_no_lag_of_days(shop: Shop) -> None:
    shop.send("events", page(5), page(6), page(-3 * 24 * 60), page(7))
    shop.commit(shop.app, {"events": 2})
    assert shop.spot("events").behind_ms == MINUTE_MS
    shop.send("events", page(-3 * 24 * 60))
    assert shop.spot("events").behind_ms == MINUTE_MS


def test_records_without_a_time_are_passed_over(shop: Shop) -> None:
    version = ModelPublished(id="m", customer=NOBODY + "*", occurred_at=0, received_at=0, model="m", version=1)
    shop.send("events", encode_event(version), page(1), page(4), encode_event(version))
    spot = shop.spot("events")
    assert (spot.unread, spot.behind_ms) == (4, 3 * MINUTE_MS)
    shop.send("clickstream", b"{nonsense", at=START)
    shop.send("clickstream", b"\xff", at=START + MINUTE_MS)
    assert shop.spot("clickstream").behind_ms == MINUTE_MS  # the intake refuses them, but their sender dated them


def test_what_waits_is_told_by_the_brokers_clock(broker: KafkaConnection, request: pytest.FixtureRequest) -> None:
    plan = TopicPlan(f"lag{uuid4().hex[:10]}-", 1)
    topics.create(broker, plan)
    with clients.sender(broker) as producer:
        shop = Shop(broker, plan, producer)
        shop.send("clickstream", page(0))
        spot = shop.spot("clickstream")
        # the embedded broker does not mark its own timestamps, and is not believed
        embedded = request.node.callspec.params["broker"] == "embedded"
        assert (spot.unread, spot.waiting_ms is None) == (1, embedded)


@pytest.mark.kafka
@pytest.mark.live
def test_the_closing_marker_of_a_transaction_is_no_lag(tmp_path: Path) -> None:
    with running("kafka", tmp_path) as broker:
        plan = TopicPlan(f"lag{uuid4().hex[:10]}-", 1, clock="event")
        topics.create(broker, plan)
        producer = KafkaProducer(**broker.kafka_python(), transactional_id=f"{plan.prefix}t", acks="all")
        producer.init_transactions()
        producer.begin_transaction()
        for minute in range(3):
            producer.send(plan.name("events"), page(minute))
        producer.commit_transaction()
        shop = Shop(broker, plan, producer)
        shop.commit(shop.app, {"events": 2})
        spot = shop.spot("events")
        assert (spot.end, spot.unread, spot.newest) == (4, 2, START + 2 * MINUTE_MS)
        shop.commit(shop.app, {"events": 3})
        assert shop.spot("events").unread == 0
        producer.begin_transaction()
        producer.send(plan.name("events"), page(9)).get(10)
        assert shop.spot("events").unread == 0  # nobody may read it yet
        producer.abort_transaction()
        producer.close()


def test_triggers_that_expired_are_counted_for_each_who_reads_them(shop: Shop) -> None:
    now = time.time_ns() // 1_000_000
    shop.send("offers", *(trigger(n, START) for n in range(5)), b"no trigger")
    shop.send("offers", trigger(9, now + DAY_MS), trigger(10, START, "churn"), partition=1)
    shop.send("leads", trigger(11, START, "lead", "leads"))
    slow, fast = f"{shop.plan.prefix}slow", f"{shop.plan.prefix}fast"
    shop.commit(slow, {"offers": 2})
    shop.commit(fast, {"offers": 6})
    shop.commit(fast, {"offers": 2}, partition=1)
    offers, leads = shop.plan.name("offers"), shop.plan.name("leads")
    with shop.survey() as survey:
        found = survey.look().triggers
        assert found == (
            Expired("", leads, 1, {"lead": 1}, oldest=START),
            Expired(fast, offers, 0, {}),
            # the second partition, in which it has committed nothing, is unread as a whole
            Expired(slow, offers, 5, {"cart": 3, "churn": 1}, oldest=START),
        )
        shop.send("offers", trigger(12, START))
        shop.commit(slow, {"offers": 4})
        shop.commit(slow, {"offers": 1}, partition=1)
        of = {one.group: one for one in survey.look().triggers if one.topic == offers}
        assert of[slow].expired == {"cart": 2, "churn": 1}
        assert of[fast].expired == {"cart": 1}
        shop.commit(slow, {"offers": 0})
        of = {one.group: one for one in survey.look().triggers if one.topic == offers}
        assert of[slow].expired == {"cart": 6, "churn": 1}


def test_with_the_event_clock_triggers_expire_by_the_time_the_log_has_come_to(shop: Shop) -> None:
    group = f"{shop.plan.prefix}messaging"
    shop.send("offers", trigger(1, START + 5 * MINUTE_MS), trigger(2, START + 50 * MINUTE_MS))
    shop.commit(group, {"offers": 0})
    shop.send("events", page(0), page(10))
    shop.commit(shop.app, {"events": 2})
    (found,) = shop.look(clock="event").triggers
    assert (found.unread, found.gone) == (2, 1)
    (found,) = shop.look(clock="wall").triggers
    assert found.gone == 2


def test_a_group_that_is_named_and_not_there_is_said(shop: Shop) -> None:
    shop.send("offers", trigger(1, START))
    look = shop.look(groups=["nobody-of-that-name"])
    assert any("nobody-of-that-name has committed nothing on a trigger topic" in note for note in look.notes)
    assert [one.group for one in look.triggers] == [""]


def test_the_command_prints_a_table_or_json_and_ends_by_its_bounds(shop: Shop, rapport: Rapport) -> None:
    shop.send("clickstream", page(0), page(1), page(3))
    shop.send("leads", trigger(1, START, "lead", "leads"))
    shop.commit(shop.app, {"clickstream": 1})
    shown = rapport("lag", "--once", "--interval", "0.1", *shop.options())
    assert shown.code == 0, shown.err
    row = next(line for line in shown.out.splitlines() if line.startswith("intake") and "clickstream" in line)
    assert row.split()[2:6] == ["0", "1", "3", "2"]
    assert "2m" in row.split()
    assert "nobody" in shown.out
    told = rapport("lag", "--once", "--json", "--interval", "0", *shop.options())
    body = json.loads(told.out)
    (spot,) = [one for one in body["partitions"] if one["topic"] == shop.plan.name("clickstream")]
    assert {name: spot[name] for name in ("stage", "position", "end", "lag", "behind_s", "in_per_s")} == {
        "stage": "intake",
        "position": 1,
        "end": 3,
        "lag": 2,
        "behind_s": 120.0,
        "in_per_s": None,
    }
    assert body["triggers"][0]["by_campaign"] == {"lead": 1}
    assert body["passed"] == []
    for bound, code in (
        (("--max-events", 1), 3),
        (("--max-events", 2), 0),
        (("--max-seconds", 119), 3),
        (("--max-seconds", 120), 0),
        (("--max-expired", 0), 3),
        (("--max-expired", 1), 0),
    ):
        ended = rapport("lag", "--once", "--json", "--interval", "0", *bound, *shop.options())
        assert (ended.code, bool(json.loads(ended.out)["passed"])) == (code, code == 3), bound


def test_topics_that_are_not_there_are_an_error_with_its_remedy(broker: KafkaConnection, rapport: Rapport) -> None:
    ended = rapport("lag", "--once", "--kafka", broker.address, "--prefix", "nowhere-")
    assert ended.code == 1
    assert "nowhere-clickstream: found no such topic" in ended.err
    assert "rapport topics create" in ended.err
    assert "Traceback" not in ended.err


def test_a_broker_that_is_not_there_is_an_error(rapport: Rapport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "ANSWER_S", 0.5)
    ended = rapport("lag", "--once", "--kafka", "127.0.0.1:1")
    assert ended.code == 1
    assert "no broker that answers" in ended.err


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--json"], "write --once as well"), (["--once", "--by", "x"], "neither topic nor partition")],
)
def test_options_that_make_no_sense(options: list[str], said: str, rapport: Rapport) -> None:
    ended = rapport("lag", *options)
    assert (ended.code, said in ended.err) == (2, True)


def test_the_live_table_is_drawn_until_ctrl_c(shop: Shop) -> None:
    shop.send("clickstream", page(0), page(2))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "streams", "lag", "--interval", "0.2", "--by", "topic", *shop.options()]
    env = {**os.environ, "COLUMNS": "200", "TERM": "xterm"}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        while seen.count(b"Ctrl-C ends") < 3:
            seen += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        while process.poll() is None:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # how the end of a terminal reads
                break
        assert process.wait(20) == 0, seen.decode(errors="replace")
    os.close(ours)
    assert b"clickstream" in seen
    assert b"Traceback" not in seen


def look(at: float, position: int | None, end: int, **more: Any) -> Look:
    return Look(at, 0, (Spot("engine", "events", 0, position, 0, end, end - (position or 0), **more),))


def test_paces_are_of_the_last_seconds() -> None:
    course = Course(window_s=10.0)
    for at, position in ((0.0, 0), (5.0, 500), (10.0, 510), (15.0, 520)):
        course.add(look(at, position, 1000))
    assert course.pace(course.last.spots[0]) == Pace(0.0, 2.0)
    assert course.catches_up_s(course.last.spots[0]) == 240.0


def test_a_partition_that_falls_behind_never_catches_up_and_so_does_its_topic() -> None:
    course = Course()
    course.add(look(0.0, 0, 100))
    course.add(look(1.0, 10, 120))
    (total,) = totals(course)
    assert (total.unread, total.catches_up_s, total.pace) == (110, None, Pace(20.0, 10.0))


def test_bounds_are_said_with_what_was_found() -> None:
    course = Course()
    course.add(look(0.0, 0, 100, oldest=0, newest=90_000, waiting_ms=200_000))
    said = passed(totals(course), [Expired("g", "offers", 4, {"cart": 3})], Limits(10, 100.0, 2))
    assert said == [
        "engine: 100 records of events are not done, more than 10",
        "engine: 200 s behind in events, more than 100",
        "3 triggers expired before they were read, more than 2",
    ]
