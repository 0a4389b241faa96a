"""The verifier itself: right runs pass, and each thing that can go wrong is found by its name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from zlib import crc32

import msgspec
import pytest

from tests.live.faults import checks
from tests.live.faults.checks import Findings, Input, Written
from tests.support import BUSY

PARTITIONS = 2
CUSTOMERS = ("u:1", "u:2", "a:3")


def raw(offset: int, value: object) -> Written:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Written("x-clickstream", 0, offset, data)


def event(number: int, customer: str, **more: Any) -> dict[str, Any]:
    return {"type": "page_viewed", "id": f"e{number}", "customer": customer, "occurred_at": number, **more}


class World:
    """A small run that went well, as the topics and the store would hold it."""

    def __init__(self) -> None:
        total = {"amount": "2.50", "currency": "EUR"}
        self.raw: list[object] = [event(n, CUSTOMERS[n % 3]) for n in range(12)]
        self.raw.append(event(12, "u:1", type="order_completed", order="o", total=total))
        self.raw += [self.raw[0], b"{not json", {"type": "tick", "occurred_at": 12}]
        self.raw.append(event(13, "a:3", type="linked", user="u:2"))
        self.given = Input("x-", PARTITIONS)
        for offset, value in enumerate(self.raw):
            self.given.take(raw(offset, value))
        self.log: list[Written] = []
        for value in self.raw:
            if isinstance(value, bytes):
                continue
            assert isinstance(value, dict)
            if value["type"] == "tick":
                for partition in range(PARTITIONS):
                    self._append(partition, {"type": "tick", "id": "tick:12", "via": "clickstream/0"})
            else:
                self._append(crc32(value["customer"].encode()) % PARTITIONS, value | {"via": "clickstream/0"})
        self._append(0, {"type": "handed_over", "id": "x", "customer": "u:2"})
        self.dead = [Written("x-dead-letters", 0, 0, json.dumps({"origin": "x-clickstream[0]@14"}).encode())]
        self.counters = {"u:1": (5, 1, 2_500_000), "u:2": (8, 0, 0), "a:3": (0, 0, 0)}

    def _append(self, partition: int, value: object) -> None:
        offset = sum(record.partition == partition for record in self.log)
        self.log.append(Written("x-events", partition, offset, json.dumps(value).encode()))

    def check(self) -> Findings:
        findings = Findings()
        checks.check_log(findings, self.given, self.log)
        checks.check_dead(findings, self.given, self.dead)
        profiles = [
            msgspec.msgpack.encode([customer, 1, 0, [0, 0, 0, 0, 0, 0, 0, events], [], [], [orders, 0, micros]])
            for customer, (events, orders, micros) in self.counters.items()
        ]
        checks.check_state(findings, self.given, profiles)
        return findings


def test_a_right_run_passes() -> None:
    findings = World().check()
    assert findings.wrong == {}
    assert findings.counts["log"] == 17
    assert findings.counts["customers"] == 2


def lose(world: World) -> None:
    del world.log[3]


def double(world: World) -> None:
    world.log.insert(4, world.log[3])


def swap(world: World) -> None:
    # two events of one partition
    first, second = [n for n, record in enumerate(world.log) if record.partition == world.log[0].partition][:2]
    world.log[first], world.log[second] = world.log[second], world.log[first]


def misplace(world: World) -> None:
    world.log[0] = world.log[0]._replace(partition=1 - world.log[0].partition)


def lose_a_dead_letter(world: World) -> None:
    world.dead.clear()


def double_a_dead_letter(world: World) -> None:
    world.dead *= 2


def count_once_more(world: World) -> None:
    world.counters["u:1"] = (6, 1, 2_500_000)


def forget_a_customer(world: World) -> None:
    del world.counters["u:2"]


def take_money_twice(world: World) -> None:
    world.counters["u:1"] = (5, 1, 5_000_000)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lose, "lost"),
        (double, "doubled"),
        (swap, "log out of order"),
        (misplace, "log out of order"),
        (lose_a_dead_letter, "dead letter lost"),
        (double_a_dead_letter, "dead letter doubled"),
        (count_once_more, "state: event doubled"),
        (forget_a_customer, "state: event lost"),
        (take_money_twice, "state: money doubled"),
    ],
)
def test_what_is_wrong_is_found(change: Callable[[World], None], found: str) -> None:
    world = World()
    change(world)
    wrong = world.check().wrong
    assert any(kind.endswith(found) for kind in wrong), wrong


def decision(identity: str, at: int, arm: str = "treated", **more: Any) -> bytes:
    told = {
        "id": identity,
        "customer": "u:1",
        "campaign": "thanks",
        "topic": "offers",
        "action": {"id": "push", "channel": "push"},
        "arm": arm,
        "issued_at": at,
        "source": identity,
    }
    return json.dumps(told | more).encode()


def records(*values: bytes) -> list[Written]:
    return [Written("offers", 0, offset, value) for offset, value in enumerate(values)]


@pytest.mark.parametrize(
    ("triggers", "decisions", "once_only", "wrong"),
    [
        (["a", "b"], ["a", "b"], True, set()),
        (["a", "a"], ["a"], True, {"trigger doubled"}),
        (["a", "a"], ["a"], False, set()),
        (["a"], ["a", "b"], True, {"trigger lost"}),
        (["a", "b"], ["a"], True, {"trigger of no decision"}),
        (["a"], ["a", "a"], True, {"decision doubled"}),
    ],
)
def test_triggers(triggers: list[str], decisions: list[str], once_only: bool, wrong: set[str]) -> None:
    findings = Findings()
    made = [records(*(decision(one, 5) for one in names)) for names in (triggers, decisions)]
    checks.check_triggers(findings, made[0], made[1], once_only)
    assert set(findings.wrong) == wrong


def test_an_id_with_two_contents_is_found() -> None:
    findings = Findings()
    checks.check_triggers(findings, records(decision("a", 5), decision("a", 6)), records(decision("a", 5)), False)
    assert set(findings.wrong) == {"trigger with two contents"}


@pytest.mark.parametrize(("contacts", "wrong"), [(4, set()), (5, {"customer cap"})])
def test_a_cap_that_is_exceeded_is_found(contacts: int, wrong: set[str]) -> None:
    findings = Findings()
    values = [decision(f"d{n}", n * 1000) for n in range(contacts)]
    checks.check_caps(findings, BUSY, values, values)
    assert set(findings.wrong) == wrong


def test_offsets_that_go_back_are_found() -> None:
    findings = Findings()
    checks.check_offsets(findings, [("e/0", (5, 0)), ("e/1", (3, 0)), ("e/0", (5, 2)), ("e/0", (5, 1))])
    assert dict(findings.wrong) == {"offset went back": 1}
    assert findings.counts["commits"] == 4


def test_repeats_are_told_by_their_place() -> None:
    def at(offset: int, place: str) -> Written:
        return Written("e", 0, offset, b"", (("rapport-place", place.encode()),))

    places = ["a,1,0", "a,1,1", "a,1,0", "a,1,1", "a,2,0", "b,1,0"]
    kept = checks.once(at(offset, place) for offset, place in enumerate(places))
    assert [record.offset for record in kept] == [0, 1, 4, 5]
