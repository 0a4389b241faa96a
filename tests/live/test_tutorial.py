"""The tutorial, command by command: what a new user types, in a folder of its own, against what `rapport up` brings up."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.cluster import PATIENCE_S
from tests.support import blocks

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
KAFKA, REDIS = "127.0.0.1:9092", "redis://127.0.0.1:6379/0"

pytestmark = pytest.mark.live


def part(language: str, after: str, before: str) -> list[str]:
    """The code blocks of a part of the page."""
    text = PAGE.read_text().partition(f"\n## {after}")[2].partition(f"\n## {before}")[0]
    assert text
    return blocks(text, language)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "first.toml").write_text(part("toml", "2.", "3.")[0])
    return tmp_path


@pytest.fixture
def terminals(folder: Path) -> Iterator[Terminals]:
    opened = Terminals(folder)
    yield opened
    opened.close()


class Terminals:
    """Commands as a user types them, in terminals that stay open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: list[subprocess.Popen[bytes]] = []
        self._env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "160"}
        self._env["PYTHONUNBUFFERED"] = "1"

    def run(self, script: str) -> str:
        """To its end, which is a good one; what it printed."""
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(command, cwd=self._folder, env=self._env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, script + done.stdout + done.stderr
        return done.stdout

    def leave(self, script: str) -> Path:
        """Running; the file that takes what it prints."""
        out = self._folder / f"terminal-{len(self._open)}"
        with out.open("wb") as file:
            command = ["bash", "-c", f"exec {script.strip()}"]
            self._open.append(subprocess.Popen(command, cwd=self._folder, env=self._env, stdout=file, stderr=file))
        return out

    def until(self, out: Path, what: str) -> str:
        """Wait for it; all that was printed."""
        patience = time.monotonic() + PATIENCE_S
        while what not in (text := out.read_text()):
            assert time.monotonic() < patience, text
            time.sleep(0.05)
        return text

    def close(self, by: signal.Signals = signal.SIGINT) -> None:
        """Ctrl-C in each, the last opened first."""
        while self._open:
            process = self._open.pop()
            process.send_signal(by)
            process.wait(60)


def test_what_is_tried_on_history(terminals: Terminals) -> None:
    (validate,) = part("sh", "2.", "3.")
    assert "second-look" in terminals.run(validate)
    (backtest,) = part("sh", "3.", "4.")
    assert "second-look" in terminals.run(backtest)
    (one,) = part("sh", "4.", "5.")
    assert "because views_of_one is" in terminals.run(one)


def test_a_trigger_of_the_own_campaign_is_received(terminals: Terminals) -> None:
    up, subscriber, play = (text.replace("export PATH=$PWD/.venv/bin:$PATH\n", "") for text in part("sh", "5.", "6."))
    told = terminals.until(terminals.leave(up), "Ctrl-C ends all of it.")
    kafka = re.search(r"broker +(\S+)", told)
    redis = re.search(r"store +(\S+)", told)
    assert kafka
    assert redis
    assert subscriber.strip().replace(KAFKA, kafka[1]) in told.replace(sys.executable, "python")
    received = terminals.leave(subscriber.replace(KAFKA, kafka[1]))
    terminals.run(play.replace(KAFKA, kafka[1]))
    assert "u:vera" in terminals.until(received, "second-look")
    (why,) = part("sh", "6.", "Where")
    assert "second-look (treated)" in terminals.run(why.replace(KAFKA, kafka[1]).replace(REDIS, redis[1]))


def test_what_a_supervisor_ends_leaves_no_worker(terminals: Terminals) -> None:
    (up, *_) = part("sh", "5.", "6.")
    worker = re.search(r"worker +process (\d+)", terminals.until(terminals.leave(up), "Ctrl-C ends all of it."))
    assert worker
    assert Path(f"/proc/{worker[1]}").exists()
    terminals.close(signal.SIGTERM)
    assert not Path(f"/proc/{worker[1]}").exists()
