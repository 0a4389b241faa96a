"""``rapport ui``: the dashboard."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from typing import Annotated

import typer
from aiohttp import web

from streams.customer_live import Installation
from streams.environment import from_environment
from streams.errors import StreamError, system_reason
from streams.topic_plan import Clock
from streams.ui.app import application
from streams.ui.auth import TOKEN_VARIABLE, Auth, given_token
from streams.ui.guard import Site, site

from . import common
from .running import AppName, CampaignFile, KafkaAddress, Prefix, RedisAddress, logs

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def ui(
    campaigns: CampaignFile = None,
    kafka: KafkaAddress = None,
    redis: RedisAddress = None,
    app: AppName = "rapport",
    prefix: Prefix = "",
    clock: Annotated[Clock, typer.Option(help="As of rapport worker; event where history is played.")] = "wall",
    host: Annotated[
        str, typer.Option(help="Where to listen; another than loopback needs RAPPORT_UI_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8787,
    origin: Annotated[
        str,
        typer.Option(metavar="URL", help="As browsers reach it through a reverse proxy: https://rapport.example.com."),
    ] = "",
) -> None:
    """The dashboard in a browser: stream, funnel, triggers and their reasons, models, customers, campaigns.

    Give it the campaigns file of the workers, to see each campaign beside its counts.

    Example: rapport ui --campaigns campaigns.toml

    It prints a link that logs one browser in. With RAPPORT_UI_TOKEN, or RAPPORT_UI_TOKEN_FILE that names a file, the token logs in instead.

    It reads topics and store and changes nothing, but for two buttons that ask first: the kill switch, and a customer's erasure.
    """
    token = given_token(os.environ)
    if host not in LOOPBACK and not token:
        raise StreamError("--host", f"{host} without a token", f"set {TOKEN_VARIABLE}, or leave --host out")
    settings = common.settings(campaigns)
    place = Installation(
        from_environment(os.environ, kafka=kafka, redis=redis), app, prefix, settings, common.snapshot_key()
    )
    asyncio.run(_serve(place, token, host, port, origin, clock))


async def _serve(place: Installation, token: str, host: str, port: int, origin: str, clock: Clock) -> None:
    address = f"[{host}]" if ":" in host else host
    found = site(port, origin)  # checked before anything is opened

    def show(code: str) -> None:
        common.say(f"log in once, within 15 minutes:  http://{address}:{port}/login?code={code}")

    listening = _listening(host, port)
    port = listening.getsockname()[1]
    if not origin:
        found = Site(frozenset({*site(port).origins, f"http://{address}:{port}"}))
    common.say(f"dashboard  {origin or f'http://{address}:{port}'}  (Ctrl-C ends it)")
    logs()
    auth = Auth(token, time.monotonic, None if token else show)
    if token:
        common.say(f"log in with the token of {TOKEN_VARIABLE}")
    runner = web.AppRunner(application(place, auth, found, clock), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        await stopped.wait()
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await runner.cleanup()


def _listening(host: str, port: int) -> socket.socket:
    """A socket of our own, so that the port is known before the first link is shown."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        found = system_reason(error) if isinstance(error, OSError) else str(error)
        raise StreamError(f"{host}:{port}", found, "name another port: --port 0 takes a free one") from error
    listening.setblocking(False)
    return listening
