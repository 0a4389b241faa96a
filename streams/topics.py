"""Creating an installation's topics, and whether a cluster has them as planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kafka import TopicPartition  # type: ignore[import-untyped]  # it ships no types
from kafka.admin import (  # type: ignore[import-untyped]  # it ships no types
    ConfigResource,
    ConfigResourceType,
)
from kafka.errors import KafkaError, for_code  # type: ignore[import-untyped]  # it ships no types

from schemas.errors import printable

from . import clients, log_reader
from .connection import KafkaConnection
from .errors import BrokerError, TopicError
from .topic_plan import DEAD_LETTERS, EVENTS, LEARNING, OUTBOUND, Topic, TopicPlan, days

__all__ = [
    "DEAD_LETTERS",
    "EVENTS",
    "LEARNING",
    "OUTBOUND",
    "Created",
    "Found",
    "Problem",
    "Topic",
    "TopicPlan",
    "check",
    "create",
    "survey",
]

_EXISTS = 36
_SETTINGS_REFUSED = (35, 40, 42)  # unsupported version, invalid config, invalid request
_TOO_FEW_BROKERS = 38
_UNKNOWN = 3
_NO_TOPIC = "create the topics: rapport topics create"


@dataclass(frozen=True)
class Problem:
    """A difference between a cluster and the plan.

    Parameters
    ----------
    stops
        True where the engine must not run so; False where it works, otherwise than planned.
    """

    topic: str
    found: str
    remedy: str
    stops: bool = True

    def __str__(self) -> str:
        return f"{self.topic}: found {self.found}; {self.remedy}"


@dataclass(frozen=True)
class Created:
    """What creating topics came to, by name; and what is not as planned."""

    created: tuple[str, ...]
    existing: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Found:
    """A topic as the cluster has it.

    Parameters
    ----------
    topic
        As planned.
    partitions, replication
        0 where it does not exist.
    settings
        By Kafka's names; empty where the broker does not tell.
    records
        From its first offset to its last, markers of transactions included; None where that was not asked.
    """

    topic: Topic
    partitions: int
    replication: int
    settings: Mapping[str, str]
    records: int | None = None

    @property
    def retention_ms(self) -> int | None:
        """How long it keeps records, milliseconds; None where that is not known."""
        return _whole(self.settings.get("retention.ms"))


def create(connection: KafkaConnection, plan: TopicPlan) -> Created:
    """Create the topics that are missing; those that exist stay as they are and are compared.

    Raises
    ------
    TopicError
        Where ``events`` or ``learning`` exists with another number of partitions; then nothing is created.
    BrokerError
        Where no broker answers, or it refuses.
    """
    with clients.admin(connection) as admin:
        before = _survey(admin, plan.all())
        for found in before:
            if found.partitions and found.topic.fixed and found.partitions != found.topic.partitions:
                problem = _partitions(found)
                raise TopicError(problem.topic, problem.found, problem.remedy)
        missing = [found.topic for found in before if not found.partitions]
        problems = _create(admin, connection, missing) if missing else []
        after = _survey(admin, plan.all())
    names = tuple(topic.name for topic in missing)
    existing = tuple(found.topic.name for found in before if found.partitions)
    return Created(names, existing, (*problems, *_compared(after)))


def check(connection: KafkaConnection, plan: TopicPlan) -> list[Problem]:
    """What is missing or otherwise than planned, what stops the engine first; empty where all is well.

    Raises
    ------
    BrokerError
        Where no broker answers, or it refuses.
    """
    with clients.admin(connection) as admin:
        return _compared(_survey(admin, plan.all()))


def survey(connection: KafkaConnection, plan: TopicPlan) -> list[Found]:
    """The plan's topics as the cluster has them, with the number of their records."""
    with clients.admin(connection) as admin:
        surveyed = _survey(admin, plan.all())
    parts = {
        each.topic.name: [TopicPartition(each.topic.name, number) for number in range(each.partitions)]
        for each in surveyed
    }
    with clients.reader(connection) as consumer:
        reach = log_reader.extents(consumer, [part for some in parts.values() for part in some])
    counts = {name: sum(reach[part].most - reach[part].start for part in some) for name, some in parts.items()}
    return [replace(each, records=counts[each.topic.name] if each.partitions else None) for each in surveyed]


def _create(admin: Any, connection: KafkaConnection, topics: Iterable[Topic]) -> list[Problem]:
    """Create them; a broker that refuses settings is asked for topics without."""
    problems = []
    refused = _ask(admin, connection, topics, with_settings=True)
    if refused:
        _ask(admin, connection, refused, with_settings=False)
        problems = [
            Problem(topic.name, f"a broker that refuses settings ({told})", "its own apply; use Apache Kafka", False)
            for topic, told in refused.items()
        ]
    admin.wait_for_topics([topic.name for topic in topics], timeout_ms=int(clients.ANSWER_S * 1000))
    return problems


def _ask(admin: Any, connection: KafkaConnection, topics: Iterable[Topic], *, with_settings: bool) -> dict[Topic, str]:
    """Ask for topics; returns those whose settings were refused, and why."""
    wanted = {topic.name: topic for topic in topics}
    answer = admin.create_topics(
        {
            topic.name: {
                "num_partitions": topic.partitions,
                "replication_factor": topic.replication,
                "configs": topic.settings() if with_settings else {},
            }
            for topic in wanted.values()
        },
        timeout_ms=int(clients.ANSWER_S * 1000),
        raise_errors=False,
    )
    refused = {}
    for result in answer["topics"]:
        code, name = result["error_code"], result["name"]
        told = printable(result.get("error_message") or for_code(code).__name__, 200)
        if code in (0, _EXISTS):  # one that exists now was made by somebody else at the same moment
            continue
        if code in _SETTINGS_REFUSED and with_settings:
            refused[wanted[name]] = told
        elif code == _TOO_FEW_BROKERS:
            copies = wanted[name].replication
            raise TopicError(name, f"no {copies} brokers for {copies} copies", "write a smaller --replication")
        else:
            remedy = "let its administrator allow it, or create the topics as `rapport topics list` shows them"
            raise BrokerError(connection.address, f"a refusal to create {name} ({told})", remedy)
    return refused


def _survey(admin: Any, topics: Iterable[Topic]) -> list[Found]:
    by_name = {topic.name: topic for topic in topics}
    described = {entry["name"]: entry for entry in admin.describe_topics(list(by_name))}
    found = []
    for name, topic in by_name.items():
        entry = described.get(name, {"error_code": _UNKNOWN})
        code = entry["error_code"]
        if code == _UNKNOWN:
            found.append(Found(topic, 0, 0, {}))
            continue
        if code:
            raise for_code(code)(name)
        partitions = entry["partitions"]
        copies = min((len(set(partition["replica_nodes"])) for partition in partitions), default=0)
        found.append(Found(topic, len(partitions), copies, {}))
    told = _settings(admin, [each.topic.name for each in found if each.partitions])
    return [replace(each, settings=told.get(each.topic.name, {})) for each in found]


def _settings(admin: Any, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    try:
        answer = admin.describe_configs(resources, config_filter="all")
    except KafkaError:  # some brokers, and some users' permissions, do not go so far
        return {}
    return {
        name: {key: entry["value"] for key, entry in told.items() if entry["value"] is not None}
        for name, told in answer.get("topic", {}).items()
    }


def _compared(found: Iterable[Found]) -> list[Problem]:
    problems = [problem for each in found for problem in _differences(each)]
    silent = [each.topic.name for each in found if each.partitions and not each.settings]
    if silent:
        names = ", ".join(silent)
        told = "only the partitions were compared; ask its administrator for the rest"
        problems.append(Problem(names, "a broker that does not tell their settings", told, False))
    return sorted(problems, key=lambda problem: not problem.stops)


def _differences(found: Found) -> list[Problem]:
    topic, settings = found.topic, found.settings
    if not found.partitions:
        return [Problem(topic.name, "no such topic", _NO_TOPIC)]
    problems = []
    if found.partitions != topic.partitions:
        problems.append(_partitions(found))
    if found.replication < topic.replication:
        remedy = "add copies with kafka-reassign-partitions, or plan for fewer: --replication"
        problems.append(Problem(topic.name, f"{found.replication} of {topic.replication} copies", remedy, False))
    kept = found.retention_ms
    if kept is not None and kept != topic.retention_ms:
        problems.append(_retention(topic, kept))
    cleanup = settings.get("cleanup.policy", topic.cleanup)
    if cleanup != topic.cleanup:
        why = "set cleanup.policy=delete on it: compaction drops records that are still needed"
        problems.append(Problem(topic.name, f"cleanup.policy={printable(cleanup)}", why))
    timestamps = settings.get("message.timestamp.type", topic.timestamps)
    if timestamps != topic.timestamps:
        why = (
            "arrival is what senders claim, and retention counts from that"
            if topic.timestamps == "LogAppendTime"
            else "played history would arrive now"
        )
        remedy = f"set message.timestamp.type={topic.timestamps} on it: else {why}"
        problems.append(Problem(topic.name, f"message.timestamp.type={printable(timestamps)}", remedy, False))
    largest = _whole(settings.get("max.message.bytes"))
    if largest is not None and largest < topic.max_bytes:
        remedy = f"set max.message.bytes={topic.max_bytes} on it: else large records cannot be written"
        problems.append(Problem(topic.name, f"max.message.bytes={largest}", remedy))
    return problems


def _partitions(found: Found) -> Problem:
    topic = found.topic
    had = f"{found.partitions} partitions where the plan has {topic.partitions}"
    if topic.fixed:
        option = f"plan for {found.partitions}: --partitions {found.partitions}"
        why = "with another number keys would move to other partitions, away from their state"
        return Problem(topic.name, had, f"{option}; {why}: that takes a new installation, with a prefix of its own")
    if topic.role == "raw":
        remedy = f"plan for them: --raw-partitions {found.partitions}; or add some with kafka-topics --alter"
    else:
        remedy = "it may stay so: only its subscribers share their work by them"
    return Problem(topic.name, had, remedy, False)


def _retention(topic: Topic, kept: int) -> Problem:
    shorter = topic.retention_ms < 0 or 0 <= kept < topic.retention_ms
    if not shorter:
        why = "erased customers' records stay in it that long, which [engine] erasure_days has to cover"
    elif topic.name.endswith(EVENTS):
        why = "a restored copy of the state store may be no older than that"
    else:
        why = "what is not read by then is lost"
    remedy = f"set retention.ms={topic.retention_ms} on it (kafka-configs --alter), or know that {why}"
    return Problem(
        topic.name, f"a retention of {days(kept)} where the plan has {days(topic.retention_ms)}", remedy, False
    )


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.lstrip("-").isdigit() else None
