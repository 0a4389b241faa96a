"""The folder of a replay, read again: what it was made of, its figures, and its records as they come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from schemas.decisions import Conversion, Decision, Suppressed

from .files import FileError, read_byte_lines
from .results import DECISIONS, METRICS, SUPPRESSED
from .run_provenance import RUN, Provenance, decode

REMEDY = "name a folder that rapport replay wrote"


T = TypeVar("T")


class Head(Struct, frozen=True):
    """Whose record a line is; ``kind`` is ``conversion``, or empty for a decision."""

    customer: str
    kind: str = ""


_head = msgspec.json.Decoder(Head)
_decision = msgspec.json.Decoder(Decision)
_conversion = msgspec.json.Decoder(Conversion)
_suppressed = msgspec.json.Decoder(Suppressed)


class RunFolder:
    """What a replay wrote.

    Parameters
    ----------
    path
        The folder.
    name
        What to call it; its path without one.

    Raises
    ------
    FileError
        Where it holds no complete replay.

    Attributes
    ----------
    metrics
        What ``metrics.json`` holds.
    provenance
        What ``run.json`` holds; None where an older version wrote none.
    explained
        Whether it says what was suppressed.
    """

    def __init__(self, path: Path, name: str = "") -> None:
        self.path = path
        self.name = name or str(path)
        if not path.is_dir():
            raise FileError(str(path), "a file" if path.exists() else "no such folder", REMEDY)
        if not (path / METRICS).is_file():
            raise FileError(str(path), f"no {METRICS}: no replay, or one cut short", f"{REMEDY}, or run it again")
        self.metrics: dict[str, Any] = self._read(METRICS, msgspec.json.decode)
        self.provenance: Provenance | None = self._read(RUN, decode) if (path / RUN).is_file() else None
        self.explained = (path / SUPPRESSED).is_file()

    def _read(self, name: str, decoder: Any) -> Any:
        file = self.path / name
        try:
            return decoder(file.read_bytes())
        except OSError as error:
            raise FileError(str(file), error.strerror or str(error), REMEDY) from error
        except msgspec.DecodeError as error:
            raise FileError(str(file), f"what is no {name} ({error})", "run the replay again") from error

    def decisions(self) -> Iterator[tuple[Head, bytes]]:
        """Whose each line of ``decisions.jsonl`` is, and the line."""
        return self._lines(DECISIONS)

    def suppressed(self) -> Iterator[tuple[Head, bytes]]:
        """The same of ``suppressed.jsonl``; nothing where there is none."""
        return self._lines(SUPPRESSED) if self.explained else iter(())

    def _lines(self, name: str) -> Iterator[tuple[Head, bytes]]:
        file = str(self.path / name)
        for number, line in enumerate(read_byte_lines(file), 1):
            if line:
                try:
                    yield _head.decode(line), line
                except msgspec.DecodeError as error:
                    raise FileError(file, f"no record ({error})", "run the replay again", number) from error


def decision(line: bytes) -> Decision:
    """A decision of a line; raises ``FileError`` where it is none."""
    return _one(_decision, line, DECISIONS)


def conversion(line: bytes) -> Conversion:
    """A goal reached."""
    return _one(_conversion, line, DECISIONS)


def suppression(line: bytes) -> Suppressed:
    """Something suppressed."""
    return _one(_suppressed, line, SUPPRESSED)


def _one(decoder: msgspec.json.Decoder[T], line: bytes, name: str) -> T:
    try:
        return decoder.decode(line)
    except msgspec.DecodeError as error:
        raise FileError(
            name, f"a record of another form ({error})", "run the replay again with this version"
        ) from error
