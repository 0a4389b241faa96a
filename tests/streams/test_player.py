"""The player on the embedded broker: bytes, topics, order and times of what it sends, its ticks and its pace."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kafka import KafkaConsumer, TopicPartition  # type: ignore[import-untyped]  # it ships no types
from kafka.admin import KafkaAdminClient  # type: ignore[import-untyped]  # it ships no types

from schemas.base import MINUTE_MS
from schemas.routing import RAW_TOPICS
from streams.commands.playing import _speed
from streams.connection import KafkaConnection
from streams.embedded import Broker
from streams.errors import BrokerError
from streams.event_files import EventFiles
from streams.files import FileError
from streams.player import Player

COUNTS = {"clickstream": 3, "transactions": 2, "feedback": 1, "outcomes": 1}
GRID = 1_700_000_100_000  # a whole number of five minutes
START = GRID + 1000
NAMES = ("Product Viewed", "Order Completed", "Survey Answered", "Email Opened", "Coupon Applied", "played")


class Sent(NamedTuple):
    """A record as it lies in a topic."""

    value: bytes
    key: bytes | None
    at: int


Partition = tuple[str, int]


class Topics:
    """The raw topics of one test."""

    def __init__(self, address: str, prefix: str) -> None:
        self.connection = KafkaConnection((address,))
        self.prefix = prefix

    def player(self, **options: Any) -> Player:
        return Player(self.connection, prefix=self.prefix, **options)

    def read(self, expected: int) -> dict[Partition, list[Sent]]:
        """All records by topic and partition; so many are waited for."""
        places = [TopicPartition(self.prefix + topic, n) for topic, count in COUNTS.items() for n in range(count)]
        consumer = KafkaConsumer(**self.connection.kafka_python(), enable_auto_commit=False)
        consumer.assign(places)
        consumer.seek_to_beginning()
        found: dict[Partition, list[Sent]] = {}
        until = time.monotonic() + 20
        while sum(map(len, found.values())) < expected and time.monotonic() < until:
            for place, records in consumer.poll(200).items():
                sent = [Sent(record.value, record.key, record.timestamp) for record in records]
                found.setdefault((place.topic.removeprefix(self.prefix), place.partition), []).extend(sent)
        consumer.close()
        assert sum(map(len, found.values())) == expected
        return found


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as started:
        yield started


@pytest.fixture
def topics(broker: Broker, request: pytest.FixtureRequest) -> Topics:
    found = Topics(broker.address, f"{abs(hash(request.node.name))}.")
    admin = KafkaAdminClient(**found.connection.kafka_python())
    admin.create_topics({found.prefix + topic: {"num_partitions": count} for topic, count in COUNTS.items()})
    admin.close()
    return found


class Wall:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


def call(at: int, name: str = "Product Viewed", user: str = "7", **fields: object) -> bytes:
    return json.dumps({"type": "track", "event": name, "userId": user, "timestamp": at, **fields}).encode()


def told(sent: Sent) -> int | None:
    """The time that a tick tells; None for any other record."""
    value = json.loads(sent.value) if sent.value.startswith(b'{"type":"tick"') else None
    return value["occurred_at"] if value else None


def test_records_keep_their_bytes_order_and_times_and_ticks_come_behind_them(topics: Topics) -> None:
    lines = [
        call(START + i * 1_500, NAMES[i % len(NAMES)], f"user {i % 41}", n=i, receivedAt=START + i * 1_500 + 40)
        for i in range(4000)
    ]
    with topics.player() as player:
        player.play(lines)
    last = START + 3999 * 1_500
    ticks = [*range(GRID + 5 * MINUTE_MS, last, 5 * MINUTE_MS), last]
    assert (player.sent.total(), player.ticks, player.at) == (4000, len(ticks), last)
    found = topics.read(4000 + len(ticks) * 7)
    assert {topic for topic, _ in found} == set(RAW_TOPICS)
    raw: list[bytes] = []
    homes: dict[tuple[str, bytes | None], int] = {}
    for (topic, partition), records in found.items():
        assert [told(sent) for sent in records if told(sent) is not None] == ticks
        time_told = 0
        for sent in records:
            at = told(sent)
            if at is not None:
                assert (sent.key, sent.at <= at) == (None, True)
                time_told = at
                continue
            fields = json.loads(sent.value)
            # No record comes behind a tick that told its time.
            assert time_told < fields["timestamp"]
            assert (sent.key, sent.at) == (fields["userId"].encode(), fields["receivedAt"])
            assert homes.setdefault((topic, sent.key), partition) == partition
            raw.append(sent.value)
        numbers = [json.loads(sent.value)["n"] for sent in records if told(sent) is None]
        assert numbers == sorted(numbers)
    assert sorted(raw) == sorted(lines)


def test_what_cannot_be_read_goes_to_the_first_partition_of_clickstream(topics: Topics) -> None:
    lines = [b"no json", b"[1]", call(START), b'{"type": "track", "event": ', b"x" * 3_000_000, call(START - 1000)]
    with topics.player() as player:
        player.play(lines)
    assert (player.unreadable, player.sent) == (4, {"clickstream": 6})
    found = topics.read(6 + 7)
    unkeyed = [sent.value for sent in found["clickstream", 0] if sent.key is None and told(sent) is None]
    assert unkeyed == [lines[0], lines[1], lines[3], b"x" * 512 * 1024]
    late = [sent for records in found.values() for sent in records if sent.value == lines[5]]
    assert late[0].at == START - 1000


def test_on_the_wall_clock_it_is_now_and_nobody_ticks(topics: Topics) -> None:
    before = time.time_ns() // 1_000_000
    with topics.player(clock="wall", only_topic="clickstream", compression="") as player:
        player.play([call(START + i * MINUTE_MS, "Order Completed", str(i)) for i in range(50)])
    found = topics.read(50)
    assert {topic for topic, _ in found} == {"clickstream"}
    assert player.ticks == 0
    assert all(before <= sent.at <= before + 60_000 for records in found.values() for sent in records)


def test_all_in_one_topic_and_ticks_in_every_one(topics: Topics) -> None:
    with topics.player(only_topic="feedback", tick_ms=MINUTE_MS) as player:
        player.play([call(START), call(START + 90_000, "Order Completed")])
        player.tick(player.at + 30 * 24 * 60 * MINUTE_MS)
    found = topics.read(2 + 3 * 7)
    expected = [GRID + MINUTE_MS, START + 90_000, START + 90_000 + 30 * 24 * 60 * MINUTE_MS]
    for (topic, _), records in found.items():
        assert [told(sent) for sent in records if told(sent) is not None] == expected
        # Brokers refuse records from the future, so the time ahead is in the value only.
        assert max(sent.at for sent in records) <= START + 90_000
        assert len(records) == (5 if topic == "feedback" else 3)


def test_the_pace_is_that_of_the_events(topics: Topics) -> None:
    wall = Wall()
    seen: list[float] = []

    def lines() -> Iterator[bytes]:
        for second in (0, 60, 50, 60, 360, 1410):
            yield call(START + second * 1000)
            seen.append(wall.at - 1000)

    with topics.player(now=wall.now, sleep=wall.sleep) as player:
        player.play(lines(), speed=60)
        # Ticks each five minutes, in their own time, and at the end.
        assert player.ticks == 5
        player.play([call(START + 3_000_000)])
    assert seen == pytest.approx([0, 1, 1, 1, 6, 23.5])
    assert max(wall.slept) <= 0.5
    assert sum(wall.slept) == pytest.approx(23.5)


def test_files_are_merged_by_time(topics: Topics, tmp_path: Path) -> None:
    odd, even = tmp_path / "odd.jsonl.gz", tmp_path / "even.jsonl"
    odd.write_bytes(gzip.compress(b"\n".join(call(START + i, n=i) for i in range(1, 100, 2))))
    even.write_bytes(b"\r\n\r\n".join(call(START + i, n=i) for i in range(0, 100, 2)) + b"\nbroken")
    reported: list[int] = []
    files = EventFiles([str(odd), str(even)])
    files.open()
    with topics.player() as player:
        player.play_files(files, on_progress=reported.append)
    assert (files.broken, player.sent.total()) == ([], 101)
    assert reported[-1] == odd.stat().st_size + even.stat().st_size
    found = topics.read(101 + 7)
    numbers = [
        json.loads(sent.value)["n"]
        for records in found.values()
        for sent in records
        if sent.value.startswith(b'{"type": ')
    ]
    assert numbers == [*range(100)]


def test_a_file_that_breaks_off_is_played_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = gzip.compress(b"\n".join(call(START + i, n=i) for i in range(20_000)), mtime=0)
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    files = EventFiles([str(cut)])
    records = list(files.read())
    assert 0 < len(records) < 20_000
    assert "truncated or damaged archive" in str(files.broken[0])
    with pytest.raises(FileError, match="no such file"):
        EventFiles([str(tmp_path / "none")]).open()
    with pytest.raises(FileError, match="named twice"):
        EventFiles(["-", "-"]).open()


def timed(action: Callable[[], object]) -> tuple[BrokerError, float]:
    started = time.monotonic()
    with pytest.raises(BrokerError) as raised:
        action()
    return raised.value, time.monotonic() - started


def test_a_broker_that_is_away_is_said_soon() -> None:
    error, seconds = timed(lambda: Player(KafkaConnection(("127.0.0.1:1",)), patience_s=0.5))
    assert str(error).startswith(
        "127.0.0.1:1: found no broker that answers within 0.5 s (Connection refused); start one, or"
    )
    assert seconds < 5


def test_a_broker_that_goes_away_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.player.DELIVERY_S", 1.0)
    with Broker(tmp_path) as broker:
        player = Topics(broker.address, "").player(patience_s=1)
        player.send(call(START))
        player.flush()
        broker.kill()
        error, seconds = timed(lambda: player.play(call(START + i) for i in range(1_000_000)))
        assert "found no acknowledgement within 1 s, after " in str(error)
        assert "its id" in error.remedy
        assert seconds < 10
        timed(player.close)
        player.close()


def test_speeds() -> None:
    assert [_speed(text) for text in ("max", "60x", "1", "0.5x")] == [0, 60, 1, 0.5]
