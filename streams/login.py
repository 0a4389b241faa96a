"""Whether a broker takes the log-in, asked on one connection: whole clients only say that they came to nothing."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiokafka.conn import create_conn

from .connection import KafkaConnection


def log_in(connection: KafkaConnection, address: str, limit_s: float) -> None:
    """Log in at one address, and leave again.

    Parameters
    ----------
    limit_s
        How long it may take, seconds.

    Raises
    ------
    KafkaError
        As the broker says; an ``OSError`` or ``TimeoutError`` where it says nothing.
    """
    with ThreadPoolExecutor(1, "log-in") as aside:  # the caller's thread may run a loop already
        aside.submit(asyncio.run, _log_in(connection, address, limit_s)).result()


async def _log_in(connection: KafkaConnection, address: str, limit_s: float) -> None:
    settings: dict[str, Any] = connection.aiokafka()
    del settings["bootstrap_servers"]
    host, _, port = address.rpartition(":")
    opening = create_conn(host.strip("[]"), int(port), request_timeout_ms=int(limit_s * 1000), **settings)
    opened = await asyncio.wait_for(opening, limit_s)
    closing = opened.close()
    if closing is not None:
        await asyncio.wait_for(closing, limit_s)
