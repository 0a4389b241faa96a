"""The folder of a replay: the names of its files, and how they are written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from schemas.codec import encode_decision, encode_suppressed
from schemas.dead_letters import DeadLetter
from schemas.decisions import Conversion, Decision, Suppressed

from . import run_provenance
from .files import STDIO, FileError

TRIGGERS, DECISIONS, SUPPRESSED = "triggers.jsonl", "decisions.jsonl", "suppressed.jsonl"
DEAD_LETTERS, METRICS, RUN = "dead-letters.jsonl", "metrics.json", run_provenance.RUN
RESULTS = (TRIGGERS, DECISIONS, SUPPRESSED, DEAD_LETTERS, METRICS, RUN)


class Outputs:
    """The result files, opened together; ``metrics.json`` of an earlier run goes, and comes last."""

    def __init__(self, folder: Path, run: run_provenance.Provenance) -> None:
        self._folder = folder
        with self._said():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / METRICS).unlink(missing_ok=True)
            (folder / RUN).write_bytes(run_provenance.encode(run))
            files = [(folder / name).open("wb") for name in (TRIGGERS, DECISIONS, SUPPRESSED, DEAD_LETTERS)]
        self._triggers, self._decisions, self._suppressed, self._dead = files

    def decision(self, decision: Decision) -> None:
        line = encode_decision(decision)
        self._line(self._decisions, line)
        if decision.arm == "treated":
            self._line(self._triggers, line)

    def conversion(self, conversion: Conversion) -> None:
        self._line(self._decisions, msgspec.json.encode(conversion))

    def suppressed(self, suppressed: Suppressed) -> None:
        self._line(self._suppressed, encode_suppressed(suppressed))

    def dead(self, letter: DeadLetter) -> None:
        self._line(self._dead, msgspec.json.encode(letter))

    def finish(self, metrics: dict[str, Any]) -> None:
        """Everything is on disk when this returns."""
        with self._said():
            self.close()
            text = msgspec.json.format(msgspec.json.encode(metrics), indent=2)
            (self._folder / METRICS).write_bytes(text + b"\n")

    def close(self) -> None:
        """Close the files; raises ``OSError`` where what is left in their buffers cannot be written."""
        with contextlib.ExitStack() as stack:
            for file in (self._triggers, self._decisions, self._suppressed, self._dead):
                stack.callback(file.close)

    def _line(self, file: IO[bytes], line: bytes) -> None:
        try:
            file.write(line + b"\n")
        except OSError as error:
            raise self._unwritable(error) from error

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> FileError:
        found = "a file, not a folder" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        return FileError(str(self._folder), found or str(error), "name a folder that can be written: -o FOLDER")


def apart(files: tuple[str, ...], out: Path) -> None:
    """No result may be written over an input."""
    for name in RESULTS:
        result = out / name
        for file in files:
            if file != STDIO and result.exists() and result.samefile(file):
                raise FileError(file, "an input that a result would overwrite", "name another folder: -o FOLDER")
