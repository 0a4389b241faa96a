"""An installation secured as in production, on loopback: TLS, SASL/SCRAM and ACLs; what must work, and what must be refused."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from redis.exceptions import NoPermissionError

from streams import clients, log_reader
from streams.environment import from_environment, kafka_from_environment
from streams.errors import AccessError
from streams.settings import StreamSettings
from streams.worker import Worker
from tests.live import authority, kafka
from tests.live.place import CANARY, PATIENCE_S, Place
from tests.live.refused import CLOCK, REFUSED, changed, installed
from tests.live.secured import REDIS
from tests.live.truth import shop
from tests.support import BUSY

pytestmark = pytest.mark.kafka

PERSON = "jane.canary@example.invalid"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Kafka and Redis as the page says, and the topics."""
    reasons = [authority.missing(), *(kafka.missing() or ())]
    if any(reasons):
        pytest.fail("; ".join(filter(None, reasons)), pytrace=False)
    if shutil.which(REDIS) is None:
        pytest.skip(f"no {REDIS}, and the Valkey of the wheel has no TLS: apt-get install redis-server")
    with installed(tmp_path_factory.mktemp("secured")) as found:
        yield found


def test_an_installation_works_and_keeps_its_secrets(place: Place, tmp_path: Path) -> None:
    """Every command as the user whom the page grants just that; no secret in what is said or in the list of processes."""
    campaigns, events = tmp_path / "campaigns.toml", tmp_path / "shop.jsonl"
    campaigns.write_text(BUSY)
    odd = json.dumps({"type": "page", "userId": f"{PERSON}\r\n\x1b[31m", "properties": {"email": PERSON}}).encode()
    events.write_bytes(b"\n".join((*shop(), b"{nonsense", odd)) + b"\n")
    assert "as planned" in place.rapport("operator", "topics", "check", "--partitions", "1", *CLOCK)
    arguments = ("worker", "--campaigns", str(campaigns), "--metrics-port", "0", *CLOCK)
    worker = place.start(*arguments, environment=place.environment())
    place.rapport("sender", "play", str(events), "--advance", "2d")
    until(worker, lambda: bool(offers(place)))
    assert CANARY not in Path(f"/proc/{worker.pid}/cmdline").read_text()
    (address,) = listening(worker.pid)
    assert address.startswith("127.0.0.1:")
    with urlopen(f"http://{address}/metrics") as answer:
        numbers = answer.read().decode()
    assert "rapport_" in numbers
    assert not any(secret in numbers for secret in (CANARY, PERSON))
    customer = offers(place)[0].key.decode()
    looks = ("customer", customer), ("kill", "off"), ("dead-letters", "list"), ("lag", "--once", *CLOCK)
    life, killed, letters, lag = place.rapports("support", *looks)
    assert customer in life
    assert "kill switch off" in killed
    assert "not_json" in letters
    assert "identity" in letters
    assert PERSON not in letters
    assert "engine" in lag
    worker.send_signal(signal.SIGTERM)
    out, err = worker.communicate(timeout=PATIENCE_S)
    assert worker.returncode == 0, err
    assert '"started"' in err
    for secret in (CANARY, PERSON, "\x1b"):
        assert secret not in out + err


def listening(pid: int) -> list[str]:
    """Where a process takes connections in."""
    links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
    mine = {link[8:-1] for link in links if link.startswith("socket:[")}
    tables = (Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6"))
    rows = [line.split() for table in tables for line in table]
    found = [row[1].split(":") for row in rows if row[3] == "0A" and row[9] in mine]
    return [f"{'.'.join(str(byte) for byte in reversed(bytes.fromhex(host)))}:{int(port, 16)}" for host, port in found]


def offers(place: Place) -> list[Any]:
    """What the subscriber reads."""
    with clients.reader(kafka_from_environment(place.environment("subscriber"))) as reader:
        return list(log_reader.whole(reader, "offers"))


def until(worker: subprocess.Popen[str], there: Callable[[], bool]) -> None:
    """Wait for something that a running worker does."""
    deadline = time.monotonic() + PATIENCE_S
    while not there():
        assert worker.poll() is None, worker.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize("case", REFUSED)
async def test_a_worker_that_is_refused_ends_with_the_remedy(place: Place, case: str) -> None:
    found, remedy = REFUSED[case]
    environment = changed(place, case)
    settings = StreamSettings(clock="event", key=b"key")
    with pytest.raises(AccessError) as ended:
        await asyncio.wait_for(Worker(from_environment(environment), settings).run(), PATIENCE_S)
    assert found in str(ended.value)
    assert remedy in str(ended.value)
    assert CANARY not in str(ended.value)


def test_the_user_of_the_store_can_do_no_more_than_it_needs(place: Place) -> None:
    with from_environment(place.environment()).redis.sync_client() as client:
        client.set("rapport:{test:0}:meta", b"")
        client.delete("rapport:{test:0}:meta")
        for command in ("CONFIG GET *", "FLUSHALL", "KEYS *", "ACL LIST", "GET other", "SHUTDOWN"):
            with pytest.raises(NoPermissionError):
                client.execute_command(*command.split())


def test_a_refused_process_says_why_in_one_line(place: Place) -> None:
    commands = {"kafka password": "worker", "no-transactions": "worker", "redis password": "kill on"}
    ended = {
        case: place.start(*command.split(), environment=changed(place, case)) for case, command in commands.items()
    }
    for case, process in ended.items():
        out, err = process.communicate(timeout=PATIENCE_S)
        complaint = err.splitlines()[-1]
        assert process.returncode == 1, err
        assert complaint.startswith("rapport: ")
        for said in REFUSED[case]:
            assert said in complaint
        assert "Traceback" not in err
        assert CANARY not in out + err
