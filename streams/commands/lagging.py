"""``rapport lag``: how far each stage is behind, when it has caught up, and which triggers expired before they were read."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Annotated

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from schemas.errors import printable
from streams import lag as lags
from streams import lag_metrics
from streams.environment import from_environment
from streams.errors import BrokerError
from streams.files import STDIO
from streams.lag import NOBODY, Course, Expired, Limits, Look, Pace, Spot, Total
from streams.lag_survey import Survey
from streams.metrics_server import Endpoint
from streams.ports import HOST
from streams.stopped import span
from streams.topic_plan import Clock, TopicPlan

from . import common
from .running import AppName, RedisAddress
from .topics import Kafka, Prefix

PASSED = 3
AGAIN_S = 2.0
MARGIN = 12
"""Lines of a terminal that are kept free of partitions."""


def lag(
    once: Annotated[bool, typer.Option("--once", help="Look twice, --interval apart, print it and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --once: one JSON object, for programs.")] = False,
    interval: Annotated[
        float,
        typer.Option("--interval", min=0.0, max=3600.0, help="Seconds between two looks; rates need two. 0: one."),
    ] = AGAIN_S,
    max_events: Annotated[
        int | None, typer.Option("--max-events", min=0, metavar="N", help="Records of a topic that may be undone.")
    ] = None,
    max_seconds: Annotated[
        float | None,
        typer.Option("--max-seconds", min=0.0, metavar="S", help="How far a partition may be behind, or have to wait."),
    ] = None,
    max_expired: Annotated[
        int | None, typer.Option("--max-expired", min=0, metavar="N", help="Triggers that may expire unread.")
    ] = None,
    by: Annotated[
        str, typer.Option("--by", metavar="topic|partition", help="Rows of the table; partition where they fit.")
    ] = "",
    group: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            metavar="NAME",
            help="A subscriber's consumer group; may be given again. Without it every group that reads triggers.",
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port",
            metavar="N",
            min=0,
            max=65535,
            help="No table: serve what is seen to Prometheus, on 127.0.0.1, until Ctrl-C; 0 takes a free port.",
        ),
    ] = None,
    metrics_host: Annotated[
        str, typer.Option("--metrics-host", metavar="HOST", help="Address that it listens on; nobody logs in.")
    ] = HOST,
    app: AppName = "rapport",
    prefix: Prefix = "",
    clock: Annotated[
        Clock, typer.Option(help="As of the worker: with event, triggers expire by the time the log has come to.")
    ] = "wall",
    kafka: Kafka = None,
    redis: RedisAddress = None,
) -> None:
    """Show how far each stage is behind: in events, in time, and when it has caught up; live, until Ctrl-C.

    Asks the broker, and the state store for the learner's place; needs no worker and disturbs none.

    Example: rapport lag

    In a monitor: rapport lag --once --json --max-seconds 60 --max-expired 0

    Exit code: 0 within the bounds, or Ctrl-C; 1 no broker answers, or topics are missing; 2 wrong options; 3 a bound of
    --max-events, --max-seconds or --max-expired is passed (with --once).
    """
    if as_json and not once:
        raise typer.BadParameter("it is for one look: write --once as well", param_hint="--json")
    if by not in ("", "topic", "partition"):
        raise typer.BadParameter(f"{by!r} is neither topic nor partition", param_hint="--by")
    limits = Limits(max_events, max_seconds, max_expired)
    connection = from_environment(os.environ, kafka=kafka, redis=redis)
    survey = Survey(connection, TopicPlan(prefix), app, group or (), clock)
    if metrics_port is not None:
        if once:
            raise typer.BadParameter("it goes on until Ctrl-C: leave --once out", param_hint="--metrics-port")
        _serve(survey, interval or AGAIN_S, Endpoint(metrics_host, metrics_port))
        return
    if not once:
        _live(survey, interval or AGAIN_S, by, limits)
        return
    course = Course()
    with survey:
        course.add(survey.look())
        if interval:
            time.sleep(interval)
            course.add(survey.look())
    exceeded = lags.passed(lags.totals(course), course.last.triggers, limits)
    if as_json:
        common.written(STDIO, [msgspec.json.format(msgspec.json.encode(_plain(course, exceeded)), indent=2)])
    else:
        for part in _parts(course, exceeded, by or "partition"):
            common.out.print(part, soft_wrap=isinstance(part, Text) and not common.out.is_terminal)
    if exceeded:
        raise typer.Exit(PASSED)


def _live(survey: Survey, interval: float, by: str, limits: Limits) -> None:
    """A table that is drawn anew."""
    course = Course()
    with Live(console=common.out, auto_refresh=False, vertical_overflow="ellipsis") as live:

        def seen(look: Look) -> None:
            course.add(look)
            live.update(_screen(course, by, limits, ""), refresh=True)

        def away(trouble: str) -> None:
            live.update(_screen(course, by, limits, trouble), refresh=True)

        _again(survey, interval, seen, away)


def _serve(survey: Survey, interval: float, endpoint: Endpoint) -> None:
    """What is seen, for Prometheus."""
    metrics = lag_metrics.LagMetrics()
    at = lag_metrics.start(metrics, endpoint)
    common.say(f"metrics at {at}; Ctrl-C ends")
    common.end_on_term()
    _again(
        survey,
        interval,
        lambda look: metrics.see(look, time.time()),
        lambda trouble: common.say(f"no answer, and tried again: {trouble}", console=common.err),
    )


def _again(survey: Survey, interval: float, seen: Callable[[Look], None], away: Callable[[str], None]) -> None:
    """Look until Ctrl-C; a broker that goes away after the first look is waited for."""
    begun = False
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            try:
                with survey:
                    while True:
                        seen(survey.look())
                        begun = True
                        time.sleep(interval)
            except BrokerError as error:
                if not begun:
                    raise
                away(str(error))
                time.sleep(interval)


def _screen(course: Course, by: str, limits: Limits, trouble: str) -> RenderableType:
    fits = len(course.last.spots) + MARGIN <= common.out.height
    exceeded = lags.passed(lags.totals(course), course.last.triggers, limits)
    parts = list(_parts(course, exceeded, by or ("partition" if fits else "topic")))
    if trouble:
        parts.append(Text(f"no answer, and tried again; above is the last that was seen: {printable(trouble)}", "red"))
    return Group(*parts, Text("Ctrl-C ends", "dim"))


def _parts(course: Course, exceeded: list[str], by: str) -> Iterator[RenderableType]:
    yield _by_topic(course) if by == "topic" else _by_partition(course)
    yield Text("")
    if course.last.triggers:
        yield _triggers(course.last)
    else:
        yield Text("no triggers that nobody has read")
    for note in course.last.notes:
        yield Text(f"note: {printable(note, common.LONGEST)}", "yellow")
    for lost in (spot for spot in course.last.spots if spot.lost):
        yield Text(
            f"lost: retention removed {lost.lost:,} records of {lost.topic}[{lost.partition}] before the {lost.stage} read "
            "them; keep that topic longer, or start workers sooner",
            "red",
        )
    for one in exceeded:
        yield Text(f"passed: {one}", "red")


def _table(*columns: str, left: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="cyan")
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number < left else "right", no_wrap=True)
    return table


def _by_partition(course: Course) -> Table:
    table = _table(
        "stage", "topic", "", "position", "end", "lag", "behind", "waits", "in/s", "done/s", "caught up", left=2
    )
    for spot in course.last.spots:
        table.add_row(
            spot.stage,
            printable(spot.topic),
            str(spot.partition),
            "–" if spot.position is None else f"{spot.position:,}",
            f"{spot.end:,}",
            *_cells(spot, course.pace(spot), course.catches_up_s(spot)),
            style="" if not spot.unread else "bold",
        )
    return table


def _by_topic(course: Course) -> Table:
    table = _table("stage", "topic", "partitions", "lag", "behind", "waits", "in/s", "done/s", "caught up", left=2)
    for total in lags.totals(course):
        table.add_row(
            total.stage,
            printable(total.topic),
            str(total.partitions),
            *_cells(total, total.pace, total.catches_up_s),
            style="" if not total.unread else "bold",
        )
    return table


def _cells(one: Spot | Total, pace: Pace | None, catches_up_s: float | None) -> list[str]:
    if one.unread == 0:
        until = ""
    elif pace is None or one.unread is None:
        until = "?"
    else:
        until = "never" if catches_up_s is None else f"in {span(round(catches_up_s) * 1000)}"
    return [
        "?" if one.unread is None else f"{one.unread:,}",
        _time(one.behind_ms),
        _time(one.waiting_ms),
        "" if pace is None else f"{pace.arrives:,.0f}",
        "" if pace is None or one.unread is None else f"{pace.done:,.0f}",
        until,
    ]


def _time(ms: int | None) -> str:
    return "–" if ms is None else span(ms) if ms else ""


def _triggers(look: Look) -> Table:
    table = _table("subscriber", "triggers on", "unread", "expired unread", "oldest", "expired, by campaign", left=2)
    for one in look.triggers:
        least = "≥ " if one.more else ""
        table.add_row(
            printable(one.group) if one.group != NOBODY else "nobody",
            printable(one.topic),
            f"{one.unread:,}",
            f"{least}{one.gone:,}",
            "" if one.oldest is None else span(max(0, look.now - one.oldest)),
            ", ".join(f"{printable(campaign)} {count:,}" for campaign, count in list(one.expired.items())[:3]),
            style="red" if one.expired else "",
        )
    return table


def _plain(course: Course, exceeded: list[str]) -> dict[str, object]:
    look = course.last
    return {
        "at": time.time_ns() // 1_000_000,
        "partitions": [_spot(course, spot) for spot in look.spots],
        "topics": [_total(total) for total in lags.totals(course)],
        "triggers": [_expired(one, look.now) for one in look.triggers],
        "notes": look.notes,
        "passed": exceeded,
    }


def _spot(course: Course, spot: Spot) -> dict[str, object]:
    return {
        "stage": spot.stage,
        "topic": spot.topic,
        "partition": spot.partition,
        "position": spot.position,
        "start": spot.start,
        "end": spot.end,
        "lag": spot.unread,
        "lost": spot.lost,
        **_times(spot.behind_ms, spot.waiting_ms, course.pace(spot), course.catches_up_s(spot)),
    }


def _total(total: Total) -> dict[str, object]:
    return {
        "stage": total.stage,
        "topic": total.topic,
        "partitions": total.partitions,
        "lag": total.unread,
        "lost": total.lost,
        **_times(total.behind_ms, total.waiting_ms, total.pace, total.catches_up_s),
    }


def _times(behind_ms: int | None, waiting_ms: int | None, pace: Pace | None, until: float | None) -> dict[str, object]:
    return {
        "behind_s": None if behind_ms is None else behind_ms / 1000,
        "waiting_s": None if waiting_ms is None else waiting_ms / 1000,
        "in_per_s": None if pace is None else round(pace.arrives, 3),
        "done_per_s": None if pace is None else round(pace.done, 3),
        "caught_up_in_s": None if until is None else round(until, 1),
    }


def _expired(one: Expired, now: int) -> dict[str, object]:
    return {
        "group": one.group or None,
        "topic": one.topic,
        "unread": one.unread,
        "expired": one.gone,
        "at_least": one.more,
        "by_campaign": one.expired,
        "oldest_s": None if one.oldest is None else max(0, now - one.oldest) / 1000,
    }
