"""An installation with a shop played into it, and the dashboard as its own process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from models.simulator.config import ShopConfig
from schemas.codec import decode_decision, encode_decision
from schemas.decisions import Decision
from streams import log_reader
from streams.clients import reader, sender
from streams.connection import Connection
from streams.embedded import Valkey
from streams.environment import from_environment
from streams.live_demo import LiveShop
from streams.redis_store import key
from streams.stack import Stack

ROOT = Path(__file__).parents[2]
CAMPAIGNS = ROOT / "examples" / "all-campaigns.toml"
TOKEN = "a-token-for-the-browser-test"
SHOP = ShopConfig(seed=3, customers=400, days=75)
READY_S = 90.0


@dataclass
class Dashboard:
    """A running dashboard.

    Parameters
    ----------
    address
        As in ``http://127.0.0.1:8787``.
    process
        Of ``rapport ui``.
    store
        The installation's.
    """

    address: str
    connection: Connection
    process: subprocess.Popen[str]
    store: Valkey

    def decisions(self) -> list[Decision]:
        """Those on the topic."""
        with reader(self.connection.kafka) as consumer:
            values = [record.value or b"" for record in log_reader.whole(consumer, "decisions")]
        return [decode_decision(value) for value in values if b'"kind":"conversion"' not in value]

    def decide(self, decisions: list[Decision]) -> None:
        """Write decisions, as workers do."""
        with sender(self.connection.kafka) as producer:
            for one in decisions:
                producer.send("decisions", encode_decision(one), one.customer.encode(), partition=0)
            producer.flush()

    def copies(self, count: int, name: str) -> list[Decision]:
        """Decisions like those that there are, under ids of their own."""
        known = self.decisions()
        return [msgspec.structs.replace(known[n % len(known)], id=f"{name}-{n}") for n in range(count)]

    def killed(self) -> bool:
        """Whether the kill switch is on, by the store itself."""
        with self.connection.redis.sync_client() as store:
            return bool(store.exists(key("rapport", "control", "kill")))

    def refuse(self) -> None:
        """Send what no intake can read."""
        with sender(self.connection.kafka) as producer:
            producer.send("clickstream", b"no JSON <script>alert(1)</script>", partition=0)
            producer.flush()


@contextmanager
def running(folder: Path) -> Iterator[Dashboard]:
    """Bring broker, store, worker and dashboard up, with the shop played in."""
    with Stack(folder, CAMPAIGNS) as stack:
        connection = from_environment({}, kafka=stack.kafka, redis=stack.redis)
        for _ in LiveShop(connection.kafka, connection.redis, SHOP, 1000.0).live():
            pass
        command = [
            sys.executable,
            "-m",
            "streams",
            "ui",
            "--port",
            "0",
            "--clock",
            "event",
            "--campaigns",
            str(CAMPAIGNS),
        ]
        command += ["--kafka", stack.kafka, "--redis", stack.redis]
        environ = {**os.environ, "RAPPORT_UI_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1"}
        log = folder / "ui.log"
        with log.open("w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, text=True, env=environ)
        try:
            assert stack._servers is not None
            yield Dashboard(_address(process, log), connection, process, stack._servers.valkey)
        finally:
            process.terminate()
            process.wait(30)
        assert "Traceback" not in log.read_text()


def _address(process: subprocess.Popen[str], log: Path) -> str:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"dashboard +(http://\S+)", log.read_text()):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(log.read_text())
