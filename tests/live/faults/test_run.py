"""A run of faults that is ended from outside ends what it started, whenever that is and however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.cluster import PATIENCE_S, ROOT

COMMAND = "-m tests.live.faults.run --stack embedded --only kill --times 1000 --rate 50 --dry"
WORKER = ["-m", "tests.live.worker_process"]


def commands(session: int) -> dict[int, list[str]]:
    """The processes of a session, suspended ones too, with their arguments."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, _, sid = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(sid) == session and state != "Z":
                found[int(entry.name)] = (entry / "cmdline").read_text().split("\0")
    return found


def comes_true(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def run(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run under way in a session of its own, of which nothing is left afterwards."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environ = {**os.environ, "TMPDIR": str(scratch)}
    with (
        (tmp_path / "said").open("wb") as said,
        subprocess.Popen(
            [sys.executable, *COMMAND.split()], cwd=ROOT, env=environ, stderr=said, start_new_session=True
        ) as process,
    ):
        yield process
        for pid in commands(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.live
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_outlives_it(
    run: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals, workers: int
) -> None:
    """With one worker it is still starting the others."""

    def started() -> list[int]:
        return [pid for pid, command in commands(run.pid).items() if command[1:3] == WORKER]

    assert comes_true(lambda: len(started()) >= workers), (tmp_path / "said").read_text()
    os.kill(started()[0], signal.SIGSTOP)
    run.send_signal(number)
    run.wait(PATIENCE_S)
    assert comes_true(lambda: not commands(run.pid)), commands(run.pid)
    if number != signal.SIGKILL:  # that leaves it no chance; the next run sweeps
        assert list((tmp_path / "scratch").iterdir()) == []
