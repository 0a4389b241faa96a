"""Event files as raw records in order of time, for the player: bytes as they are, with what they show at a glance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo
from heapq import merge
from typing import NamedTuple

from schemas.routing import Glance, glance

from .files import FileError
from .line_files import LineFiles, Progress


class Record(NamedTuple):
    """A line of a file and what it shows at a glance."""

    raw: bytes
    seen: Glance


class EventFiles:
    """Event files (JSON lines, as of ``LineFiles``) as one sequence of records.

    Parameters
    ----------
    paths
        Several are merged by the events' times; each must be in order.
    zone
        Of times without an offset.

    Attributes
    ----------
    broken
        Why a file could not be read to its end; what came before was read.
    """

    def __init__(self, paths: Sequence[str], zone: tzinfo = UTC) -> None:
        self._files = LineFiles(paths)
        self._zone = zone
        self.broken: list[FileError] = []

    def open(self) -> None:
        """Open every file, as ``LineFiles.open`` does."""
        self._files.open()

    def read(self, progress: Progress | None = None) -> Iterator[Record]:
        """All records in order; a file that breaks off ends there and is listed in ``broken``.

        Raises
        ------
        FileError
            As ``open`` does, unless that was called before.
        """
        files = [self._records(lines) for lines in self._files.lines(progress)]
        if len(files) == 1:
            return files[0]
        merged = merge(*(_timed(records) for records in files), key=lambda timed: timed[0])
        return (record for _, record in merged)

    def _records(self, lines: Iterator[bytes]) -> Iterator[Record]:
        try:
            for raw in lines:
                if raw and not raw.isspace():
                    yield Record(raw, glance(raw, self._zone))
        except FileError as error:
            self.broken.append(error)


def _timed(records: Iterator[Record]) -> Iterator[tuple[int, Record]]:
    """Records with the time by which files are merged; one without a time stays where it is."""
    at = 0
    for record in records:
        at = record.seen.at or at
        yield at, record
