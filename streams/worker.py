"""A worker process: the app started, watched, and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import structlog
import uvloop
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from models.config import days_ms
from models.errors import ModelError

from . import permissions
from .app import App, Role, build
from .connection import Connection
from .errors import BrokerError, StreamError
from .lanes import TRANSIENT
from .metrics import WorkerMetrics
from .metrics_server import Endpoint, serve
from .probe import probe
from .publishers import NoAnswerError
from .redis_store import RedisStore
from .refusals import refusal
from .settings import StreamSettings
from .store import Store
from .topic_plan import check_erasure
from .watchdog import STALL_S, LaneWatch, LoopWatch

log = structlog.get_logger(__name__)
KILL_POLL_S = 0.4
FINISH_S = 10.0
PATIENCE_S = 5.0
APP_STOP_S = 15.0


@dataclass
class Worker:
    """One worker.

    Parameters
    ----------
    connection
        Broker and store.
    role
        Which agents run.
    store
        Another store than Redis, for tests.
    points
        Called at named points of the protocol.
    stall_s
        How long work may stand still before the watchdog ends the process, seconds.
    metrics
        Where Prometheus finds the worker's numbers; None for nowhere.
    """

    connection: Connection
    settings: StreamSettings
    role: Role = "all"
    store: Store | None = None
    points: Callable[[str], None] = lambda point: None
    stall_s: float = STALL_S
    metrics: Endpoint | None = None
    app: App = field(init=False)
    error: BaseException | None = field(init=False, default=None)
    _stop: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    async def run(self) -> None:
        """Work until told to stop; raises the error that ended it otherwise."""
        with contextlib.ExitStack() as stack:
            listening = stack.enter_context(self.metrics.listening()) if self.metrics is not None else None
            await self._run(listening)

    async def _run(self, listening: socket.socket | None) -> None:
        check_erasure(days_ms(self.settings.engine.engine.erasure_days))
        store = self.store or RedisStore(self.connection.redis.client(), self.settings.app)
        await self._reachable(store)
        await self._permitted()
        if self._stop.is_set():
            return
        app = self.app = build(self.connection.kafka, store, self.settings, self.role, self.crash, self.points)
        lanes = LaneWatch(self.stall_s)
        served = None
        if listening is not None:
            served = await serve(listening, WorkerMetrics(app, self.settings, self.role, lanes))
        if not self.settings.key:
            log.warning(
                "no key signs snapshots: who can write to the state store can forge models; set RAPPORT_SNAPSHOT_KEY"
            )
        if not self.settings.transactions:
            log.warning("no transactions: triggers may be sent again after a crash, with the same ids")
        await self._topics_there()
        if self._stop.is_set():
            await app.broker_.close()
            if served is not None:
                await served.cleanup()
            return
        app.finalize()
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(watched)
            for watched in (self._watch_kill(store), lanes.watch(app.lanes, self.crash), self._watch_app())
        ]
        starting = asyncio.create_task(app.start())  # waits for a broker that went meanwhile
        ended = asyncio.create_task(self._stop.wait())
        tasks += [starting, ended]
        try:
            self.points("starting")
            await asyncio.wait({starting, ended}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                log.info("started", role=self.role, broker=self.connection.kafka.address)
            await ended
        finally:
            for task in tasks:
                task.cancel()
            for lane in app.lanes:
                if (stages := getattr(lane.work, "stages", None)) is not None and stages.count:
                    at = f"{lane.tp.topic}/{lane.tp.partition}"
                    log.info("stages", at=at, records=stages.count, microseconds=stages.microseconds())
            await app.lanes.stop(FINISH_S)
            with contextlib.suppress(Exception):
                await asyncio.wait_for(app.stop(), APP_STOP_S)
            await app.broker_.close()
            if served is not None:
                await served.cleanup()
            if self.store is None:
                await store.close()
        if self.error is not None:
            raise self.error

    async def _reachable(self, store: Store) -> None:
        """Wait for the store; its settings are checked once it answers."""
        if not isinstance(store, RedisStore):
            return

        async def ask() -> None:
            for note in await store.check():
                log.warning(note)

        await self._answered("the state store", self.connection.redis.address, ask, (RedisError, OSError))

    async def _permitted(self) -> None:
        """Wait for the broker; that it does not let us in, or lets us do too little, is an error."""
        needs = permissions.needed(self.settings, self.role)

        async def ask() -> None:
            await asyncio.to_thread(probe, self.connection.kafka, 0, PATIENCE_S)  # short: the end waits for it
            await asyncio.to_thread(permissions.check, self.connection.kafka, needs, self.settings.app)

        await self._answered("the broker", self.connection.kafka.address, ask, (BrokerError,))

    async def _topics_there(self) -> None:
        """Wait for the broker; topics that it does not have are an error."""
        names = ("events", *(self.settings.raw if self.role in ("all", "intake") else ()))

        async def ask() -> None:
            for name in names:
                await self.app.broker_.partitions(self.settings.topic(name))

        await self._answered("the broker", self.connection.kafka.address, ask, (KafkaError, OSError, NoAnswerError))

    async def _answered(
        self, what: str, at: str, ask: Callable[[], Awaitable[None]], away: tuple[type[Exception], ...]
    ) -> None:
        """Ask again until nothing is ``away``, and say once that it is waited for; a refusal for good is an error."""
        told = False
        while not self._stop.is_set():
            try:
                await ask()
                if told:
                    log.info("goes on", at=at)
                return
            except away as error:
                if (refused := refusal(error, at)) is not None:
                    raise refused from error
                if not told:
                    log.warning(f"waits for {what}", at=at, because=str(error))
                    told = True
            await asyncio.sleep(1.0)

    def stop(self) -> None:
        """Finish what is under way, then end."""
        self._stop.set()

    def crash(self, error: BaseException) -> None:
        """End with an error: nobody knows how to go on after it."""
        if isinstance(error, (StreamError, ModelError)):  # said in one line with its remedy, by whoever runs the worker
            log.error("ends", because=str(error))
        else:
            log.error("ends", because=f"{type(error).__name__}: {error}", exc_info=error)
        if self.error is None:
            self.error = error
        self._stop.set()

    async def _watch_kill(self, store: Store) -> None:
        """The kill switch reaches every engine within a second."""
        while True:
            with contextlib.suppress(*TRANSIENT):
                killed = self.app.tallies.killed = await store.killed()
                for lane in self.app.lanes:
                    if hasattr(lane.work, "killed"):
                        lane.work.killed = killed
            began = time.monotonic()
            await asyncio.sleep(KILL_POLL_S)
            self.app.tallies.loop_delay_s = max(0.0, time.monotonic() - began - KILL_POLL_S)

    async def _watch_app(self) -> None:
        """What ends a part of Faust ends the process: its own worker would do so, and nobody else reads on."""
        await self.app.wait_until_stopped()
        if not self._stop.is_set():
            self.crash(self.app.crash_reason or RuntimeError("Faust stopped by itself"))


def run(worker_of: Callable[[], Worker]) -> int:
    """Run a worker until a signal; returns the process's exit code."""

    watching = contextlib.ExitStack()

    async def main() -> int:
        worker = worker_of()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, worker.stop)
        watch = watching.enter_context(LoopWatch(worker.stall_s))
        beating = asyncio.create_task(watch.beat(worker._stop))
        await worker.run()
        await beating
        return 0

    if os.environ.get("PYTHONHASHSEED") is None:
        os.environ["PYTHONHASHSEED"] = "0"  # for children; our own outputs are never in the order of a set
    # to the very end: closing the loop can take for ever, too
    with watching, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())
