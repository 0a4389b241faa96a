"""A log of several partitions, whose models are learned elsewhere: each partition's recorded log gives its bytes again."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import NamedTuple, cast

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from models.learning.snapshots import seal, unseal
from schemas.base import DAY_MS, HOUR_MS, Event
from schemas.codec import decode_event, encode_event
from schemas.control import ModelPublished, tick
from schemas.events import AnyEvent
from schemas.identity import HandedOver
from streams import provenance
from streams.agents.learner import LearnerPartition
from streams.broker import Log
from streams.checkpoint import EnginePartition
from streams.kept_models import KeptModels, Version
from streams.outbox import Output
from streams.provenance import Provenance
from streams.publishers import partition_of
from streams.recorded import Named, recorded_log
from streams.settings import Limits, StreamSettings
from streams.store import Keep, MemoryStore, Position, Snapshot
from tests.streams.fakes import FakeBroker
from tests.support import BUSY, START, busy, make, stream

from .conftest import Rapport

KEY = "key"
PARTITIONS = 3
SOURCES = ("clickstream/0", "transactions/0")
SETTINGS = StreamSettings(
    engine=busy(),
    raw=("clickstream", "transactions"),
    clock="event",
    key=KEY.encode(),
    limits=Limits(seconds=600, records=40, outputs=30, timers=20),
    keep=Keep(1000),
    learn_every=60,
    learn_s=1e9,
)


class Partitions(FakeBroker):
    """``events`` and ``learning`` with several partitions each."""

    def __init__(self) -> None:
        super().__init__(loops=False)
        self.logs: dict[TopicPartition, list[ConsumerRecord]] = defaultdict(list)

    async def log(self, tp: TopicPartition) -> Log:
        """A partition as it is now."""
        await asyncio.sleep(0)
        return Log(0, 2 * len(self.logs[tp]), await self.partitions(tp.topic), self.identity)

    async def partitions(self, topic: str) -> int:
        """Raw topics have one."""
        return PARTITIONS if topic in ("events", "learning") else 1

    def write(self, outputs: Iterable[Output], offsets: Mapping[TopicPartition, Position]) -> None:
        """Records come into the partitions that their keys say."""
        held = list(outputs)
        super().write(held, offsets)
        for output in held:
            if output.topic in ("events", "learning"):
                where = output.partition if output.partition >= 0 else partition_of(output.key, PARTITIONS)
                self.put(TopicPartition(output.topic, where), output.value, output.key)

    def put(self, tp: TopicPartition, value: bytes, key: bytes = b"") -> None:
        """A record of a log; offsets between records are control markers."""
        log = self.logs[tp]
        record = ConsumerRecord(*tp, 2 * len(log), 0, 0, key, value, None, len(key), len(value), ())
        log.append(record)


class Installation:
    """Engines and learners over one store, each with its partition, in a random order of turns."""

    def __init__(self) -> None:
        self.broker, self.store = Partitions(), MemoryStore()
        self.next: dict[TopicPartition, int] = {}
        self.work: dict[TopicPartition, EnginePartition | LearnerPartition] = {}
        self.random = Random(3)

    async def run(self) -> None:
        """Everything that came, in pieces; now and then another worker takes a partition over."""
        tps = [TopicPartition(topic, p) for topic in ("events", "learning") for p in range(PARTITIONS)]
        for tp in tps:
            await self._open(tp)
        arrived = list(arrivals())
        while arrived:
            for event in arrived[:25]:
                self._arrive(event)
            del arrived[:25]
            for _ in range(4):
                await self._turn(self.random.choice(tps))
        while any(self._left(tp) for tp in tps):
            for tp in tps:
                await self._turn(tp)
        for work in self.work.values():
            await work.finish()

    def _arrive(self, event: Event) -> None:
        key = event.customer.encode()
        everywhere = event.customer.startswith("*")
        for p in range(PARTITIONS) if everywhere else (partition_of(key, PARTITIONS),):
            self.broker.put(TopicPartition("events", p), encode_event(cast("AnyEvent", event)), key)

    async def _open(self, tp: TopicPartition) -> None:
        kind = EnginePartition if tp.topic == "events" else LearnerPartition
        self.work[tp] = kind(tp, SETTINGS, self.store, self.broker)
        self.next[tp] = await self.work[tp].open()

    def _left(self, tp: TopicPartition) -> list[ConsumerRecord]:
        return self.broker.logs[tp][(self.next[tp] + 1) // 2 :]

    async def _turn(self, tp: TopicPartition) -> None:
        if self.random.random() < 0.03:
            await self.work[tp].close()
            await self._open(tp)
        batch = self._left(tp)[: self.random.randrange(1, 120)]
        if batch:
            await self.work[tp].process(batch)
            self.next[tp] = batch[-1].offset + 1
        else:
            await self.work[tp].idle()


def arrivals() -> Iterator[Event]:
    """Events by two sources, which tell the time every hour."""
    told = START
    for number, event in enumerate(stream(5, 1800)):
        while told + HOUR_MS < event.occurred_at:
            told += HOUR_MS
            yield from (tick(told - 20 * 60_000 * index, via=via) for index, via in enumerate(SOURCES))
        yield msgspec.structs.replace(event, via=SOURCES[number % 2])
    yield from (tick(START + 30 * DAY_MS, via=via) for via in SOURCES)


class Outcome(NamedTuple):
    """What ran, partition by partition: the log's values and the decisions, and the store with its models."""

    logs: list[list[bytes]]
    decisions: list[list[bytes]]
    store: MemoryStore

    def named(self, partition: int) -> list[Version]:
        """The versions that a partition's log names, in order."""
        named = Named()
        assert list(named.watch(self.logs[partition])) == self.logs[partition]
        return list(named.versions)


@pytest.fixture(scope="module")
def ran() -> Outcome:
    installation = Installation()
    asyncio.run(installation.run())
    broker = installation.broker
    assert broker.wrong == []
    logs = [[record.value for record in broker.logs[TopicPartition("events", p)]] for p in range(PARTITIONS)]
    decisions: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
    for output in broker.sent["decisions"]:
        decisions[partition_of(output.key, PARTITIONS)].append(output.value)
    return Outcome(logs, decisions, installation.store)


@pytest.fixture
def recorded(ran: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all logs, what is known of them, and the models that they name."""
    monkeypatch.setenv("RAPPORT_SNAPSHOT_KEY", KEY)
    (tmp_path / "busy.toml").write_text(BUSY)
    for p in range(PARTITIONS):
        write(tmp_path, p, ran.logs[p])
        assert asyncio.run(KeptModels(tmp_path / f"log-{p}.models").save(ran.named(p), ran.store)) == []
    return tmp_path


def write(folder: Path, p: int, log: list[bytes], start: int = 0) -> None:
    """A recorded log and where it comes from."""
    path = folder / f"log-{p}.jsonl"
    path.write_bytes(b"\n".join(log) + b"\n")
    known = Provenance(topic="events", partition=p, partitions=PARTITIONS, start=start, records=len(log))
    provenance.write(str(path), known)


def metrics(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "metrics.json").read_text())["log"]
    return found


def decisions(folder: Path) -> list[bytes]:
    return (folder / "decisions.jsonl").read_bytes().splitlines()


def test_each_partitions_log_gives_its_decisions(ran: Outcome, recorded: Path, rapport: Rapport) -> None:
    events = [decode_event(value) for log in ran.logs for value in log]
    assert sum(isinstance(event, HandedOver) for event in events) > 3
    for p in range(PARTITIONS):
        out = recorded / f"out-{p}"
        ended = rapport("replay", "--log", recorded / f"log-{p}.jsonl", "-c", recorded / "busy.toml", "-o", out)
        assert (ended.code, ended.err) == (0, "")
        assert decisions(out) == ran.decisions[p]
        assert len(ran.decisions[p]) > 100
        found = metrics(out)
        assert found["adopted"] == len(ran.named(p))
        assert found == {
            "exact": True,
            "inexact_from": None,
            "start": 0,
            "learning": "elsewhere",
            "adopted": found["adopted"],
            "missing": [],
        }
        assert "decisions are the stream's byte for byte" in ended.out
        # the answers come from models, and from models that changed on the way
        answered = {answer for line in decisions(out) for answer in json.loads(line).get("models", {}).items()}
        assert len({(target, version) for target, version in answered if version >= 0}) > 20


def test_two_replays_of_a_log_are_compared_and_learning_elsewhere_is_no_cause(recorded: Path, rapport: Rapport) -> None:
    (recorded / "capped.toml").write_text(BUSY.replace("most = 4", "most = 2", 1))
    assert (recorded / "capped.toml").read_text() != BUSY
    for name in ("busy", "capped"):
        command = ("replay", "--log", recorded / "log-0.jsonl", "-c", recorded / f"{name}.toml", "-o", recorded / name)
        assert rapport(*command).code == 0
    assert rapport("diff", recorded / "busy", recorded / "busy").code == 0
    ended = rapport("diff", recorded / "busy", recorded / "capped", "--json")
    assert ended.code == 1
    found = [json.loads(line) for line in ended.out.splitlines()]
    assert any(one["reason"].startswith("cap_") for one in found)
    assert {one.get("follows") for one in found}.isdisjoint({"learning"})
    made = [json.loads((recorded / name / "run.json").read_bytes())["options"]["models"] for name in ("busy", "capped")]
    assert made[0] == made[1] != ""
    # a version less is another run
    next((recorded / "log-0.models").iterdir()).unlink()
    assert (
        rapport("replay", "--log", recorded / "log-0.jsonl", "-c", recorded / "busy.toml", "-o", recorded / "gone").code
        == 3
    )
    said = rapport("diff", recorded / "busy", recorded / "gone").out
    assert "option models: " in said
    assert "log exact: true -> false" in said


def test_a_version_that_is_gone_is_said(ran: Outcome, recorded: Path, rapport: Rapport) -> None:
    log = recorded / "log-0.jsonl"
    names = ran.named(0)
    gone = [names[20], names[21]]
    for version in gone:
        KeptModels(recorded / "log-0.models").path(version).unlink()
    ended = rapport("replay", "--log", log, "-c", recorded / "busy.toml", "-o", recorded / "out")
    assert ended.code == 3
    found = metrics(recorded / "out")
    lines = [number for number, value in enumerate(ran.logs[0], 1) if names_version(value, gone[0])]
    assert (found["exact"], found["inexact_from"], found["adopted"]) == (False, lines[0], len(names) - 2)
    missing = cast("list[dict[str, object]]", found["missing"])
    assert [(one["model"], one["version"]) for one in missing] == [tuple(version) for version in gone]
    assert f"2 model versions not kept: {gone[0]} (record {lines[0]:,})" in ended.out
    assert f"inexact from record {lines[0]:,} on" in ended.out


def names_version(value: bytes, version: Version) -> bool:
    event = decode_event(value)
    return isinstance(event, ModelPublished) and (event.model, event.version) == version


def test_without_models_the_decisions_are_others(ran: Outcome, recorded: Path, rapport: Rapport) -> None:
    """So that the comparison above can fail."""
    shutil.rmtree(recorded / "log-0.models")
    command = ("replay", "--log", recorded / "log-0.jsonl", "-c", recorded / "busy.toml", "-o", recorded / "out")
    assert rapport(*command).code == 3
    assert decisions(recorded / "out") != ran.decisions[0]
    assert metrics(recorded / "out")["adopted"] == 0
    # another partition's log names the same versions: one folder serves them all
    assert rapport(*command, "--models", recorded / "log-1.models").code == 0
    assert decisions(recorded / "out") == ran.decisions[0]
    ended = rapport(*command, "--models", recorded / "nowhere")
    assert (ended.code, "found no folder; name the one that" in ended.err) == (1, True)


def test_a_snapshot_that_is_not_as_it_was_signed_ends_it(
    ran: Outcome, recorded: Path, rapport: Rapport, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = ran.named(0)[7]
    path = KeptModels(recorded / "log-0.models").path(version)
    data = path.read_bytes()
    command = ("replay", "--log", recorded / "log-0.jsonl", "-c", recorded / "busy.toml", "-o", recorded / "out")
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    sealed = unseal(data, version.model, KEY.encode())
    foreign = seal(version.model, 7, "state", sealed.payload, b"another key")
    for broken, said in (
        (bytes(flipped), "the signature does not match; check RAPPORT_SNAPSHOT_KEY"),
        (foreign, "the signature does not match"),
        (data[:-40], "bytes that are no snapshot"),
        (b"", "0 bytes that are no snapshot"),
        (seal("other", 7, "state", sealed.payload, KEY.encode()), f"snapshot of other offered as {version.model}"),
    ):
        path.write_bytes(broken)
        ended = rapport(*command)
        assert ended.code == 1
        assert f"{path}: found no snapshot to go by (" in ended.err
        assert said in ended.err
        assert not (recorded / "out").exists(), "nothing is written before it is known"
    path.write_bytes(data)
    monkeypatch.setenv("RAPPORT_SNAPSHOT_KEY", "wrong")
    ended = rapport(*command)
    assert (ended.code, "check RAPPORT_SNAPSHOT_KEY" in ended.err) == (1, True)


OTHER = """
[engine.models.engagement.estimator]
name = "river.linear_model.LogisticRegression"
"""


def test_models_of_other_settings_are_said(recorded: Path, rapport: Rapport) -> None:
    (recorded / "busy.toml").write_text(BUSY + OTHER)
    ended = rapport("replay", "--log", recorded / "log-0.jsonl", "-c", recorded / "busy.toml", "-o", recorded / "out")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "found a model version of other settings (snapshot of engagement is of" in ended.err
    assert "name the campaigns file that the workers have" in ended.err
    assert not (recorded / "out" / "metrics.json").exists()


def test_a_log_without_its_beginning_is_inexact(ran: Outcome, recorded: Path, rapport: Rapport) -> None:
    write(recorded, 0, ran.logs[0][50:], start=100)
    command = ("replay", "--log", recorded / "log-0.jsonl", "-c", recorded / "busy.toml", "-o", recorded / "out")
    ended = rapport(*command)
    found = metrics(recorded / "out")
    assert (ended.code, found["exact"], found["inexact_from"], found["start"]) == (3, False, 1, 100)
    assert "it begins at offset 100: what came before is gone, and the state it led to" in ended.out
    provenance.path_of(str(recorded / "log-0.jsonl")).unlink()
    ended = rapport(*command)
    assert (ended.code, metrics(recorded / "out")["exact"]) == (0, None)
    assert "not known to be whole" in ended.out


def test_two_parts_give_what_the_whole_gives(ran: Outcome, recorded: Path, rapport: Rapport) -> None:
    """A state remembers how far each source has come and which versions were taken over."""
    cut = len(ran.logs[0]) // 2
    shared = ("-c", recorded / "busy.toml", "--models", recorded / "log-0.models", "--sources", ",".join(SOURCES))
    given = []
    for index, lines in enumerate((ran.logs[0][:cut], ran.logs[0][cut:])):
        part = recorded / f"part-{index}.jsonl"
        part.write_bytes(b"\n".join(lines) + b"\n")
        state = ("--state", recorded / "state") if index else ()
        out = recorded / f"out-{index}"
        assert rapport("replay", "--log", part, *shared, *state, "--save", recorded / "state", "-o", out).code == 0
        assert metrics(out)["exact"] is None
        given += decisions(out)
    assert given == ran.decisions[0]


def test_a_partition_of_several_learns_nothing_here(recorded: Path) -> None:
    """Also before the first version was published, which only what lies beside the log can tell."""
    path = str(recorded / "log-0.jsonl")
    (recorded / "log-0.jsonl").write_bytes(encode_event(tick(START, via="clickstream/0")) + b"\n")
    found = recorded_log(path)
    assert (found.sources, found.versions, found.models is not None) == (("clickstream/0",), (), True)
    provenance.path_of(path).unlink()
    assert recorded_log(path).models is None


async def test_versions_are_saved_once_and_missing_ones_named(tmp_path: Path) -> None:
    store = MemoryStore()
    token = await store.take_model("buys")
    for offset in (10, 20, 30):
        assert await store.save_model(token, "buys", offset - 10 or -1, Snapshot(1, offset, b"%d" % offset), Keep(2))
    kept = KeptModels(tmp_path / "models")
    wanted = [Version("buys", offset) for offset in (10, 20, 30)]
    assert await kept.save(wanted, store) == wanted[:1]
    assert [kept.load(version) for version in wanted] == [None, b"20", b"30"]
    # what was saved earlier stays when the store has dropped it
    assert await kept.save(wanted[1:], MemoryStore()) == []
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["buys@20", "buys@30"]


def test_an_earlier_version_is_never_taken_over(ran: Outcome, recorded: Path, rapport: Rapport) -> None:
    """A learner that opens announces its latest versions again; so may one that was overtaken announce older ones."""
    names = ran.named(0)
    old = make(ModelPublished, 0, "*:*", model=names[0].model, version=names[0].offset)
    with (recorded / "log-0.jsonl").open("ab") as log:
        log.write(encode_event(old) + b"\n")
    out = recorded / "out"
    assert rapport("replay", "--log", recorded / "log-0.jsonl", "-c", recorded / "busy.toml", "-o", out).code == 0
    assert metrics(out)["adopted"] == len(names)
