"""A worker process: the app started, watched, and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from aiokafka.errors import AuthenticationFailedError, KafkaError, SaslAuthenticationFailed
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from models.config import days_ms

from .app import App, Role, build
from .connection import Connection
from .errors import BrokerError
from .lanes import TRANSIENT
from .publishers import NoAnswerError
from .redis_store import RedisStore
from .settings import StreamSettings
from .store import Store
from .topic_plan import check_erasure

log = structlog.get_logger(__name__)
KILL_POLL_S = 0.4
STALL_S = 120.0


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
    """

    connection: Connection
    settings: StreamSettings
    role: Role = "all"
    store: Store | None = None
    points: Callable[[str], None] = lambda point: None
    app: App = field(init=False)
    error: BaseException | None = field(init=False, default=None)
    _stop: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    async def run(self) -> None:
        """Work until told to stop; raises the error that ended it otherwise."""
        check_erasure(days_ms(self.settings.engine.engine.erasure_days))
        store = self.store or RedisStore(
            self.connection.redis.client(retry=Retry(ExponentialBackoff(0.5, 0.05), 2)), self.settings.app
        )
        await self._reachable(store)
        if self._stop.is_set():
            return
        app = self.app = build(self.connection.kafka, store, self.settings, self.role, self.crash, self.points)
        if not self.settings.transactions:
            log.warning("no transactions: triggers may be sent again after a crash, with the same ids")
        await self._topics_there()
        if self._stop.is_set():
            await app.broker_.close()
            return
        app.finalize()
        tasks = [asyncio.create_task(self._watch_kill(store)), asyncio.create_task(self._watch())]
        try:
            await app.start()
            log.info("started", role=self.role, broker=self.connection.kafka.address)
            await self._stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            for lane in app.lanes:
                if (stages := getattr(lane.work, "stages", None)) is not None and stages.count:
                    at = f"{lane.tp.topic}/{lane.tp.partition}"
                    log.info("stages", at=at, records=stages.count, microseconds=stages.microseconds())
            await app.lanes.stop(10.0)
            with contextlib.suppress(Exception):
                await asyncio.wait_for(app.stop(), 15)
            await app.broker_.close()
            if self.store is None:
                await store.close()
        if self.error is not None:
            raise self.error

    async def _reachable(self, store: Store) -> None:
        """Wait for the store; its settings are checked once it answers."""
        if not isinstance(store, RedisStore):
            return
        told = False
        while not self._stop.is_set():
            try:
                for note in await store.check():
                    log.warning(note)
                return
            except (RedisError, OSError) as error:
                if not told:
                    log.warning("waits for the state store", at=self.connection.redis.address, because=str(error))
                    told = True
            await asyncio.sleep(1.0)

    async def _topics_there(self) -> None:
        """Wait for the broker; topics that it does not have are an error."""
        names = ("events", *(self.settings.raw if self.role in ("all", "intake") else ()))
        told = False
        while not self._stop.is_set():
            try:
                for name in names:
                    await self.app.broker_.partitions(self.settings.topic(name))
                return
            except (KafkaError, OSError, NoAnswerError) as error:
                if isinstance(error, (AuthenticationFailedError, SaslAuthenticationFailed)):
                    raise BrokerError(
                        self.connection.kafka.address, str(error), "check RAPPORT_KAFKA_USERNAME and its password"
                    ) from error
                if not told:
                    log.warning("waits for the broker", at=self.connection.kafka.address, because=str(error))
                    told = True
            await asyncio.sleep(1.0)

    def stop(self) -> None:
        """Finish what is under way, then end."""
        self._stop.set()

    def crash(self, error: BaseException) -> None:
        """End with an error: nobody knows how to go on after it."""
        log.error("ends", because=f"{type(error).__name__}: {error}", exc_info=error)
        if self.error is None:
            self.error = error
        self._stop.set()

    async def _watch_kill(self, store: Store) -> None:
        """The kill switch reaches every engine within a second."""
        while True:
            with contextlib.suppress(*TRANSIENT):
                killed = await store.killed()
                for lane in self.app.lanes:
                    if hasattr(lane.work, "killed"):
                        lane.work.killed = killed
            await asyncio.sleep(KILL_POLL_S)

    async def _watch(self) -> None:
        """End the process if a lane has work and has not moved for too long: whoever supervises it starts it anew."""
        seen: dict[object, tuple[int, float]] = {}
        while True:
            await asyncio.sleep(5.0)
            now = time.monotonic()
            for lane in self.app.lanes:
                at, since = seen.get(lane.tp, (-1, now))
                if lane.processed != at or lane.drained or not lane.open:
                    seen[lane.tp] = (lane.processed, now)
                elif now - since > STALL_S:
                    self.crash(
                        BrokerError(f"{lane.tp.topic}/{lane.tp.partition}", f"no progress for {STALL_S:g} s", "restart")
                    )


def run(worker_of: Callable[[], Worker]) -> int:
    """Run a worker until a signal; returns the process's exit code."""

    async def main() -> int:
        worker = worker_of()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, worker.stop)
        await worker.run()
        return 0

    if os.environ.get("PYTHONHASHSEED") is None:
        os.environ["PYTHONHASHSEED"] = "0"  # for children; our own outputs are never in the order of a set
    return asyncio.run(main())
