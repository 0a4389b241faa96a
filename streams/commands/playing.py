"""``rapport play``."""

from __future__ import annotations

import math
import os
import time
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import typer

from schemas.intake import Intake, IntakeOptions
from schemas.routing import RAW_TOPICS
from streams.environment import kafka_from_environment
from streams.event_files import EventFiles
from streams.player import MAX_SPEED, Player

from . import common
from .replaying import Files, Zone

INTERRUPTED = 130


def play(
    files: Files,
    speed: Annotated[
        str,
        typer.Option(
            "--speed", metavar="60x|max", help="Event time runs so many times as fast as the clock on the wall."
        ),
    ] = "max",
    kafka: Annotated[
        str | None, typer.Option("--kafka", metavar="HOST:PORT", help="The broker; RAPPORT_KAFKA without it.")
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", metavar="P", help="Put before the raw topics' names.")] = "",
    clock: Annotated[
        Literal["event", "wall"],
        typer.Option(
            "--clock", help="event: records have the events' times, and ticks are written; wall: it is now, no ticks."
        ),
    ] = "event",
    tick: Annotated[
        str, typer.Option("--tick", metavar="DURATION", help="Event time from one tick to the next: 30s, 5m.")
    ] = "5m",
    advance: Annotated[
        str | None,
        typer.Option(
            "--advance", metavar="DURATION", help="Let time go on after the last event, so that later timers fire: 30d."
        ),
    ] = None,
    only_topic: Annotated[
        str, typer.Option("--only-topic", metavar="TOPIC", help="Put all records into one raw topic: clickstream.")
    ] = "",
    compression: Annotated[
        Literal["gzip", "none"], typer.Option("--compression", help="How batches are compressed.")
    ] = "gzip",
    timezone: Zone = "UTC",
) -> None:
    """Play event files into the raw topics, as if the events happened now.

    The engine must run on the same clock as the player: rapport worker --clock event.

    Example: rapport play shop.jsonl.gz --speed 3600x --kafka 127.0.0.1:9092

    From a pipe: rapport simulate --days 30 | rapport play - --advance 30d

    Exit code: 0 done; 1 the broker is away, or a file could not be read to its end; 2 wrong options; 130 Ctrl-C.
    """
    pace = _speed(speed)
    tick_ms = common.milliseconds(tick)
    advance_ms = common.milliseconds(advance)
    if tick_ms < 1:
        raise typer.BadParameter("'0' is no time between ticks: write --tick 5m", param_hint="--tick")
    if advance_ms and clock == "wall":
        raise typer.BadParameter(
            "the wall's clock cannot be advanced: leave one of the two out", param_hint="--advance"
        )
    if only_topic and only_topic not in RAW_TOPICS:
        raise typer.BadParameter(f"write one of {', '.join(RAW_TOPICS)}", param_hint="--only-topic")
    Intake(IntakeOptions(timezone=timezone))  # says that a zone is unknown
    connection = kafka_from_environment(os.environ, kafka)
    source = EventFiles(files, ZoneInfo(timezone))
    source.open()
    stopped = False
    started = time.perf_counter()
    with Player(
        connection,
        prefix=prefix,
        clock=clock,
        tick_ms=tick_ms,
        only_topic=only_topic,
        compression="" if compression == "none" else compression,
        zone=ZoneInfo(timezone),
    ) as player:
        try:
            with common.bytes_read(files, player.sent.total) as progress:
                player.play_files(source, pace, progress)
            if advance_ms and player.at:
                player.tick(player.at + advance_ms)
                player.flush()
        except KeyboardInterrupt:
            stopped = True
            player.flush()
    _say(player, time.perf_counter() - started, stopped)
    for error in source.broken:
        common.say(f"{error}; what came before it was played", "yellow", common.err)
    if stopped:
        raise typer.Exit(INTERRUPTED)
    if source.broken:
        raise typer.Exit(1)


def _speed(text: str) -> float:
    """How many times as fast as the wall; 0 for ``max``."""
    if text == "max":
        return MAX_SPEED
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not (speed > 0 and math.isfinite(speed)):
        raise typer.BadParameter(f"{text!r} is no speed: write 1x, 60x or max", param_hint="--speed")
    return speed


def _say(player: Player, seconds: float, stopped: bool) -> None:
    total = player.sent.total()
    topics = ", ".join(f"{topic} {player.sent[topic]:,}" for topic in RAW_TOPICS if player.sent[topic])
    common.say(
        f"{'Stopped early: ' if stopped else ''}{total:,} records played in {seconds:,.1f} s"
        f"{f' ({topics})' if topics else ''}, time told {player.ticks:,} times"
    )
    if player.unreadable:
        common.say(
            f"{player.unreadable:,} of them name neither customer nor time: the engine's dead letters will say why",
            "yellow",
        )
