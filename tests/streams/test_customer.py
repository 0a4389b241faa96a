"""One customer's life: what the time line shows is what a replay wrote, from files, from its folder and from the stream."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from kafka import KafkaProducer  # type: ignore[import-untyped]  # it ships no types
from kafka.admin import KafkaAdminClient, NewTopic  # type: ignore[import-untyped]  # it ships no types

from models.profile import profile as profiles
from models.profile.profile import Profile
from schemas.base import DAY_MS
from schemas.codec import encode_conversion, encode_decision, encode_event
from schemas.control import TimerDue
from schemas.decisions import Conversion, Decision
from schemas.events import AnyEvent
from schemas.identity import Linked
from streams.connection import Connection, KafkaConnection
from streams.customer_life import of_folder
from streams.customer_live import Installation, live
from streams.embedded import Broker, Valkey
from streams.environment import redis_from_environment
from streams.publishers import partition_of
from streams.redis_store import key
from streams.run import Run
from streams.timeline import Entry, Timeline
from streams.timeline_text import head, lines
from tests.support import BUSY, START, busy, stream

from .conftest import CAMPAIGNS, Rapport

PARTITIONS = 3
OURS = ("decision", "suppressed", "goal")


def of(entries: list[Entry], *kinds: str) -> list[Entry]:
    return [one for one in entries if one.kind in kinds]


@pytest.fixture(scope="module")
def lived() -> dict[str, Timeline]:
    """A time line for each customer of a busy stream, with its devices."""
    events = list(stream(5, 1500))
    owners: dict[str, str] = {}
    for event in events:
        if isinstance(event, Linked):
            owners.setdefault(event.customer, event.user)
    lines = {
        customer: Timeline({customer, *(device for device, owner in owners.items() if owner == customer)})
        for customer in {one.customer for one in events} | set(owners.values())
    }

    def step(event: Any, before: Profile | None, step: Any) -> None:
        for customer in {event.customer, owners.get(event.customer, event.customer)} & lines.keys():
            lines[customer].step(event, before, step)

    Run(busy(), on_step=step).drain(events, until=START + 40 * DAY_MS)
    return lines


def test_stages_follow_each_other_and_nothing_is_older_than_an_erasure(lived: dict[str, Timeline]) -> None:
    seen: Counter[str] = Counter()
    for customer, timeline in lived.items():
        stage = ""
        for one in of(timeline.entries, "stage"):
            if one.customer == customer:
                assert one.note in (stage, ""), "a new journey begins at no stage"
                stage = one.what
        seen.update(one.kind for one in timeline.entries)
        erased = [n for n, one in enumerate(timeline.entries) if one.kind == "erased" and one.customer == customer]
        assert all(one.customer != customer for n in erased[-1:] for one in timeline.entries[:n])
    assert min(seen[kind] for kind in ("event", "timer", "stage", "score", "linked", "erased", *OURS)) > 3


def test_every_entry_is_said_in_printable_lines(lived: dict[str, Timeline]) -> None:
    for customer, timeline in lived.items():
        said = list(lines(timeline.entries, customer))
        assert bool(said) == bool(timeline.entries)
        times = [line[:8] for line in said if line[2:3] == ":"]
        assert len(times) <= len(timeline.entries)
        assert times or not timeline.entries


def test_files_show_what_a_replay_wrote(rapport: Rapport, shop_file: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "out", ("-c", CAMPAIGNS, "--unsorted", "1d", "--advance", "10d")
    assert rapport("replay", shop_file, *options, "-o", out).code == 0
    rows = {name: [json.loads(line) for line in (out / f"{name}.jsonl").open()] for name in ("decisions", "suppressed")}
    counts = Counter(row["customer"] for row in (*rows["decisions"], *rows["suppressed"]))
    for customer, _ in counts.most_common(3):
        ended = rapport("customer", customer, shop_file, *options, "--json")
        assert (ended.code, ended.err) == (0, "")
        found = [json.loads(line) for line in ended.out.splitlines()]
        of_files = [
            one["record"] for one in found if one["kind"] in ("decision", "goal") and one["customer"] == customer
        ]
        assert of_files == [row for row in rows["decisions"] if row["customer"] == customer]
        suppressed = [one["record"] for one in found if one["kind"] == "suppressed" and one["customer"] == customer]
        assert suppressed == [row for row in rows["suppressed"] if row["customer"] == customer]
        assert {"event", "stage", "score"} <= {one["kind"] for one in found}
        told = [msgspec.to_builtins(one) for one in of_folder(customer, out).entries]
        assert sorted(one["what"] for one in told) == sorted(
            one["what"] for one in found if one["kind"] in OURS and one["customer"] == customer
        )


def test_as_a_person_reads_it(rapport: Rapport, shop_file: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "out", ("-c", CAMPAIGNS, "--unsorted", "1d")
    rapport("replay", shop_file, *options, "-o", out)
    first = json.loads((out / "triggers.jsonl").read_text().splitlines()[0])
    ended = rapport("customer", first["customer"], shop_file, *options)
    assert ended.code == 0
    assert ended.out.startswith(first["customer"] + "  ")
    assert f"decision    {first['campaign']} (treated): {first['action']['id']} by" in ended.out
    assert "because " in ended.out
    ended = rapport("customer", first["customer"], out, "--only", "decision", "--until", "2020-01-01")
    assert (ended.code, ended.out) == (0, "")
    assert "further entries are left out" in ended.err
    assert "name the event files themselves" in ended.err


def test_who_is_not_known(rapport: Rapport, shop_file: Path, tmp_path: Path) -> None:
    known = next(one["userId"] for line in shop_file.open() if (one := json.loads(line)).get("userId"))
    ended = rapport("customer", known, shop_file)
    assert (ended.code, ended.out) == (1, "")
    assert f"{known}: no such customer; did you mean u:{known}" in ended.err
    ended = rapport("customer", "u:\x1b[31m", shop_file)
    assert ended.code == 1
    assert "\x1b" not in ended.err
    (tmp_path / "empty").mkdir()
    ended = rapport("customer", "u:7", tmp_path / "empty")
    assert ended.code == 2
    assert "name a folder that rapport replay wrote" in ended.err
    ended = rapport("customer", "u:7", tmp_path / "nothing.jsonl")
    assert ended.code == 2
    ended = rapport("customer", "u:7", shop_file, "--only", "triggers")
    assert ended.code == 2
    assert "'triggers' is none of event, timer" in ended.err


def test_the_erased_show_nothing_else(rapport: Rapport, shop: list[bytes], tmp_path: Path) -> None:
    last = json.loads(shop[-1])["timestamp"]
    known = next(one for one in map(json.loads, shop) if one.get("userId"))["userId"]
    erasure = {"type": "track", "event": "Erasure Requested", "userId": known, "messageId": "e", "timestamp": last}
    file = tmp_path / "shop.jsonl"
    file.write_bytes(b"\n".join([*shop, json.dumps(erasure).encode()]) + b"\n")
    ended = rapport("customer", f"u:{known}", file, "-c", CAMPAIGNS, "--json")
    found = [json.loads(line) for line in ended.out.splitlines()]
    assert {one["kind"] for one in found if one["customer"] == f"u:{known}"} == {"erased"}
    ended = rapport("customer", f"u:{known}", file, "-c", CAMPAIGNS)
    assert "nothing else is kept" in ended.out
    assert "page_viewed" not in ended.out


class Stream:
    """A log, decisions and profiles as workers leave them on a broker and in a store."""

    def __init__(self, broker: Broker, valkey: Valkey) -> None:
        self.place = Installation(
            Connection(KafkaConnection((broker.address,)), redis_from_environment({}, valkey.url)), settings=busy()
        )
        self.timelines: dict[str, Timeline] = {}
        written: list[tuple[str, str, bytes]] = []

        def log(event: Any, before: Profile | None, step: Any) -> None:
            if not isinstance(event, TimerDue):
                written.append(("events", event.customer, encode_event(cast("AnyEvent", event))))
            self.timelines.setdefault(event.customer, Timeline({event.customer})).step(event, before, step)

        def decided(one: Decision) -> None:
            written.append(("decisions", one.customer, encode_decision(one)))

        def converted(one: Conversion) -> None:
            written.append(("decisions", one.customer, encode_conversion(one)))

        self.run = Run(busy(), decided, converted, on_step=log)
        self.run.drain(stream(5, 800))
        admin = KafkaAdminClient(bootstrap_servers=broker.address)
        admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in ("events", "decisions")])
        admin.close()
        producer = KafkaProducer(bootstrap_servers=broker.address, enable_idempotence=False)
        for topic, customer, value in written:
            number = partition_of(customer.encode(), PARTITIONS)
            producer.send(topic, value, customer.encode(), partition=number)
        producer.close()
        client = self.place.connection.redis.sync_client()
        for customer, profile in self.run.profiles.items():
            number = partition_of(customer.encode(), PARTITIONS)
            client.hset(key("rapport", number, "profiles"), customer, profiles.encode(profile))
        client.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stream]:
    with Broker(tmp_path_factory.mktemp("broker")) as broker, Valkey(tmp_path_factory.mktemp("valkey")) as valkey:
        yield Stream(broker, valkey)


def test_the_running_installation_shows_what_its_topics_hold(running: Stream) -> None:
    seen = 0
    users = [one for one in running.timelines if one.startswith("u:") and not running.run.profiles[one].erased_at]
    for customer in users[:6]:
        life = live(customer, running.place)
        assert life.profile == running.run.profiles[customer]
        mine = [one for one in life.entries if one.customer == customer]
        true = running.timelines[customer].entries
        for kinds in (("decision", "goal"), ("event",)):
            found, wanted = of(mine, *kinds), of(true, *kinds)
            assert Counter(one.what for one in found) == Counter(one.what for one in wanted)
        seen += len(of(mine, "decision"))
        assert list(head(life.profile, life.settings, life.now))
        assert list(lines(life.entries, customer))
    assert seen > 5
    assert live("u:nobody", running.place).known


def test_the_command_against_the_running_installation(running: Stream, rapport: Rapport, tmp_path: Path) -> None:
    connection = running.place.connection
    (tmp_path / "busy.toml").write_text(BUSY)
    named = (
        "--kafka",
        connection.kafka.address,
        "--redis",
        connection.redis.address,
        "-c",
        tmp_path / "busy.toml",
    )
    customer = next(one for one in running.timelines if one.startswith("u:"))
    ended = rapport("customer", customer, *named)
    assert ended.code == 0, ended.err
    assert "what was suppressed is on no topic" in ended.err
    ended = rapport("customer", customer[2:].upper(), *named)
    assert ended.code == 1
    assert customer in ended.err
    ended = rapport("customer", customer, *named, "--prefix", "other-")
    assert ended.code == 2
    assert "other-events: found no such topic" in ended.err
