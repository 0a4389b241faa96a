"""A real Apache Kafka for tests: one node on this machine that can be stopped, killed, suspended and started again."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

HOST = "127.0.0.1"
# Below the ports a system hands out by itself: while the broker is down, no client can be given its port.
PORTS = range(20_000, 32_768)
POM = Path(__file__).with_name("pom.xml")
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
PREFIX = "rapport-kafka-"
RESOLVE_S = 600.0
FORMAT_S = 120.0
START_S = 120.0
STOP_S = 15.0
ASK_S = 0.5
POLL_S = 0.02
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

# Set in the child by an interpreter of its own, for running Python between fork and exec can hang where threads run.
# The kernel kills the child when the thread that started it ends; a parent gone before that is seen by its number.
_LAUNCHER = """
import ctypes, os, sys
parent, program, *arguments = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
if os.getppid() == int(parent):
    os.execvp(program, [program, *arguments])
"""


class KafkaError(Exception):
    """A broker that cannot be had, does not start, or died."""


@dataclass(frozen=True)
class Elsewhere:
    """A Kafka that somebody else runs.

    Parameters
    ----------
    bootstrap
        ``host:port``
    """

    bootstrap: str


class KafkaServer:
    """One Kafka node, broker and controller in one, with a fresh data folder that is removed at the end.

    Parameters
    ----------
    settings
        Lines of ``server.properties`` beside ours, or in their place.

    Used as a context manager it is started; after `stop` or `kill`, `start` brings it back on the same ports with its
    data. It dies with the thread that started it.
    """

    def __init__(self, settings: Mapping[str, object] | None = None) -> None:
        self._settings = {**SETTINGS, **(settings or {})}
        self._closing = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        self._port = 0
        self._folder: Path | None = None
        self._log_start = 0

    @property
    def bootstrap(self) -> str:
        """Where clients connect, as in ``127.0.0.1:20001``."""
        return f"{HOST}:{self._port}"

    @property
    def log(self) -> Path:
        """What the broker printed, over all its starts."""
        return self._place() / "kafka.log"

    @property
    def pid(self) -> int:
        """The number of the running process."""
        return self._running().pid

    def alive(self) -> bool:
        """Whether the process runs, suspended or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the broker and return once it answers.

        Raises
        ------
        KafkaError
            Where Java or Maven is missing, or the broker dies or does not answer in time.
        """
        if self.alive():
            raise KafkaError("Kafka runs already; stop it before it is started again")
        jars = resolve()
        if self._folder is None:
            self._prepare(jars)
        place = self._place()
        self._log_start = self.log.stat().st_size
        self._process = _spawn(
            [*_java(jars, "-Xms512m", "-Xmx512m"), "kafka.Kafka", str(place / "server.properties")], place, self.log
        )
        try:
            self._await_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the broker cleanly, or by force if it takes longer than 15 seconds; a stopped one stays stopped."""
        process = self._process
        if process is None:
            return
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a suspended process would never see the first signal
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None

    def kill(self) -> None:
        """End the broker at once, as a power cut would."""
        process = self._running()
        process.kill()
        process.wait()
        self._process = None

    def restart(self) -> None:
        """Stop the broker cleanly and start it on the same ports with the same data."""
        self.stop()
        self.start()

    def suspend(self) -> None:
        """Halt the broker: it keeps its connections and answers nobody."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a suspended broker go on."""
        self._running().send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop the broker and remove its data; closing twice does no harm."""
        self.stop()
        self._closing.close()
        self._folder = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self, jars: Path) -> None:
        """Choose the ports and format a data folder with Kafka's own tool."""
        _sweep()
        made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
        self._closing.enter_context(_locked(made))
        place = made.rename(made.with_name(made.name[1:]))  # only a locked folder may be seen by another run's sweep
        self._closing.callback(shutil.rmtree, place, ignore_errors=True)
        self._folder = place
        self._port, controller = _free_ports(2)
        lines = {
            **self._settings,
            "log.dirs": place / "data",
            "listeners": f"PLAINTEXT://{HOST}:{self._port},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self._port}",
            "controller.quorum.voters": f"1@{HOST}:{controller}",
        }
        properties = place / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        tool = [*_java(jars), "kafka.tools.StorageTool", "format", "-t", self._cluster, "-c", str(properties)]
        done = _run(tool, FORMAT_S)
        self.log.write_text(done.stdout)
        if done.returncode:
            raise KafkaError(f"Kafka's data folder could not be formatted:{_tail(done.stdout)}")

    def _await_ready(self) -> None:
        process = self._running()
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise KafkaError(f"Kafka died at its start:{self._last_words()}")
            if _answers(self._port, self._cluster):
                return
            time.sleep(POLL_S)
        raise KafkaError(f"Kafka gave no answer within {START_S:.0f} s:{self._last_words()}")

    def _place(self) -> Path:
        if self._folder is None:
            raise KafkaError("Kafka has no data folder; start it first")
        return self._folder

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise KafkaError(f"Kafka does not run; start it first{self._last_words()}")
        return self._process

    def _last_words(self) -> str:
        try:
            with self.log.open("rb") as log:
                log.seek(self._log_start)
                return _tail(log.read().decode("utf-8", "replace"))
        except (OSError, KafkaError):
            return ""


def missing() -> str:
    """Why no Kafka can be started here, or nothing."""
    if shutil.which("java") is None:
        return "no java found: install a Java runtime of version 17 or newer"
    if shutil.which("mvn") is None and not (_cache() / "complete").exists():
        return "no mvn found: install Maven, which fetches Kafka once"
    return ""


def resolve() -> Path:
    """The folder of Kafka's jars, fetched with Maven the first time.

    Raises
    ------
    KafkaError
        Where they are not there and cannot be fetched.
    """
    if reason := missing():
        raise KafkaError(reason)
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
            raise KafkaError(f"Kafka's jars could not be fetched:{_tail(done.stdout)}")
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
    return ["java", *options, "-Dlog4j2.level=WARN", "-cp", f"{jars}/*"]


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
        raise KafkaError(f"{command[0]} took longer than {limit_s:.0f} s") from error


def _spawn(command: list[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupt in the terminal is the tests' to handle
        )


def _answers(port: int, cluster: str) -> bool:
    """Whether this cluster's broker answers there and counts itself among the brokers."""
    # Metadata, version 2, of no topic: its answer carries the brokers' hosts and the cluster's id.
    request = struct.pack(">hhihi", 3, 2, 1, -1, 0)
    try:
        with socket.create_connection((HOST, port), ASK_S) as connection:
            connection.settimeout(ASK_S)
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as stream:
                (size,) = struct.unpack(">i", stream.read(4))
                answer = stream.read(size)
    except (OSError, struct.error):
        return False
    return cluster.encode() in answer and HOST.encode() in answer


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        if _is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise KafkaError("no free port on this machine")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[TextIO]:
    """Hold the folder's lock, which ends with this process, however it ends."""
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def _sweep() -> None:
    """Remove the folders of test runs that were killed: nobody holds their locks."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/lock"):
        with contextlib.suppress(OSError), lock.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)


def _tail(text: str) -> str:
    return "".join(f"\n  {line}" for line in text.strip().splitlines()[-LOG_LINES:])
