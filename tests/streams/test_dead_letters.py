"""Dead letters: counted, shown, and the records they speak of sent again as they were, and no others."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaProducer  # type: ignore[import-untyped]  # it ships no types
from kafka.admin import ConfigResource, ConfigResourceType  # type: ignore[import-untyped]  # it ships no types
from kafka.errors import MessageSizeTooLargeError  # type: ignore[import-untyped]  # it ships no types

from schemas.codec import encode_dead_letter
from schemas.dead_letters import DeadLetter
from schemas.intake import Intake
from streams import clients, dead_letters, log_reader, redriving, topics
from streams.connection import KafkaConnection
from streams.dead_letters import Letters, Wanted
from streams.embedded import Broker
from streams.errors import BrokerError, TopicError
from streams.log_reader import Origin, Record
from streams.topic_plan import TopicPlan
from tests.streams.brokers import BOTH, running
from tests.streams.conftest import Rapport

Header = tuple[str, bytes]


@pytest.fixture(scope="module", params=BOTH)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaConnection]:
    with running(request.param, tmp_path_factory.mktemp("broker")) as connection:
        yield connection


@dataclass
class Installation:
    """Topics with a prefix of their own, and what an intake would do with their records."""

    at: KafkaConnection
    plan: TopicPlan
    producer: Any

    def send(self, topic: str, value: bytes | None, **options: Any) -> tuple[Origin, int]:
        """A record; returns where it is, and when it arrived by its topic's clock."""
        sent = self.producer.send(self.plan.name(topic), value, **options).get(10)
        return Origin(sent.topic, sent.partition, sent.offset), sent.timestamp

    def refuse(self, value: bytes, topic: str = "clickstream", **options: Any) -> Origin:
        """A record that no intake can read, and its dead letter."""
        origin, arrival = self.send(topic, value, partition=options.pop("partition", 1), **options)
        letter = Intake().read(value, arrival, str(origin)).dead
        assert letter is not None
        self.write(letter)
        return origin

    def write(self, letter: DeadLetter) -> None:
        self.send("dead-letters", encode_dead_letter(letter))

    def letters(self, wanted: Wanted | None = None) -> list[DeadLetter]:
        return list(Letters(self.at, self.plan, wanted))

    def redrive(self, wanted: Wanted | None = None) -> redriving.Redriven:
        found = redriving.candidates(Letters(self.at, self.plan, wanted), self.plan)
        return redriving.redrive(self.at, found.letters)

    def records(self, topic: str = "clickstream") -> list[Record]:
        with clients.reader(self.at) as consumer:
            return list(log_reader.whole(consumer, self.plan.name(topic)))


@pytest.fixture
def shop(broker: KafkaConnection) -> Iterator[Installation]:
    plan = TopicPlan(f"d{uuid4().hex[:10]}-", 1, raw_partitions=2)
    topics.create(broker, plan)
    with clients.sender(broker) as producer:
        yield Installation(broker, plan, producer)


def letter(origin: object, at: int = 0, reason: str = "range", size: int = 1) -> DeadLetter:
    return DeadLetter(
        origin=str(origin), reason=reason, field="$.a", found="b", remedy="mend it", received_at=at, size=size
    )


def test_a_refused_record_is_sent_again_as_it_was(shop: Installation) -> None:
    headers = [("trace", b"\x00\xff"), ("trace", b"2")]
    refused = shop.refuse(b"\x00{not json", key=b"k\xff", headers=headers)
    shop.send("clickstream", b"another", partition=1)
    assert shop.redrive() == redriving.Redriven(sent={refused.topic: 1}, refused=0, gone=0)  # type: ignore[arg-type]  # equal to a Counter
    first, _, again = shop.records()
    assert (again.value, again.key, again.origin.partition) == (first.value, first.key, first.origin.partition)
    assert again.timestamp >= first.timestamp
    marks: Sequence[Header] = (
        ("rapport-redriven", str(refused).encode()),
        ("rapport-arrived", b"%d" % first.timestamp),
    )
    assert again.headers == (*headers, *marks)


def test_sent_again_twice_it_still_names_its_first_origin(shop: Installation) -> None:
    first = shop.refuse(b"[1]")
    assert shop.redrive().sent.total() == 1
    # The intake takes the first origin for that of the record, which is refused again.
    shop.write(shop.letters()[0])
    found = redriving.candidates(shop.letters(), shop.plan)
    assert list(found.letters) == [first]
    second = shop.records()[1].origin
    shop.write(letter(second, int(time.time() * 1000), size=3))
    assert shop.redrive().sent.total() == 2
    *_, third, fourth = shop.records()
    assert dict(third.headers)["rapport-redriven"] == dict(fourth.headers)["rapport-redriven"] == str(first).encode()


def test_history_keeps_its_time(broker: KafkaConnection) -> None:
    plan = TopicPlan(f"d{uuid4().hex[:10]}-", 1, clock="event")
    topics.create(broker, plan)
    with clients.sender(broker) as producer:
        shop = Installation(broker, plan, producer)
        shop.refuse(b"{", partition=0, timestamp_ms=1_500_000_000_000)
        shop.redrive()
        assert [record.timestamp for record in shop.records()] == [1_500_000_000_000] * 2


def test_only_what_was_refused_is_sent(shop: Installation) -> None:
    origin, arrival = shop.send("clickstream", b"x", partition=0)
    for wrong in (
        letter(origin, arrival, size=2),  # another record lies there now: of another size,
        letter(Origin(origin.topic, 0, 999), arrival),
        letter(Origin(origin.topic, 7, 0), arrival),
        letter(Origin(shop.plan.name("events"), 0, 0), arrival),  # never a topic that intake does not read
        letter("clickstream[0]@0" if shop.plan.prefix else "", arrival),
        letter("shop.jsonl:7"),
        letter("events|7|0"),
    ):
        shop.write(wrong)
    shop.write(letter(Origin(origin.topic, 1, 0), 1_000_000))  # or later than the letter says
    shop.send("clickstream", b"y", partition=1)
    found = redriving.candidates(Letters(shop.at, shop.plan), shop.plan)
    assert (len(found.letters), found.elsewhere) == (4, 4)
    result = redriving.redrive(shop.at, found.letters)
    assert (result.sent.total(), result.gone) == (0, 4)
    assert len(shop.records()) == 2


def test_letters_far_apart_and_side_by_side(shop: Installation) -> None:
    count = 2 * log_reader.NEAR + 700
    for number in range(count):
        shop.producer.send(shop.plan.name("feedback"), b"%05d" % number, partition=0)
    shop.producer.flush(20)
    wanted = [0, 1, 5, 600, 601, 2 * log_reader.NEAR, count - 1]
    with clients.reader(shop.at) as consumer:
        found = list(log_reader.at(consumer, shop.plan.name("feedback"), 0, [*wanted, count, count + 5]))
    assert [record.value for record in found] == [b"%05d" % number for number in wanted]


def test_progress_is_told(shop: Installation) -> None:
    for _ in range(log_reader.AT_ONCE + 5):
        shop.producer.send(shop.plan.name("dead-letters"), encode_dead_letter(letter("clickstream[0]@0")))
    shop.producer.flush(20)
    told: list[tuple[int, int]] = []
    assert sum(1 for _ in Letters(shop.at, shop.plan, progress=lambda done, total: told.append((done, total)))) == 505
    assert told == [(500, 505)]


def test_a_summary_counts_by_reason() -> None:
    found = dead_letters.summary(
        [letter("a:1", 5), letter("a:2", 3), letter("a:3", 0, "type"), letter("a:4", 9, "type"), letter("a:5", 7)], 2
    )
    assert {reason: (t.count, t.first, t.last) for reason, t in found.tallies.items()} == {
        "range": (3, 3, 7),
        "type": (2, 0, 9),
    }
    assert ([each.origin for each in found.latest], found.count) == (["a:4", "a:5"], 5)


@pytest.mark.parametrize("broker", [BOTH[1]], indirect=True)
def test_transactions_are_read_when_they_are_over(broker: KafkaConnection) -> None:
    """Markers take offsets, and what was given up never counts; neither may keep a reader waiting."""
    plan = TopicPlan(f"d{uuid4().hex[:10]}-", 1)
    topics.create(broker, plan)
    name, raw = plan.name("dead-letters"), plan.name("clickstream")
    producer = KafkaProducer(**broker.kafka_python(), transactional_id=plan.prefix)
    producer.init_transactions()
    for number in range(3):
        producer.begin_transaction()
        told = letter(f"{raw}[0]@{number}", int(time.time() * 1000) + 60_000)
        producer.send(name, encode_dead_letter(told)).get(10)
        producer.send(raw, b"%d" % number, partition=0).get(10)
        (producer.abort_transaction if number == 1 else producer.commit_transaction)()
    producer.begin_transaction()
    producer.send(name, b"open").get(10)
    started = time.monotonic()
    letters = list(Letters(broker, plan))
    assert [each.origin for each in letters] == [f"{raw}[0]@0", f"{raw}[0]@2"]
    # offsets 0 and 4 hold records, 2 one that was given up, 1, 3 and 5 markers
    with clients.reader(broker) as consumer:
        found = list(log_reader.at(consumer, raw, 0, [0, 1, 2, 3, 4, 5, 6]))
    assert [(record.origin.offset, record.value) for record in found] == [(0, b"0"), (4, b"2")]
    assert time.monotonic() - started < 5
    producer.abort_transaction()
    producer.close()
    assert redriving.redrive(broker, {Origin(raw, 0, 0): letters[0]}).sent.total() == 1


def test_the_broker_falls_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Broker(tmp_path) as server:
        connection = KafkaConnection((server.address,))
        plan = TopicPlan(partitions=1)
        topics.create(connection, plan)
        with clients.sender(connection) as producer:
            for _ in range(2 * log_reader.AT_ONCE):
                producer.send("dead-letters", encode_dead_letter(letter("a:1")))
            producer.flush(20)
        monkeypatch.setattr(clients, "ANSWER_S", 1.0)
        letters = iter(Letters(connection, plan))
        next(letters)
        server.kill()
        # It may have fetched the rest already; asking for more must end in an error, not in waiting.
        with contextlib.suppress(BrokerError):
            assert sum(1 for _ in letters) < 2 * log_reader.AT_ONCE
        with pytest.raises(BrokerError, match="no broker that answers within 1 s"):
            list(Letters(connection, plan))


def test_no_topic(broker: KafkaConnection) -> None:
    with pytest.raises(TopicError, match=r"found no such topic on .*; create the topics: rapport topics create"):
        list(Letters(broker, TopicPlan("nowhere-")))


def test_list(shop: Installation, rapport: Rapport) -> None:
    named = ("--prefix", shop.plan.prefix, "--kafka", shop.at.address)
    empty = rapport("dead-letters", "list", *named)
    assert (empty.code, empty.out) == (0, f"no dead letters on {shop.at.address}\n")
    now = int(time.time() * 1000)
    for number in range(12):
        shop.write(letter(f"{shop.plan.name('outcomes')}[0]@{number}", now - number * 3_600_000))
    shop.refuse(b"{")
    shop.send("dead-letters", b"\x00")
    ended = rapport("dead-letters", "list", *named)
    assert (ended.code, ended.err) == (0, "")
    lines = [line.split() for line in ended.out.splitlines()]
    assert lines[0][:4] == ["reason", "count", "first", "last"]
    assert [line[:2] for line in lines[1:3]] == [["range", "12"], ["not_json", "1"]]
    assert ended.out.count(f"{shop.plan.name('outcomes')}[0]@") == 9
    assert "13 dead letters; look at one: rapport dead-letters show ORIGIN" in ended.out
    assert f"note: 1 records of {shop.plan.name('dead-letters')} are no dead letters" in ended.out
    as_json = rapport("dead-letters", "list", *named, "--json").out.splitlines()
    assert len(as_json) == 13
    assert json.loads(as_json[0]) == {
        "origin": f"{shop.plan.name('outcomes')}[0]@0",
        "reason": "range",
        "field": "$.a",
        "found": "b",
        "remedy": "mend it",
        "received_at": now,
        "size": 1,
    }
    since = rapport("dead-letters", "list", *named, "--since", "150m", "--reason", "range", "--json", "--limit", 2).out
    assert [json.loads(line)["origin"][-2:] for line in since.splitlines()] == ["@1", "@2"]
    none = rapport("dead-letters", "list", *named, "--reason", "too_deep")
    assert "no dead letters of that kind" in none.out
    wrong = rapport("dead-letters", "list", *named, "--reason", "boredom")
    assert (wrong.code, "one of: too_large" in wrong.err or "write one of" in wrong.err) == (2, True)


def test_show(shop: Installation, rapport: Rapport) -> None:
    named = ("--prefix", shop.plan.prefix, "--kafka", shop.at.address)
    origin = shop.refuse(b'{"name": "\x1b[2J\xc3\xa9\n' + b"x" * 3000, key=b"u:7", headers=[("h", b"\x00")])
    shown = rapport("dead-letters", "show", origin, *named)
    assert (shown.code, shown.err) == (0, "")
    assert f"origin   {origin}\n" in shown.out
    assert "reason   not_json\n" in shown.out
    assert "size     3,017 bytes\n" in shown.out
    assert "xxx" not in shown.out
    shown = rapport("dead-letters", "show", origin, *named, "--content")
    assert "key      u:7\nheader   h: \\x00\n" in shown.out
    assert r'content  {"name": "\x1b[2J\xe9\nxxx' in shown.out
    assert "cut to 1,500 characters" in shown.out
    assert len(shown.out) < 2500
    gone = Origin(shop.plan.name("clickstream"), 0, 10**9)
    shop.write(letter(gone))
    shop.write(letter(gone))
    shown = rapport("dead-letters", "show", gone, *named, "--content")
    assert (shown.code, "refused 2 times" in shown.out) == (0, True)
    assert "the record is no longer there: retention has removed it" in shown.out
    unknown = rapport("dead-letters", "show", "clickstream[0]@1\x1b", *named)
    assert unknown.code == 1
    assert unknown.err.startswith(r"rapport: clickstream[0]@1\x1b: found no such dead letter; name an origin")


def test_redrive(shop: Installation, rapport: Rapport) -> None:
    named = ("--prefix", shop.plan.prefix, "--kafka", shop.at.address)
    nothing = rapport("dead-letters", "redrive", *named)
    assert (nothing.code, nothing.out) == (0, "nothing to send\n")
    origins = [shop.refuse(b"{"), shop.refuse(b"[]", "feedback"), shop.refuse(b"{1")]
    shop.write(letter("shop.jsonl:7"))
    shop.write(letter(Origin(shop.plan.name("outcomes"), 0, 5)))
    dry = rapport("dead-letters", "redrive", *named, "--dry-run")
    assert dry.code == 0
    assert [line.split()[:3] for line in dry.out.splitlines()] == [
        ["2", shop.plan.name("clickstream"), "not_json"],
        ["1", shop.plan.name("feedback"), "type"],
        ["1", shop.plan.name("outcomes"), "range"],
        ["1", "not", "from"],
    ]
    asked = rapport("dead-letters", "redrive", *named)
    assert asked.code == 1
    assert asked.err == "rapport: redrive: found nobody to ask; look with --dry-run, then send with --yes\n"
    assert len(shop.records()) == 2
    one = rapport("dead-letters", "redrive", *named, "--yes", "--reason", "not_json", "--origin", origins[0])
    assert (one.code, one.out.splitlines()[-1]) == (0, f"1 sent to {shop.plan.name('clickstream')}")
    done = rapport("dead-letters", "redrive", *named, "--yes")
    assert (done.code, done.out.splitlines()[-3:]) == (
        0,
        [
            f"2 sent to {shop.plan.name('clickstream')}",
            f"1 sent to {shop.plan.name('feedback')}",
            "1 no longer there: retention has removed them",
        ],
    )
    assert [record.value for record in shop.records()] == [b"{", b"{1", b"{", b"{", b"{1"]
    assert [record.value for record in shop.records("feedback")] == [b"[]", b"[]"]


def test_a_record_that_its_topic_takes_no_more_does_not_hold_up_the_others(shop: Installation) -> None:
    if not judges_sizes(shop):
        pytest.skip("the embedded broker takes records of any size")
    big = shop.refuse(b"{" + b"x" * 500_000)
    shop.refuse(b"{1")
    with clients.admin(shop.at) as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, big.topic, {"max.message.bytes": "1000"})])
    result = shop.redrive()
    assert (result.sent.total(), result.refused, result.gone) == (1, 1, 0)


def judges_sizes(shop: Installation) -> bool:
    try:
        shop.send("offers", b"x" * 2_000_000)
    except MessageSizeTooLargeError:
        return True
    return False
