"""``rapport topics``: create an installation's topics, show them, check them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from schemas.errors import printable
from streams import topics
from streams.connection import KafkaConnection
from streams.environment import kafka_from_environment
from streams.files import STDIO
from streams.topic_plan import Clock, TopicPlan, days
from streams.topics import Found, Problem

from . import common

HELP = """The topics of an installation: create them, list them, check them.

Which broker: --kafka HOST:PORT or RAPPORT_KAFKA, else 127.0.0.1:9092; log-in and TLS by RAPPORT_KAFKA_SECURITY,
RAPPORT_KAFKA_MECHANISM, RAPPORT_KAFKA_USERNAME, RAPPORT_KAFKA_PASSWORD or RAPPORT_KAFKA_PASSWORD_FILE, RAPPORT_KAFKA_CA.
"""

app = typer.Typer(help=HELP, no_args_is_help=True)

Kafka = Annotated[
    str | None, typer.Option("--kafka", metavar="HOST:PORT", help="The broker; RAPPORT_KAFKA without it.")
]
Prefix = Annotated[
    str, typer.Option("--prefix", metavar="TEXT", help="Stands before every topic's name, to share a cluster.")
]
Partitions = Annotated[
    int, typer.Option(min=1, max=10_000, help="Of the log and the outbound topics: so many workers can share the work.")
]
RawPartitions = Annotated[
    int | None, typer.Option(min=1, max=10_000, help="Of the raw topics; as many as --partitions without it.")
]
Replication = Annotated[int, typer.Option(min=1, max=100, help="Copies of each record; 3 in production.")]
ClockOption = Annotated[
    Clock, typer.Option("--clock", help="wall: live events. event: history is played, with timestamps of its own.")
]


@app.callback()
def topics_() -> None:
    """The topics of an installation: create them, list them, check them."""


def connection(kafka: str | None) -> KafkaConnection:
    """The broker of the command line or the environment."""
    return kafka_from_environment(os.environ, kafka)


@app.command("create")
def create(
    partitions: Partitions = 6,
    raw_partitions: RawPartitions = None,
    replication: Replication = 1,
    prefix: Prefix = "",
    clock: ClockOption = "wall",
    kafka: Kafka = None,
) -> None:
    """Create the topics that are missing; those that exist stay as they are and are compared.

    The number of partitions is for the life of an installation: with another number customers would move to other
    partitions, away from their profiles. So take more than there are workers today: 6 to start with, 24 for a big shop.

    Example: rapport topics create --partitions 12 --replication 3

    Exit code: 0 all there; 1 refused, or something stops the engine; 2 wrong options.
    """
    plan = TopicPlan(prefix, partitions, raw_partitions, replication, clock)
    at = connection(kafka)
    made = topics.create(at, plan)
    for topic in plan.all():
        if topic.name in made.created:
            common.say(f"created  {topic.name}: {topic.partitions} partitions, kept {days(topic.retention_ms)}")
        else:
            common.say(f"exists   {topic.name}")
    common.say(f"{len(made.created)} topics created, {len(made.existing)} existed, on {at.address}")
    _tell(made.problems)


@app.command("list")
def list_(
    prefix: Prefix = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array, for programs.")] = False,
    kafka: Kafka = None,
) -> None:
    """Show the topics as the cluster has them.

    Records are counted from the first offset to the last: the closing marks of transactions count too.

    Example: rapport topics list --json
    """
    found = topics.survey(connection(kafka), TopicPlan(prefix))
    if as_json:
        common.written(STDIO, [msgspec.json.format(msgspec.json.encode([_row(each) for each in found]), indent=2)])
        return
    table = Table("topic", "role", box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="cyan")
    for name in ("partitions", "copies", "retention", "records"):
        table.add_column(name, justify="right")
    table.add_column("timestamps")
    for each in found:
        table.add_row(*_cells(each), style="" if each.partitions else "yellow")
    common.out.print(table)
    missing = sum(not each.partitions for each in found)
    if missing:
        common.say(f"{missing} of {len(found)} topics are missing; create them: rapport topics create")


@app.command("check")
def check(
    partitions: Partitions = 6,
    raw_partitions: RawPartitions = None,
    replication: Replication = 1,
    prefix: Prefix = "",
    clock: ClockOption = "wall",
    kafka: Kafka = None,
) -> None:
    """Compare the cluster with the plan, and say what differs and what to do about it.

    Give it the options that create was given.

    Example: rapport topics check --partitions 12 --replication 3

    Exit code: 0 nothing stops the engine; 1 something does, or no broker answers; 2 wrong options.
    """
    plan = TopicPlan(prefix, partitions, raw_partitions, replication, clock)
    at = connection(kafka)
    problems = topics.check(at, plan)
    if not problems:
        common.say(f"{len(plan.all())} topics on {at.address} are as planned")
    _tell(problems)


def _cells(found: Found) -> list[str]:
    name = [found.topic.name, found.topic.role]
    if not found.partitions:
        return [*name, "missing"]
    return [
        *name,
        str(found.partitions),
        str(found.replication),
        "" if found.retention_ms is None else days(found.retention_ms),
        "" if found.records is None else f"{found.records:,}",
        printable(found.settings.get("message.timestamp.type", "")),
    ]


def _row(found: Found) -> dict[str, object]:
    return {
        "topic": found.topic.name,
        "role": found.topic.role,
        "exists": found.partitions > 0,
        "partitions": found.partitions,
        "replication": found.replication,
        "retention_ms": found.retention_ms,
        "timestamps": found.settings.get("message.timestamp.type"),
        "records": found.records,
    }


def _tell(problems: Iterable[Problem]) -> None:
    """Say each difference once with all topics that have it; what stops the engine ends with exit code 1."""
    alike: dict[Problem, list[str]] = {}
    for problem in problems:
        same = Problem("", problem.found, problem.remedy, problem.stops)
        alike.setdefault(same, []).append(problem.topic)
    for same, names in alike.items():
        problem = Problem(", ".join(names), same.found, same.remedy)
        common.say(f"{'problem' if same.stops else 'note'}: {problem}", "red" if same.stops else "")
    if any(same.stops for same in alike):
        raise typer.Exit(1)
