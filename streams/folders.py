"""Folders that one process holds for itself, and temporary ones that are removed however their owner ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import ServerError

ABANDONED_S = 60.0  # a younger folder may be one that its owner has not locked yet


def make(folder: Path) -> None:
    """Make a folder, unless it is there.

    Raises
    ------
    ServerError
        Where it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServerError(str(folder), error.strerror or str(error), "name a folder that can be written") from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process: two servers on one append-only file would ruin it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ServerError(str(folder), "another process that uses it", "stop that one, or name another") from error
    finally:
        os.close(handle)


@contextlib.contextmanager
def temporary(prefix: str) -> Iterator[Path]:
    """A held folder that is removed at the end; those of processes that ended without a chance to do so are removed now."""
    _sweep(prefix)
    place = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        with locked(place):
            yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _sweep(prefix: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError, ServerError):  # gone meanwhile, another user's, or in use
            if folder.stat().st_mtime < time.time() - ABANDONED_S:
                with locked(folder):
                    shutil.rmtree(folder, ignore_errors=True)
