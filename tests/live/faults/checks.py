"""What must hold of a finished run, told from the topics and the stored profiles alone: no code of the engine is used.

The truth is the committed input: the records of the raw topics. Each must be in the log exactly once, in the order of its
raw partition, in the partition of its customer; or in the dead letters exactly once. Each customer's counters must be
those that the input adds up to. Everything else is about the outputs.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from benchmarks.checker import Checker, Report

MAX_BYTES = 256 * 1024
TYPES = frozenset({"page_viewed", "product_viewed", "cart_changed", "order_completed", "linked"})
KEPT = 5
_json = msgspec.json.Decoder()


class Written(NamedTuple):
    """A record as a reader under ``read_committed`` sees it; ``at`` is its timestamp in milliseconds UTC."""

    topic: str
    partition: int
    offset: int
    value: bytes
    headers: tuple[tuple[str, bytes | None], ...] = ()
    at: int = -1

    @property
    def origin(self) -> str:
        """How a dead letter names it."""
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass
class Findings:
    """Counts, and what is wrong: ``lost`` and ``doubled`` for state and triggers, the rest in words."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, kind: str, what: str) -> None:
        """Note something wrong; the first few are kept word for word."""
        self.wrong[kind] += 1
        if len(self.examples) < KEPT or self.wrong[kind] == 1:
            self.examples.append(f"{kind}: {what}")

    def differ(self, what: str, found: Mapping[Any, int], wanted: Mapping[Any, int]) -> None:
        """Note what two countings have more or less of."""
        for one in found.keys() | wanted.keys():
            more = found.get(one, 0) - wanted.get(one, 0)
            if more:
                self.add(
                    f"{what} {'doubled' if more > 0 else 'lost'}",
                    f"{one} ({found.get(one, 0)} for {wanted.get(one, 0)})",
                )


def understood(value: bytes) -> dict[str, Any] | None:
    """A raw record that says something of a customer, or a tick; None for one that must be a dead letter."""
    if len(value) > MAX_BYTES:
        return None
    try:
        record = json.loads(value)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    if record.get("type") == "tick":
        return record
    customer = record.get("customer")
    if not isinstance(customer, str) or customer[:2] not in ("u:", "a:") or record.get("type") not in TYPES:
        return None
    return record


def once(records: Iterable[Written]) -> Iterator[Written]:
    """Without those that a broker without transactions holds again: told by the place that each carries."""
    last: dict[tuple[int, str], tuple[int, int]] = {}
    for record in records:
        place = next((value for name, value in record.headers if name == "rapport-place"), None)
        if place is not None:
            sender, offset, n = place.decode().split(",")
            at = (int(offset), int(n))
            if at <= last.get((record.partition, sender), (-1, -1)):
                continue
            last[record.partition, sender] = at
        yield record


@dataclass
class Person:
    """What the input says that a customer's profile must count."""

    events: int = 0
    orders: int = 0
    micros: int = 0
    user: str = ""


class Input:
    """The raw topics, read once in order: what must be in the log, in the dead letters, and in the state.

    Parameters
    ----------
    prefix
        Before the names of topics.
    partitions
        Of the log.
    """

    def __init__(self, prefix: str, partitions: int) -> None:
        self._prefix = prefix
        self._partitions = partitions
        self.expected: dict[tuple[str, int], list[str]] = defaultdict(list)
        self.dead: Counter[str] = Counter()
        self.people: dict[str, Person] = defaultdict(Person)
        self._seen: set[str] = set()
        self.events = 0

    def take(self, record: Written) -> None:
        """The next record of a raw partition."""
        via = f"{record.topic.removeprefix(self._prefix)}/{record.partition}"
        told = understood(record.value)
        if told is None:
            self.dead[record.origin] += 1
            return
        if told["type"] == "tick":
            for partition in range(self._partitions):
                self.expected[via, partition].append(f"tick:{told['occurred_at']}")
            return
        customer = told["customer"]
        self.expected[via, crc32(customer.encode()) % self._partitions].append(told["id"])
        self.events += 1
        if told["id"] in self._seen:
            return  # a sender's repeat counts once
        self._seen.add(told["id"])
        person = self.people[customer]
        if told["type"] == "linked":
            person.user = told["user"]
            return
        person.events += 1
        if told["type"] == "order_completed":
            person.orders += 1
            person.micros += round(float(told["total"]["amount"]) * 1_000_000)

    def totals(self) -> dict[str, tuple[int, int, int]]:
        """Events, orders and micros by customer: a linked device's are its user's."""
        sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for customer, person in self.people.items():
            of = sums[person.user or customer]
            of[0] += person.events
            of[1] += person.orders
            of[2] += person.micros
        return {customer: (one[0], one[1], one[2]) for customer, one in sums.items() if any(one)}


def check_log(findings: Findings, given: Input, log: Iterable[Written]) -> None:
    """Every input once in the log, in order (invariant 1); ``log`` without repeats."""
    places: Counter[tuple[str, int]] = Counter()
    strangers: Counter[str] = Counter()
    off: set[tuple[str, int]] = set()
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    for record in log:
        event = _json.decode(record.value)
        via = event.get("via", "")
        if not via:
            strangers[event["type"]] += 1
            continue
        at = (via, record.partition)
        found[at].append(event["id"])
        expected = given.expected[at]
        place = places[at]
        places[at] += 1
        if at not in off and (place >= len(expected) or expected[place] != event["id"]):
            off.add(at)  # only the first: what follows is out of step by it
            wanted = expected[place] if place < len(expected) else "nothing more"
            findings.add("log out of order", f"{record.origin} from {via}: {event['id']}, expected {wanted}")
    for at in given.expected.keys() | found.keys():
        if found[at] != given.expected[at]:
            findings.differ(f"event of {at[0]} in partition {at[1]}", Counter(found[at]), Counter(given.expected[at]))
    findings.counts["log"] = sum(map(len, found.values()))
    findings.counts.update({f"log: {kind}": count for kind, count in strangers.items()})


def check_dead(findings: Findings, given: Input, letters: Iterable[Written]) -> None:
    """Every input that says nothing usable is a dead letter, once."""
    found = Counter(_json.decode(letter.value)["origin"] for letter in letters)
    findings.differ("dead letter", found, given.dead)
    findings.counts["dead letters"] = found.total()


def check_state(findings: Findings, given: Input, profiles: Iterable[bytes]) -> None:
    """Every customer's counters are what the input adds up to (invariant 1): exactly once into the state."""
    found: dict[str, tuple[int, int, int]] = {}
    for data in profiles:
        profile: Sequence[Any] = msgspec.msgpack.decode(data)
        orders: Sequence[Any] = [*profile[6], 0, 0, 0][:3] if len(profile) > 6 else (0, 0, 0)
        activity: Sequence[Any] = profile[3]
        totals = (activity[7], orders[0], orders[2])
        if any(totals):
            found[profile[0]] = totals
    wanted = given.totals()
    for customer in sorted(found.keys() | wanted.keys()):
        one, other = found.get(customer, (0, 0, 0)), wanted.get(customer, (0, 0, 0))
        for what, have, should in zip(("event", "order", "money"), one, other, strict=True):
            if have != should:
                word = "doubled" if have > should else "lost"
                findings.add(f"state: {what} {word}", f"{customer} counts {have}, the input says {should}")
    findings.counts["customers"] = len(found)


def check_triggers(
    findings: Findings, triggers: Iterable[Written], decisions: Iterable[Written], once_only: bool
) -> None:
    """Ids are unique; triggers are exactly the treated decisions (invariant 2). With repeats allowed, by id and bytes."""
    sent: Counter[str] = Counter()
    contents: dict[str, bytes] = {}
    for trigger in triggers:
        identity = _json.decode(trigger.value)["id"]
        sent[identity] += 1
        if contents.setdefault(identity, trigger.value) != trigger.value:
            findings.add("trigger with two contents", trigger.origin)
        if once_only and sent[identity] > 1:
            findings.add("trigger doubled", f"{identity} again at {trigger.origin}")
    treated: Counter[str] = Counter()
    for decision in decisions:
        told = _json.decode(decision.value)
        if told.get("kind") != "conversion" and told["arm"] == "treated":
            treated[told["id"]] += 1
            if once_only and treated[told["id"]] > 1:
                findings.add("decision doubled", f"{told['id']} again at {decision.origin}")
    for missing in sorted(treated.keys() - sent.keys()):
        findings.add("trigger lost", missing)
    for stranger in sorted(sent.keys() - treated.keys()):
        findings.add("trigger of no decision", stranger)
    findings.counts["triggers"] = len(sent)
    findings.counts["triggers repeated"] = sent.total() - len(sent)


class _Outputs(Checker):
    """The benchmarks' checker, of which a run without Segment calls needs outputs and caps."""

    def caps(self) -> Report:
        """Hold every decision to the caps of its campaign, channel and customer, in any window of event time."""
        for decision in sorted(self._decisions, key=lambda one: one["issued_at"]):
            campaign = self._campaigns[decision["campaign"]]
            person = self._people.of(decision["customer"])
            person.contacts.append(
                (
                    decision["issued_at"],
                    decision["campaign"],
                    decision["action"]["channel"],
                    decision["arm"] == "shadow",
                )
            )
            name = f"{decision['id']} of {decision['customer']} at {decision['issued_at']}"
            self._caps(person, campaign, decision, name)
        return self.report


def check_caps(findings: Findings, campaigns: str, decisions: Iterable[bytes], triggers: Iterable[bytes]) -> None:
    """No cap is exceeded in any window of event time (invariant 3), by a checker that shares nothing with the engine."""
    outputs = _Outputs(tomllib.loads(campaigns), map(json.loads, decisions), map(json.loads, triggers))
    report = outputs.caps()
    for kind, count in report.violations.items():
        for example in report.examples[kind][:count]:
            findings.add(kind, example)
    findings.counts["decisions"] = report.checked["decisions"]
    findings.counts["cap windows"] = report.checked["cap windows"]


def check_offsets(findings: Findings, commits: Iterable[tuple[str, tuple[int, int]]]) -> None:
    """Committed positions never go back (invariant 5): of each partition, in the order in which they were committed."""
    last: dict[str, tuple[int, int]] = {}
    count = 0
    for partition, position in commits:
        count += 1
        if position < last.get(partition, (-1, -1)):
            findings.add("offset went back", f"{partition}: {position} after {last[partition]}")
        last[partition] = position
    findings.counts["commits"] = count


def slope_mb_per_hour(samples: Sequence[tuple[float, float]]) -> float:
    """The slope of a straight line through (seconds, MB), by least squares; NaN for fewer than three.

    >>> round(slope_mb_per_hour([(0, 100), (1800, 101), (3600, 102)]), 6)
    2.0
    """
    if len(samples) < 3:
        return math.nan
    mean_t = sum(t for t, _ in samples) / len(samples)
    mean_m = sum(m for _, m in samples) / len(samples)
    spread = sum((t - mean_t) ** 2 for t, _ in samples)
    return 3600 * sum((t - mean_t) * (m - mean_m) for t, m in samples) / spread if spread else math.nan


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the sorted values lies, taking the nearest; NaN for none.

    >>> quantile([3, 1, 2], 0.5), quantile([1, 2], 1)
    (2, 2)
    """
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan
