"""``rapport worker``, ``up`` and ``kill``: the engine on a stream."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import structlog
import typer
from redis.exceptions import RedisError

from models.policy.reading import Settings
from schemas.limits import IntakeOptions
from streams import worker as workers
from streams.environment import from_environment
from streams.errors import StreamError
from streams.metrics_server import FIRST, SPAN, Endpoint
from streams.ports import HOST
from streams.redis_store import RedisStore
from streams.refusals import store_error
from streams.settings import Limits, StreamSettings
from streams.stack import Stack
from streams.store import Keep
from streams.topic_plan import Clock

from . import common
from .examples import example_settings

HASH_SEED = "PYTHONHASHSEED"

KafkaAddress = Annotated[
    str | None, typer.Option("--kafka", metavar="HOST:PORT", help="The broker; RAPPORT_KAFKA without it.")
]
RedisAddress = Annotated[
    str | None, typer.Option("--redis", metavar="URL", help="The state store; RAPPORT_REDIS without it.")
]
AppName = Annotated[
    str, typer.Option("--app", help="The installation: consumer group, transactional ids and keys are named after it.")
]
Prefix = Annotated[str, typer.Option("--prefix", help="Put before every topic's name.")]
CampaignFile = Annotated[
    Path | None,
    typer.Option(
        "--campaigns",
        "-c",
        metavar="FILE",
        envvar="RAPPORT_CAMPAIGNS",
        help="Engine settings and campaigns; none: profiles and models are kept, nothing is sent.",
    ),
]

MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        metavar="N",
        min=0,
        max=65535,
        envvar="RAPPORT_METRICS_PORT",
        help=f"Where Prometheus finds this worker's numbers; 0 takes a free port. Without it {FIRST}, or one of the next "
        f"{SPAN - 1} where others have it.",
    ),
]
MetricsHost = Annotated[
    str,
    typer.Option(
        "--metrics-host",
        metavar="HOST",
        envvar="RAPPORT_METRICS_HOST",
        help="Address that it listens on; nobody logs in.",
    ),
]


def worker(
    role: Annotated[
        Literal["all", "intake", "engine", "learner"],
        typer.Option(help="Which agents run: intake reads raw topics, engine decides, learner teaches the models."),
    ] = "all",
    campaigns: CampaignFile = None,
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    app: AppName = "rapport",
    prefix: Prefix = "",
    clock: Annotated[
        Clock, typer.Option(help="wall: live, time is the wall's. event: history is played, time is the events'.")
    ] = "wall",
    transactions: Annotated[
        bool, typer.Option(help="--no-transactions for a broker without them, such as the embedded one.")
    ] = True,
    currency: Annotated[str, typer.Option(help="Currency of amounts without one, such as EUR.")] = "",
    timezone: Annotated[str, typer.Option(help="Time zone of times without an offset, such as Europe/Paris.")] = "UTC",
    keep_versions: Annotated[
        int,
        typer.Option(
            min=1,
            max=100_000,
            help="Versions of each model that the state store keeps; a replay of a log of several partitions needs "
            "those that it names. At most 256 MB of each model, whatever this says.",
        ),
    ] = Keep().versions,
    cache_profiles: Annotated[
        int,
        typer.Option(
            min=1,
            help="Customers whose profiles this worker keeps decoded in memory, each about five times its bytes in the store.",
        ),
    ] = Limits().profiles,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = HOST,
    metrics: Annotated[bool, typer.Option(help="--no-metrics serves no numbers to Prometheus.")] = True,
) -> None:
    """Run a worker: any number of them share the work of an installation.

    Before the first: rapport topics create

    Example: rapport worker --campaigns campaigns.toml

    Ctrl-C or SIGTERM ends it: what is under way is committed first. A killed worker loses nothing.
    """
    if HASH_SEED not in os.environ:
        # sets must be walked alike in every worker, should one ever be walked
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, HASH_SEED: "0"})
    logs()
    settings = stream_settings(
        common.settings(campaigns) if campaigns else Settings(),
        app=app,
        prefix=prefix,
        clock=clock,
        transactions=transactions,
        intake=common.intake(currency, timezone),
        keep=Keep(keep_versions),
        limits=Limits(profiles=cache_profiles),
    )
    connection = from_environment(os.environ, kafka=kafka, redis=redis)
    endpoint = Endpoint(metrics_host, metrics_port) if metrics else None
    raise typer.Exit(workers.run(lambda: workers.Worker(connection, settings, role, metrics=endpoint)))


def up(
    campaigns: CampaignFile = None,
    folder: Annotated[
        Path, typer.Option("--folder", metavar="DIR", help="Where broker and state store keep their files.")
    ] = Path(".rapport"),
    clock: Annotated[Clock, typer.Option(help="As of rapport worker; event to play files into it.")] = "event",
) -> None:
    """Bring up broker, state store and one worker on this machine, and leave them running until Ctrl-C.

    Example: rapport up

    Then, in another terminal: rapport play shop.jsonl.gz --kafka ADDRESS --speed 600x

    The embedded broker keeps its topics in memory and has no transactions: for trying, not for production.
    """
    settings = common.settings(campaigns) if campaigns else example_settings()
    common.end_on_term()
    with Stack(folder, campaigns, clock) as stack:
        common.say(f"broker  {stack.kafka}\nstore   {stack.redis}\nworker  process {stack.worker.pid}")
        names = ", ".join(campaign.config.id for campaign in settings.campaigns.all())
        common.say(f"campaigns  {names}")
        common.say(f"\nplay a file into it:  rapport play FILE --kafka {stack.kafka} --speed 600x")
        subscriber = f"{_python()} examples/subscriber.py --kafka {stack.kafka} --clock {clock}"
        common.say(f"see what comes out:   {subscriber}")
        file = f" --campaigns {campaigns}" if campaigns else ""
        common.say(
            f"the dashboard:        rapport ui --kafka {stack.kafka} --redis {stack.redis} --clock {clock}{file}"
        )
        common.say("Ctrl-C ends all of it.")
        code = stack.wait()
    if code:
        raise StreamError("the worker", f"an end with code {code}", f"see {folder / 'worker.log'}")


def kill(
    state: Annotated[Literal["on", "off"], typer.Argument(help="on: no trigger goes out. off: they do again.")],
    redis: RedisAddress = None,
    app: AppName = "rapport",
) -> None:
    """Stop all triggers of a running installation within a second; profiles and models go on.

    Example: rapport kill on
    """
    connection = from_environment(os.environ, redis=redis)

    async def turn() -> None:
        store = RedisStore(connection.redis.client(), app)
        try:
            await store.kill(state == "on")
        finally:
            await store.close()

    try:
        asyncio.run(turn())
    except (RedisError, OSError) as error:
        raise store_error(error, connection.redis.address) from error
    common.say("kill switch on: no trigger goes out" if state == "on" else "kill switch off: triggers go out again")


def _python() -> str:
    """This environment's interpreter, as it can be typed from here."""
    here = Path(sys.executable)
    return shlex.quote(str(here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here))


def stream_settings(engine: Settings, intake: IntakeOptions | None = None, **settings: Any) -> StreamSettings:
    """Stream settings with the key that signs snapshots."""
    return StreamSettings(engine=engine, intake=intake or IntakeOptions(), key=common.snapshot_key(), **settings)


def logs() -> None:
    """Log lines to standard error: readable in a terminal, JSON in a pipe."""
    tty = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if tty else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
