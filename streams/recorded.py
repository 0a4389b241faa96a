"""A recorded ``events`` log of one partition, read again: its records are the engine's own and trusted as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from schemas.codec import decode_event
from schemas.control import ModelPublished
from schemas.errors import SchemaError
from schemas.intake import Intake, Read

from . import provenance
from .files import STDIO, FileError, read_byte_lines
from .kept_models import KeptModels, Version

REMEDY = "name a file that rapport record wrote of one partition of events"
PUBLISHED = b"model_published"


@dataclass(frozen=True)
class RecordedLog:
    """What is known of a log before it is replayed.

    Parameters
    ----------
    sources
        What partition time waits for, as of ``Partition``.
    start
        Offset of its first record; None where nobody knows.
    models
        Snapshots of the model versions that it names. None: none are named, the engine learns by itself.
    versions
        The versions that it names, as far as they are known.
    """

    sources: tuple[str, ...]
    start: int | None = None
    models: KeptModels | None = None
    versions: tuple[Version, ...] = ()


class LogIntake(Intake):
    """Reads records of the log, where the other intake reads what senders sent."""

    def __init__(self, log: RecordedLog) -> None:
        super().__init__()
        self._log = log

    def read(self, raw: bytes, arrival: int | None, origin: str) -> Read:
        """The event of one record.

        Raises
        ------
        FileError
            The line is no event of a log: a repetition that skipped one would be none.
        """
        file, _, line = origin.rpartition(":")
        try:
            event = decode_event(raw)
        except SchemaError as error:
            raise FileError(file, f"no event of a log ({error})", REMEDY, int(line)) from error
        if isinstance(event, ModelPublished) and self._log.models is None:
            remedy = "name the folder of its snapshots: --models FOLDER"
            raise FileError(file, "a model that was learned elsewhere", remedy, int(line))
        return Read((event,))


class Named:
    """The model versions that records of a log name, in order, each with the number of the record that is the first to.

    >>> from schemas.codec import encode_event
    >>> from schemas.control import NOBODY, tick
    >>> at = {"occurred_at": 0, "received_at": 0}
    >>> record = ModelPublished(id="m", customer=NOBODY + "*", model="buys", version=70, **at)
    >>> named = Named()
    >>> len(list(named.watch(map(encode_event, (tick(0), record, record)))))
    3
    >>> named.versions
    {Version(model='buys', offset=70): 2}
    """

    def __init__(self) -> None:
        self.versions: dict[Version, int] = {}

    def watch(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Hand records on, and note what they name."""
        for number, line in enumerate(lines, 1):
            self.note(line, number)
            yield line

    def note(self, line: bytes, number: int) -> None:
        """Note what a record names; whether it is one is left to others."""
        if PUBLISHED in line:
            with suppress(SchemaError):
                if isinstance(event := decode_event(line), ModelPublished):
                    self.versions.setdefault(Version(event.model, event.version), number)


class _Via(Struct):
    via: str = ""


def recorded_log(path: str, sources: tuple[str, ...] | None = None, models: Path | None = None) -> RecordedLog:
    """Look through a log and what lies beside it.

    Parameters
    ----------
    sources
        Where given, they are not looked for.
    models
        Folder of snapshots; by default the one beside the log.

    Raises
    ------
    FileError
        The file cannot be read, or is standard input without ``sources``, as it can be read once only.
    """
    if models is not None and not models.is_dir():
        raise FileError(str(models), "no folder", "name the one that rapport record wrote snapshots into: --models")
    if path == STDIO:
        if sources is None:
            raise FileError(STDIO, "a log whose sources are not known yet", "name them: --sources clickstream/0,...")
        return RecordedLog(sources, None, KeptModels(models) if models is not None else None)
    known = provenance.read(path)
    found, named = _look(path)
    elsewhere = bool(named.versions) or (known is not None and known.partitions > 1)
    folder = models or provenance.beside(path, ".models")
    return RecordedLog(
        found if sources is None else sources,
        known.start if known is not None else None,
        KeptModels(folder) if elsewhere else None,
        tuple(named.versions),
    )


def _look(path: str) -> tuple[tuple[str, ...], Named]:
    decode = msgspec.json.Decoder(_Via).decode
    found, named = set(), Named()
    for number, line in enumerate(read_byte_lines(path), 1):
        if line and not line.isspace():
            try:
                found.add(decode(line).via)
            except ValueError as error:
                raise FileError(path, f"no event of a log ({error})", REMEDY, number) from error
            named.note(line, number)
    return tuple(sorted(found - {""})), named
