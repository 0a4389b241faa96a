"""``rapport record``."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer
from redis.exceptions import RedisError

from streams import provenance
from streams.connection import RedisConnection
from streams.environment import from_environment
from streams.files import STDIO
from streams.kept_models import KeptModels, Version
from streams.provenance import Provenance
from streams.recorded import Named
from streams.recording import Recording, recording
from streams.redis_store import RedisStore
from streams.refusals import store_error
from streams.topic_plan import EVENTS

from . import common
from .running import AppName, RedisAddress

INTERRUPTED = 130
EVERY = 1000


def record(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic's whole name, such as events.")],
    out: common.EventsOut = STDIO,
    kafka: Annotated[
        str | None, typer.Option("--kafka", metavar="HOST:PORT", help="The broker; RAPPORT_KAFKA without it.")
    ] = None,
    partition: Annotated[
        int | None, typer.Option("--partition", min=0, metavar="N", help="This partition only, not all in turn.")
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(
            "--models",
            metavar="FOLDER",
            help="Where the model versions go that the log names; FILE.models without it. Recordings can share one.",
        ),
    ] = None,
    no_models: Annotated[
        bool, typer.Option("--no-models", help="Leave the model versions out; no state store is asked.")
    ] = False,
    redis: RedisAddress = None,
    app: AppName = "rapport",
) -> None:
    """Write what is in a topic now into a file, each record's value as a line.

    Only what is committed, from the earliest record to the end as it is at the start.

    Of one partition of events it also saves what a replay needs: where the log begins, into FILE.provenance.json, and
    the model versions that it names, as far as the state store still keeps them.

    Example: rapport record events --partition 0 -o log.jsonl.gz

    Then: rapport replay --log log.jsonl.gz -c examples/campaigns.toml

    Exit code: 0 done; 1 broker or store is away, there is no such topic, or a value is no line; 2 wrong options; 130 Ctrl-C.
    """
    if models is not None and no_models:
        raise typer.BadParameter("it contradicts --models: leave one out", param_hint="--no-models")
    connection = from_environment(os.environ, kafka=kafka, redis=redis)
    named = Named()
    with recording(connection.kafka, topic, partition) as found:
        one = len(found.partitions) == 1 and topic.endswith(EVENTS)
        if one and out != STDIO:
            provenance.path_of(out).unlink(missing_ok=True)  # that of an earlier log under this name
        try:
            with common.err.status(f"recording {topic}") as status:

                def progress(count: int) -> None:
                    if count % EVERY == 0:
                        status.update(f"recording {topic}: {count:,} records")

                lines = found.lines(progress)
                count = common.written(out, named.watch(lines) if one else lines)
        except KeyboardInterrupt:
            common.say("stopped: nothing written" if out != STDIO else "stopped", console=common.err)
            raise typer.Exit(INTERRUPTED) from None
    place = "standard output" if out == STDIO else out
    single = len(found.partitions) == 1
    partitions = f"partition {found.partitions[0]}" if single else f"{len(found.partitions)} partitions"
    common.say(f"{count:,} records of {topic}, {partitions}, written to {place}", console=common.err)
    if one:
        _begins(found, out, count)
    if named.versions and not no_models:
        folder = models or (provenance.beside(out, ".models") if out != STDIO else None)
        _save(named, folder, connection.redis, app)
    elif named.versions:
        common.say(f"{len(named.versions):,} model versions that it names are left out", console=common.err)


def _begins(found: Recording, out: str, count: int) -> None:
    """Keep where the log begins, and say what a beginning that is gone means."""
    (number,), start = found.partitions, found.starts[found.partitions[0]]
    if out != STDIO:
        known = Provenance(topic=found.topic, partition=number, partitions=found.of, start=start, records=count)
        provenance.write(out, known)
    if start:
        text = f"it begins at offset {start:,}: retention took what was before, so a replay of it is inexact"
        common.say(text, "yellow", console=common.err)


def _save(named: Named, folder: Path | None, redis: RedisConnection, app: str) -> None:
    if folder is None:
        common.say("the model versions that it names go nowhere: write --models FOLDER", "yellow", console=common.err)
        return
    missing = asyncio.run(_saved(named, KeptModels(folder), redis, app))
    there, all_ = len(named.versions) - len(missing), len(named.versions)
    common.say(f"{there:,} of {all_:,} model versions that it names are in {folder}", console=common.err)
    if missing:
        first = min(named.versions[version] for version in missing)
        text = f"{len(missing):,} are no longer kept: a replay is inexact from about record {first:,} on"
        common.say(text, "yellow", console=common.err)


async def _saved(named: Named, folder: KeptModels, redis: RedisConnection, app: str) -> list[Version]:
    store = RedisStore(redis.client(), app)
    try:
        return await folder.save(
            reversed(named.versions), store
        )  # the latest first, while the store drops the earliest
    except (RedisError, OSError) as error:
        remedy = "name the state store: --redis URL; or leave model versions out: --no-models"
        raise store_error(error, redis.address, remedy) from error
    finally:
        await store.close()
