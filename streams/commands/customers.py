"""``rapport customer``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from models.errors import ModelError
from schemas.errors import SchemaError, printable
from streams import timeline_text
from streams.connection import Connection
from streams.customer_life import Life, of_folder, replayed
from streams.customer_live import Installation, live
from streams.environment import from_environment
from streams.errors import StreamError
from streams.files import STDIO, FileError
from streams.likeness import like
from streams.recorded import recorded_log
from streams.replay import Options
from streams.timeline import KINDS, Entry

from . import common
from .replaying import INTERRUPTED, Config, Currency, Unsorted, Zone, read_state
from .running import AppName, KafkaAddress, Prefix, RedisAddress

UNKNOWN, TROUBLE = 1, 2
FOREVER = 1 << 62
_encoder = msgspec.json.Encoder(decimal_format="string")


def customer(
    id_: Annotated[str, typer.Argument(metavar="ID", help="u: and a user id, or a: and a device's: u:7.")],
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Event files, or the folder of a replay. Without: the running installation.",
            show_default=False,
        ),
    ] = None,
    campaigns: Config = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE", help="From this day on, UTC: 2026-03-01.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="DATE", help="Up to this day, without it.")] = None,
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="KINDS", help=f"Only such entries, by comma: {', '.join(KINDS)}."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The entries, one JSON object a line.")] = False,
    unsorted: Unsorted = None,
    advance: Annotated[str | None, typer.Option("--advance", metavar="DURATION", help="As of replay.")] = None,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="FILE", help="Of files: start from this state, as of replay.")
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="PATH is a log that rapport record wrote.")] = False,
    models: Annotated[Path | None, typer.Option("--models", metavar="FOLDER", help="With --log: as of replay.")] = None,
    currency: Currency = "",
    timezone: Zone = "UTC",
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    app: AppName = "rapport",
    prefix: Prefix = "",
) -> None:
    """One customer's life on a time line: events, stages, scores, decisions, and what was suppressed and why.

    From event files everything is shown: rapport customer u:7 events.jsonl.gz -c campaigns.toml

    From the folder of a replay, what was decided and suppressed: rapport customer u:7 rapport-out

    From the running installation (RAPPORT_KAFKA, RAPPORT_REDIS), what its log and topics still hold: rapport customer u:7

    Times are in UTC. Exit code: 0 found; 1 no such customer; 2 trouble; 130 Ctrl-C.

    Example: rapport customer u:7 rapport-out --only decision,suppressed
    """
    wanted = _kinds(only)
    first, last = common.moment(since) or 0, common.moment(until) or FOREVER
    try:
        if not paths:
            life = _live(id_, from_environment(os.environ, kafka=kafka, redis=redis), app, prefix, campaigns)
        elif len(paths) == 1 and Path(paths[0]).is_dir():
            life = of_folder(id_, Path(paths[0]))
        else:
            options = Options(
                files=tuple(paths),
                log=recorded_log(paths[0], None, models) if log else None,
                settings=common.settings(campaigns),
                unsorted_ms=common.milliseconds(unsorted),
                advance_ms=common.milliseconds(advance),
                intake=common.intake(currency, timezone),
                key=common.snapshot_key(),
                state=read_state(state),
            )
            with common.bytes_read(paths, lambda: 0) as progress:
                life = replayed(id_, options, progress)
    except KeyboardInterrupt:
        common.say("stopped", console=common.err)
        raise typer.Exit(INTERRUPTED) from None
    except (FileError, ModelError, SchemaError, StreamError) as error:
        common.say(f"rapport: {error}", console=common.err)
        raise typer.Exit(TROUBLE) from error
    if not life.found:
        _unknown(life)
        raise typer.Exit(UNKNOWN)
    entries = [one for one in life.entries if (not wanted or one.kind in wanted) and first <= one.at < last]
    if as_json:
        common.written(STDIO, map(_encoder.encode, entries))
    else:
        _show(life, entries)
    for note in life.notes:
        common.say(note, "yellow", console=common.err)


def _live(customer: str, connection: Connection, app: str, prefix: str, campaigns: Path | None) -> Life:
    place = Installation(connection, app, prefix, common.settings(campaigns), common.snapshot_key())
    with common.err.status("reading the log") as status:

        def progress(done: int, total: int) -> None:
            status.update(f"reading the log: {done:,} of {total:,} records")

        return live(customer, place, progress)


def _show(life: Life, entries: list[Entry]) -> None:
    if life.profile is not None:
        for line in timeline_text.head(life.profile, life.settings, life.now):
            common.say(line)
        common.say("")
    for line in timeline_text.lines(entries, life.customer):
        common.say(line)
    if len(entries) < len(life.entries):
        left = len(life.entries) - len(entries)
        common.say(f"{left:,} further entries are left out by --since, --until or --only", "dim", console=common.err)


def _unknown(life: Life) -> None:
    near = [printable(one) for one in like(life.customer, life.known)]
    remedy = f"did you mean {', '.join(near)}?" if near else "ids are u: and a user id, or a: and a device's: u:7"
    common.say(f"rapport: {life.customer}: no such customer; {remedy}", console=common.err)


def _kinds(text: str | None) -> frozenset[str]:
    found = frozenset(name.strip() for name in (text or "").split(",")) - {""}
    unknown = sorted(found - set(KINDS))
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(KINDS)}", param_hint="--only")
    return found
