"""Where Prometheus finds a process's numbers: ``/metrics`` over HTTP, on the loopback unless told otherwise."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.aiohttp import make_aiohttp_handler
from prometheus_client.registry import Collector

from .errors import StreamError
from .ports import HOST

log = structlog.get_logger(__name__)
FIRST = 9464
SPAN = 16
"""Ports that are tried where none is named, so that several workers of one machine find each their own."""


@dataclass(frozen=True)
class Endpoint:
    """Where to listen.

    Parameters
    ----------
    host
        Address or name; nobody is asked to log in, so anything but the loopback wants a network of its own.
    port
        0 takes a free one; None the first free one of ``SPAN`` from ``FIRST`` on.
    """

    host: str = HOST
    port: int | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[socket.socket]:
        """A socket that listens there.

        Raises
        ------
        StreamError
            Where that cannot be.
        """
        ports = range(FIRST, FIRST + SPAN) if self.port is None else (self.port,)
        for port in ports:
            try:
                found = socket.create_server((self.host, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE and port != ports[-1]:
                    continue
                raise self.refused(port, error) from error
            with found:
                yield found
            return

    def refused(self, port: int, error: OSError) -> StreamError:
        """What to say where a port cannot be had."""
        if error.errno == errno.EADDRINUSE:
            shown = f"{self.host}:{port}" if self.port is not None else f"{self.host}:{FIRST} to {port}"
            return StreamError(
                "the metrics port",
                f"{shown} in use by another process",
                "name another with --metrics-port N, 0 for a free one, or leave it out with --no-metrics",
            )
        return StreamError(
            "the metrics port",
            f"no way to listen on {self.host}:{port} ({error.strerror or error})",
            "name an address of this machine with --metrics-host, and a port from 1024 on",
        )


async def serve(listening: socket.socket, collector: Collector) -> web.AppRunner:
    """Serve ``/metrics`` in this event loop, which alone changes the numbers; ``cleanup`` of what is returned ends it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    ProcessCollector(registry=registry)
    app = web.Application()
    app.router.add_get("/metrics", make_aiohttp_handler(registry))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    host, port = listening.getsockname()[:2]
    log.info("metrics", at=f"http://{host}:{port}/metrics")
    return runner
