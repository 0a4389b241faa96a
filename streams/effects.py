"""Decisions and conversions read back from what a replay wrote or ``rapport record decisions`` kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from models.evaluation.first_decisions import FirstDecisions
from schemas.codec import decode_conversion, decode_decision
from schemas.errors import SchemaError

from .files import FileError, read_byte_lines
from .results import DECISIONS, METRICS

REMEDY = "name a folder that rapport replay wrote, or what rapport record decisions kept"


class _Kind(Struct, frozen=True):
    kind: str = ""


class _Input(Struct, frozen=True):
    last_at: int | None = None


class _Metrics(Struct, frozen=True):
    input: _Input = _Input()
    outcomes: dict[str, int] = {}


class Recorded(Struct, frozen=True):
    """What was read.

    Parameters
    ----------
    firsts
        First decisions of everybody.
    last_at
        The last moment that is known of, milliseconds UTC.
    unsent
        Folders whose events hold no outcome of any message: nothing was sent there, most likely.
    """

    firsts: FirstDecisions
    last_at: int
    unsent: tuple[str, ...] = ()


_kind = msgspec.json.Decoder(_Kind)


def read(paths: Iterable[Path]) -> Recorded:
    """Read folders and files of decisions.

    A folder's end is that of its events: what ``--advance`` decided afterwards has no outcomes yet.

    Raises
    ------
    FileError
        Where a file cannot be read, or a line is no decision and no conversion.
    """
    firsts, ends, unsent = FirstDecisions(), [], []
    for path in paths:
        latest = 0
        file = path / DECISIONS if path.is_dir() else path
        for number, line in enumerate(read_byte_lines(file), 1):
            if line and not line.isspace():
                latest = max(latest, _take(line, firsts, str(file), number))
        metrics = _metrics(path)
        ends.append((metrics and metrics.input.last_at) or latest)
        if metrics is not None and not metrics.outcomes:
            unsent.append(str(path))
    return Recorded(firsts, max(ends, default=0), tuple(unsent))


def _take(line: bytes, firsts: FirstDecisions, file: str, number: int) -> int:
    """Take a line in; returns when what it tells happened, milliseconds UTC."""
    try:
        if _kind.decode(line).kind == "conversion":
            conversion = decode_conversion(line)
            firsts.converted(conversion)
            return conversion.occurred_at
        decision = decode_decision(line)
    except (SchemaError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FileError(file, f"no decision ({error})", REMEDY, number) from error
    if not decision.until:
        found = "a decision without the end of its attribution window, as earlier versions wrote it"
        raise FileError(file, found, "replay again with this version", number)
    firsts.decided(decision)
    return decision.issued_at


def _metrics(path: Path) -> _Metrics | None:
    """Figures of a replay; None for a file, or where the replay was cut short."""
    if not path.is_dir():
        return None
    try:
        return msgspec.json.decode((path / METRICS).read_bytes(), type=_Metrics)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise FileError(str(path / METRICS), str(error), "replay again") from error
