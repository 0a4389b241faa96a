"""Broker, state store and one worker on this machine, brought up and taken down as one."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import redis

from . import embedded, topics
from .environment import kafka_from_environment
from .errors import StreamError
from .topic_plan import Clock, TopicPlan

READY_S = 45.0
STOP_S = 20.0


class Stack:
    """All that a demonstration needs, from wheels.

    Parameters
    ----------
    folder
        Where broker, store and worker keep files and logs; None for a temporary one.
    campaigns
        The worker's campaigns; None for the shipped example.
    clock
        ``event`` to play files, ``wall`` for live events.

    Raises
    ------
    ServerError, StreamError
        Where a part does not come up; says which, and its last words.
    """

    def __init__(self, folder: Path | None, campaigns: Path | None, clock: Clock = "event") -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="rapport-") if folder is None else None
        self._folder = folder or Path(self._temporary.name if self._temporary else ".")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._campaigns = campaigns
        self._clock = clock
        self._servers: embedded.Embedded | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def kafka(self) -> str:
        """The broker's address."""
        assert self._servers is not None
        return self._servers.kafka

    @property
    def redis(self) -> str:
        """The store's URL."""
        assert self._servers is not None
        return self._servers.redis

    @property
    def worker(self) -> subprocess.Popen[bytes]:
        """The worker's process."""
        assert self._process is not None
        return self._process

    @property
    def log(self) -> Path:
        """The worker's log."""
        return self._folder / "worker.log"

    def __enter__(self) -> Self:
        try:
            self._servers = embedded.start(self._folder)
            # the embedded broker forgets its topics when it stops, and state without its log is none
            with redis.Redis.from_url(self._servers.redis) as store:
                store.flushdb()
            topics.create(
                kafka_from_environment({}, self._servers.kafka),
                TopicPlan(partitions=1, raw_partitions=1, clock=self._clock),
            )
            self._start_worker()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_worker(self) -> None:
        campaigns = self._campaigns or Path(__file__).with_name("example_campaigns.toml")
        command = [sys.executable, "-m", "streams", "worker", "--no-transactions", "--clock", self._clock]
        command += ["--kafka", self.kafka, "--redis", self.redis, "--campaigns", str(campaigns)]
        with self.log.open("wb") as out:
            # a session of its own: Ctrl-C reaches us alone, and we end the worker in order
            self._process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        until = time.monotonic() + READY_S
        while b"opened" not in self.log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > until:
                words = self.log.read_text(errors="replace").strip().splitlines()[-5:]
                raise StreamError("the worker", "no start: " + " | ".join(words), "see its log for the cause")
            time.sleep(0.05)

    def wait(self) -> int:
        """Wait for the worker to end, or for Ctrl-C; returns the worker's exit code, 0 after Ctrl-C."""
        with contextlib.suppress(KeyboardInterrupt):
            return self.worker.wait()
        return 0

    def stop(self) -> None:
        """Take all of it down, the worker first."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._servers is not None:
            self._servers.stop()
            self._servers = None
        if self._temporary is not None:
            self._temporary.cleanup()
