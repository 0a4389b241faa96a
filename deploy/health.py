"""Whether the worker in this container is connected to the state store and to a broker; exit code 1 where it is not.

Connections are read from the kernel's tables, so that a check costs neither an import nor a log-in. A worker that is
connected and yet stands still ends by itself, and is started anew by whoever supervises it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

ESTABLISHED = "01"
REDIS_PORT = 6379
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def remote_ports(tables: tuple[Path, ...] = TABLES) -> list[int]:
    """The remote port of each open connection in this network namespace."""
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    return [int(row[2].rpartition(":")[2], 16) for row in rows if row[3] == ESTABLISHED]


def complaint(store: str, ports: list[int]) -> str:
    """What is missing; empty where nothing is.

    Parameters
    ----------
    store
        The state store's URL.
    ports
        Remote ports of open connections.
    """
    port = urlsplit(store).port or REDIS_PORT
    if port not in ports:
        return f"no connection to the state store, port {port}"
    # A broker's own address may differ from the one asked first, so any other connection counts as one to a broker.
    if all(other == port for other in ports):
        return "no connection to a broker"
    return ""


if __name__ == "__main__":
    sys.exit(complaint(os.environ.get("RAPPORT_REDIS", ""), remote_ports()) or 0)
