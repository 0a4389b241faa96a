"""Child processes that end with this process, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from .errors import ServerError

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


def spawn(command: list[str], folder: Path, log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a child in a process group of its own, so that Ctrl-C in the terminal reaches this process only.

    The thread that starts it stays until it ends, for the kernel takes the end of that thread for the parent's.

    Parameters
    ----------
    command
        The program's whole path, and its arguments.
    folder
        Where it runs.
    log
        Where its output is appended.
    environment
        All of it.

    Raises
    ------
    ServerError
        Where no process can be started.
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
                    env=environment,
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
        raise ServerError(log.stem, found, "check its folder, the process limit and the memory") from result
    return result


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a child and its group: a server may fork, as Valkey does to rewrite its file."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
