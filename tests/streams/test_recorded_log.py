"""Topics into files, and a recorded log run again: it gives the bytes that the engine gave when it was written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from kafka import KafkaProducer  # type: ignore[import-untyped]  # it ships no types
from kafka.admin import KafkaAdminClient  # type: ignore[import-untyped]  # it ships no types

from schemas.base import DAY_MS, HOUR_MS, Event
from schemas.codec import encode_conversion, encode_decision, encode_event
from schemas.control import ModelPublished, tick
from schemas.decisions import Conversion, Decision
from schemas.events import AnyEvent
from streams import provenance
from streams.connection import KafkaConnection
from streams.embedded import Broker
from streams.errors import BrokerError
from streams.ports import free_port
from streams.provenance import Provenance
from streams.recorded import recorded_log
from streams.recording import RecordingError, recording
from streams.run import Run
from tests.support import BUSY, START, busy, stream

from .conftest import Rapport

SOURCES = ("clickstream/0", "clickstream/1", "transactions/0")


def arrivals() -> Iterator[Event]:
    """Events through three partitions of raw topics, each of which tells the time now and then."""
    told = START
    for number, event in enumerate(stream(5, 1500)):
        while told + HOUR_MS < event.occurred_at:
            told += HOUR_MS
            # One source lags behind the others, and time waits for it.
            yield from (tick(told - 20 * 60_000 * index, via=via) for index, via in enumerate(SOURCES))
        yield msgspec.structs.replace(event, via=SOURCES[number % 3])
    yield from (tick(START + 30 * DAY_MS, via=via) for via in SOURCES)


class Written:
    """A log as the running engine writes it: messages between customers come behind what was there already."""

    def __init__(self) -> None:
        self.outputs: list[bytes] = []
        self.log: list[bytes] = []
        self.forwarded = 0
        run = Run(busy(), self._decided, self._converted, deliver=False, sources=SOURCES)
        waiting: list[Event] = []
        for event in arrivals():
            for record in (*waiting, event):
                self.log.append(encode_event(cast("AnyEvent", record)))
            batch, waiting = [*waiting, event], []
            for step in run.feed(batch):
                waiting.extend(step.messages)
            self.forwarded += len(waiting)
        self.run = run

    def _decided(self, decision: Decision) -> None:
        self.outputs.append(encode_decision(decision))

    def _converted(self, conversion: Conversion) -> None:
        self.outputs.append(encode_conversion(conversion))


@pytest.fixture(scope="module")
def written() -> Written:
    return Written()


@pytest.fixture
def log(written: Written, tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join(written.log) + b"\n")
    (tmp_path / "busy.toml").write_text(BUSY)
    return path


def test_a_recorded_log_gives_the_same_bytes(written: Written, log: Path, rapport: Rapport, tmp_path: Path) -> None:
    command = ("replay", "--log", log, "-c", tmp_path / "busy.toml", "-o")
    ended = rapport(*command, tmp_path / "found")
    assert (ended.code, ended.err) == (0, "")
    assert written.forwarded > 20
    assert len(written.outputs) > 100
    assert (tmp_path / "found" / "decisions.jsonl").read_bytes().splitlines() == written.outputs
    assert json.loads((tmp_path / "found" / "metrics.json").read_text())["steps"] == written.run.steps
    assert rapport(*command, tmp_path / "named", "--sources", " , ".join(reversed(SOURCES))).code == 0
    assert (tmp_path / "named" / "decisions.jsonl").read_bytes().splitlines() == written.outputs
    # A source that is never heard of holds all timers back.
    assert rapport(*command, tmp_path / "more", "--sources", ",".join((*SOURCES, "outcomes/0"))).code == 0
    assert json.loads((tmp_path / "more" / "metrics.json").read_text())["steps"] < written.run.steps


def test_the_sources_of_a_log(log: Path, tmp_path: Path) -> None:
    assert recorded_log(str(log)).sources == SOURCES
    (tmp_path / "empty").write_bytes(b"\n\n")
    assert recorded_log(str(tmp_path / "empty")).sources == ()


PUBLISHED = ModelPublished(id="m", customer="*:*", occurred_at=START, received_at=START, model="buys", version=1)


@pytest.mark.parametrize(
    ("lines", "options", "code", "said"),
    [
        ([b'{"type":"page"'], (), 1, "log, line 2: found no event of a log"),
        ([b'{"type":"page","userId":"7"}'], (), 1, "log, line 2: found no event of a log"),
        ([], ("--unsorted", "1h"), 2, "a recorded log is one file, and in order"),
        ([], ("log",), 2, "a recorded log is one file, and in order"),
    ],
)
def test_what_is_no_log_is_said(
    lines: list[bytes],
    options: tuple[str, ...],
    code: int,
    said: str,
    rapport: Rapport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log").write_bytes(b"\n".join([encode_event(tick(START)), *lines]))
    ended = rapport("replay", "--log", "log", *options)
    assert ended.code == code
    assert said in " ".join((ended.err + ended.out).replace("│", " ").split())


def test_what_a_log_needs_is_said(rapport: Rapport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    piped = rapport("replay", "--log", "-", stdin=encode_event(tick(START)))
    assert (piped.code, "name them: --sources clickstream/0" in piped.err) == (1, True)
    assert rapport("replay", "--log", "-", "--sources", "clickstream/0", stdin=encode_event(tick(START))).code == 0
    for option in ("--sources", "--models"):
        alone = rapport("replay", "-", option, "clickstream/0")
        assert (alone.code, "write --log too" in " ".join(alone.err.replace("│", " ").split())) == (2, True)
    versions = encode_event(tick(START)) + b"\n" + encode_event(PUBLISHED)
    piped = rapport("replay", "--log", "-", "--sources", "clickstream/0", stdin=versions)
    assert (piped.code, "-, line 2: found a model that was learned elsewhere; name the" in piped.out) == (1, True)
    (tmp_path / "models").mkdir()
    piped = rapport("replay", "--log", "-", "--sources", "clickstream/0", "--models", "models", stdin=versions)
    assert (piped.code, "1 model version not kept: buys@1 (record 2)" in piped.out) == (3, True)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaConnection]:
    with Broker(tmp_path_factory.mktemp("broker")) as broker:
        yield KafkaConnection((broker.address,))


def fill(kafka: KafkaConnection, topic: str, partitions: Iterable[list[bytes | None]]) -> None:
    """A new topic with these values."""
    given = list(partitions)
    admin = KafkaAdminClient(**kafka.kafka_python())
    admin.create_topics({topic: {"num_partitions": len(given)}})
    admin.close()
    send(kafka, topic, given)


def send(kafka: KafkaConnection, topic: str, partitions: Iterable[list[bytes | None]]) -> None:
    """These values to the partitions of a topic."""
    producer: Any = KafkaProducer(**kafka.kafka_python(), linger_ms=20)
    for number, values in enumerate(partitions):
        for value in values:
            producer.send(topic, value, key=b"k", partition=number)
    producer.flush()
    producer.close()


def recorded(kafka: KafkaConnection, topic: str, partition: int | None = None) -> list[bytes]:
    with recording(kafka, topic, partition) as found:
        return list(found.lines())


def test_a_topic_is_recorded_as_it_is(kafka: KafkaConnection, written: Written) -> None:
    given: list[list[bytes | None]] = [[], list(written.log), [b"\xff\x00{}", b" "], [b"%d" % n for n in range(3000)]]
    fill(kafka, "events", given)
    assert recorded(kafka, "events") == [value for values in given for value in values]
    assert recorded(kafka, "events", 2) == given[2]
    assert recorded(kafka, "events", 0) == []
    with recording(kafka, "events", 1) as found:
        send(kafka, "events", [[], [b"later"]])
        counts: list[int] = []
        assert list(found.lines(counts.append))[: len(given[1])] == given[1]
        assert counts == [*range(1, len(counts) + 1)]


@pytest.mark.parametrize(("value", "said"), [(b"two\nlines", "a line end"), (None, "no value"), (b"", "no value")])
def test_what_cannot_be_a_line_is_said(kafka: KafkaConnection, value: bytes | None, said: str) -> None:
    topic = f"t{abs(hash(value))}"
    fill(kafka, topic, [[b"{}", value]])
    with pytest.raises(RecordingError, match=rf"{topic}\[0\]@1: found .*{said}; record a topic of Rapport's own"):
        recorded(kafka, topic)


def test_a_partition_that_is_missing_is_said(kafka: KafkaConnection) -> None:
    fill(kafka, "small", [[], []])
    with pytest.raises(BrokerError, match="small: found no partition 2; name one of 0 to 1: --partition"):
        recorded(kafka, "small", 2)


def test_what_record_keeps_of_a_log_that_names_models(kafka: KafkaConnection, rapport: Rapport, tmp_path: Path) -> None:
    fill(kafka, "m-events", [[encode_event(tick(START))], [encode_event(tick(START)), encode_event(PUBLISHED)]])
    log = tmp_path / "log.jsonl.gz"
    command = ("record", "m-events", "--partition", 1, "--kafka", kafka.address)
    left_out = rapport(*command, "-o", log, "--no-models")
    assert (left_out.code, "1 model versions that it names are left out" in left_out.err) == (0, True)
    assert provenance.read(str(log)) == Provenance(topic="m-events", partition=1, partitions=2, start=0, records=2)
    piped = rapport(*command)
    assert (piped.code, "the model versions that it names go nowhere: write --models" in piped.err) == (0, True)
    log.unlink()
    away = rapport(*command, "-o", log, "--redis", f"redis://127.0.0.1:{free_port('the store')}/0")
    assert (away.code, "or leave model versions out: --no-models" in away.err) == (1, True)
    assert log.exists(), "the log itself is complete"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl.gz", "log.provenance.json"]
    both = rapport(*command, "-o", log, "--no-models", "--models", tmp_path)
    assert (both.code, "it contradicts --models" in both.err) == (2, True)
