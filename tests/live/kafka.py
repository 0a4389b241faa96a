"""A real Apache Kafka for tests: one node on this machine that can be stopped, killed, suspended and started again."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from streams.embedded import METADATA
from streams.errors import ServerError
from streams.folders import temporary
from streams.ports import HOST, free_port
from streams.server import Server

POM = Path(__file__).with_name("pom.xml")
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
PREFIX = "rapport-kafka-"
RESOLVE_S = 600.0
FORMAT_S = 120.0
LOG_LINES = 15

SETTINGS: Mapping[str, object] = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 5,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 5,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    # A killed broker is let in again only when its old session is over: 9 s by default.
    "broker.heartbeat.interval.ms": 300,
    "broker.session.timeout.ms": 2000,
}


@dataclass(frozen=True)
class Elsewhere:
    """A Kafka that somebody else runs.

    Parameters
    ----------
    bootstrap
        ``host:port``
    """

    bootstrap: str


class KafkaServer(Server):
    """One Kafka node, broker and controller in one, with a data folder that is removed when it is closed.

    Parameters
    ----------
    settings
        Lines of ``server.properties`` beside ours, or in their place.

    Used as a context manager it is started, and closed at the end; after `stop` or `kill`, `start` brings it back on the
    same ports with its data.
    """

    name = "kafka"
    start_s = 120.0
    stop_s = 15.0

    def __init__(self, settings: Mapping[str, object] | None = None) -> None:
        self._settings = {**SETTINGS, **(settings or {})}
        self._closing = contextlib.ExitStack()
        self._cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        self._controller = 0
        super().__init__(self._closing.enter_context(temporary(PREFIX)))

    @property
    def bootstrap(self) -> str:
        """Where clients connect: its address."""
        return self.address

    def restart(self) -> None:
        """Stop the broker cleanly and start it on the same ports with the same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop the broker and remove its data; closing twice does no harm."""
        self.stop()
        self._closing.close()

    def __enter__(self) -> Self:
        try:
            return super().__enter__()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def _command(self, port: int) -> list[str]:
        """Format the data folder with Kafka's own tool, the first time."""
        jars, folder = resolve(), self.folder
        self._controller = self._controller or free_port(self.name)
        lines = {
            **self._settings,
            "log.dirs": folder / "data",
            "listeners": f"{self._listeners(port)},CONTROLLER://{HOST}:{self._controller}",
            "advertised.listeners": self._listeners(port),
            "controller.quorum.voters": f"1@{HOST}:{self._controller}",
        }
        properties = folder / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        if not (folder / "data").exists():
            tool = [
                *_java(jars),
                "kafka.tools.StorageTool",
                "format",
                f"--cluster-id={self._cluster}",
                "-c",
                str(properties),
            ]
            done = _run([*tool, *self._formatting()], FORMAT_S)
            if done.returncode:
                raise ServerError(self.name, "a data folder that cannot be formatted", "read why", _tail(done.stdout))
        return [*_java(jars, "-Xms512m", "-Xmx512m"), "kafka.Kafka", str(properties)]

    def _listeners(self, port: int) -> str:
        """Where it listens for clients, as ``advertised.listeners`` says it."""
        return f"PLAINTEXT://{HOST}:{port}"

    def _formatting(self) -> list[str]:
        """What else is told to the tool that formats the data folder."""
        return []

    def _environment(self) -> Mapping[str, str]:
        return os.environ

    def _question(self) -> bytes:
        return METADATA

    def _signs(self, process: int) -> tuple[bytes, ...]:
        # It counts itself among the brokers once it is ready.
        return self._cluster.encode(), HOST.encode()


def missing() -> tuple[str, str] | None:
    """What of Kafka's needs is not here, and the remedy; None where it can be started."""
    if shutil.which("java") is None:
        return "no java", "install a Java runtime of version 17 or newer"
    if shutil.which("mvn") is None and not (_cache() / "complete").exists():
        return "no mvn", "install Maven, which fetches Kafka once"
    return None


def resolve() -> Path:
    """The folder of Kafka's jars, fetched with Maven the first time.

    Raises
    ------
    ServerError
        Where they are not there and cannot be fetched.
    """
    if reason := missing():
        raise ServerError("kafka", *reason)
    cache = _cache()
    if (cache / "complete").exists():
        return cache
    cache.parent.mkdir(parents=True, exist_ok=True)
    # Fetched beside its place and moved there whole, so that nobody sees a part of it.
    with tempfile.TemporaryDirectory(dir=cache.parent, prefix=".kafka-") as beside:
        jars = Path(beside) / "jars"
        # Told where the pom is and run elsewhere: Maven may leave files in the folder it runs in.
        command = ["mvn", "-q", "-B", "-f", str(POM), PLUGIN, f"-DoutputDirectory={jars}"]
        done = _run(command, RESOLVE_S, beside)
        if done.returncode:
            raise ServerError("kafka", "no jars that Maven could fetch", "read why", _tail(done.stdout))
        (jars / "complete").touch()
        with contextlib.suppress(OSError):  # another run may have put it there first
            jars.rename(cache)
    return cache


def _cache() -> Path:
    pom = POM.read_bytes()
    found = re.search(rb"<kafka\.version>(.+?)</kafka\.version>", pom)
    version = found[1].decode() if found else "unknown"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rapport" / f"kafka-{version}-{hashlib.sha256(pom).hexdigest()[:12]}"


def _java(jars: Path, *options: str) -> list[str]:
    return [shutil.which("java") or "java", *options, "-Dlog4j2.level=WARN", "-cp", f"{jars}/*"]


def _run(command: list[str], limit_s: float, folder: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerError("kafka", f"{command[0]} at work after {limit_s:.0f} s", "try again later") from error


def _tail(text: str) -> list[str]:
    return text.strip().splitlines()[-LOG_LINES:]
