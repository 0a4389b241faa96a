"""A server of our own as a child process: started, awaited until it answers, halted, ended, started again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from .children import kill, spawn
from .errors import ServerError
from .folders import make
from .ports import HOST, TRIES, answers, free_port, is_free

POLL_S = 0.01
LOG_LINES = 10


class Server(ABC):
    """A child process that listens on one port of 127.0.0.1, and keeps port and folder over restarts.

    Parameters
    ----------
    folder
        Where its log and its data are; made if missing, never removed.
    port
        0 takes a free one at the first start.

    Attributes
    ----------
    name
        Of its log, and in errors.
    start_s, stop_s
        How long a start, and a clean stop, may take, seconds.
    """

    name: str
    start_s: float = 60.0
    stop_s: float = 5.0

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
        ServerError
            Where its extra is missing, its port is taken, it dies, or it does not answer in time.
        """
        if self.alive():
            raise ServerError(self.name, "a running process", "stop it before it is started again")
        chosen = self.port != 0
        for attempt in range(TRIES):
            port = self.port if chosen else free_port(self.name)
            if not is_free(port):
                raise ServerError(self.name, f"port {port} taken", "stop what listens there, or name another port")
            try:
                self._start_on(port)
            except ServerError:
                # Someone else may have taken the port since it was found free.
                if chosen or is_free(port) or attempt == TRIES - 1:
                    raise
            else:
                self.port = port
                return

    def stop(self) -> None:
        """Stop the server cleanly, or by force if it takes longer than ``stop_s``; a stopped one stays stopped."""
        process = self._process
        if process is None:
            return
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a suspended process would never see the first signal
        try:
            process.wait(self.stop_s)
        except subprocess.TimeoutExpired:
            kill(process)
        self._process = None

    def kill(self) -> None:
        """End the server at once, as a power cut would."""
        kill(self._running())
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

    def _environment(self) -> Mapping[str, str]:
        """Nothing by default but that no colours are wanted: some servers take settings from the environment."""
        return {"NO_COLOR": "1"}

    @abstractmethod
    def _question(self) -> bytes:
        """What to ask a server to learn whether it is ready."""

    @abstractmethod
    def _signs(self, process: int) -> tuple[bytes, ...]:
        """What its answer holds when it is ready and no other server on that port."""

    def _ready(self, port: int, process: int) -> bool:
        """Whether it answers, and no other server on that port does."""
        return answers(port, self._question(), self._signs(process))

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise ServerError(self.name, "no running process", "start it first", self._last_words())
        return self._process

    def _start_on(self, port: int) -> None:
        make(self.folder)
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._process = spawn(self._command(port), self.folder, self.log, self._environment())
        try:
            self._await_ready(port, self._process)
        except BaseException:
            self.stop()
            raise

    def _await_ready(self, port: int, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.start_s
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise ServerError(self.name, "its end at its start", "read what it said last", self._last_words())
            if self._ready(port, process.pid):
                return
            time.sleep(POLL_S)
        found = f"no answer within {self.start_s:.0f} s"
        raise ServerError(self.name, found, "try again when the machine is less busy", self._last_words())

    def _last_words(self) -> list[str]:
        try:
            with self.log.open("rb") as log:
                log.seek(self._log_start)
                lines = log.read().decode("utf-8", "replace").splitlines()
        except OSError:  # it never came so far
            return []
        return [line for line in lines if line.strip()][-LOG_LINES:]
