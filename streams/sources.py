"""Event files as canonical events: read, validated, merged by time, what cannot be read set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from heapq import merge

from schemas.base import Event
from schemas.control import ModelPublished
from schemas.dead_letters import DeadLetter
from schemas.intake import Intake

from .files import FileError
from .line_files import LineFiles, Progress
from .reorder import reordered


class Sources:
    """Files of JSON lines (as of ``LineFiles``), in any of the forms that the intake reads.

    Parameters
    ----------
    paths
        Several are merged by time; each must be sorted, or unsorted within ``unsorted_ms``.
    intake
        What validates and normalises.
    unsorted_ms
        Milliseconds within which events may be out of order; 0: they are taken as they come.
    on_dead
        Called with each record that was refused.

    Attributes
    ----------
    broken
        Why a file could not be read to its end; what came before is in the events.
    dead, first_dead
        Refused records by reason: how many, and the first of each.
    notes
        Repairs of accepted records: how many of each.
    behind, furthest_behind_ms
        Events that came after a later one, and by how much at most.
    """

    def __init__(
        self,
        paths: Sequence[str],
        intake: Intake,
        unsorted_ms: int = 0,
        on_dead: Callable[[DeadLetter], None] | None = None,
    ) -> None:
        self._files = LineFiles(paths)
        self._intake = intake
        self._unsorted_ms = unsorted_ms
        self._on_dead = on_dead
        self.broken: list[FileError] = []
        self.records = 0
        self.dead: Counter[str] = Counter()
        self.first_dead: dict[str, DeadLetter] = {}
        self.notes: Counter[str] = Counter()
        self.events = 0
        self.behind = 0
        self.furthest_behind_ms = 0
        self.first_at: int | None = None
        self.last_at = 0

    @property
    def failed(self) -> bool:
        """Whether a file could not be read to its end, or had records and none of them was usable."""
        return bool(self.broken) or bool(self.records and not self.events)

    def open(self) -> None:
        """Open every file, as ``LineFiles.open`` does."""
        self._files.open()

    def read(self, progress: Progress | None = None) -> Iterator[Event]:
        """All events in order; a file that breaks off ends there and is listed in ``broken``.

        Raises
        ------
        FileError
            As ``open`` does, unless that was called before.
        """
        opened = self._files.lines(progress)
        streams = [self._file(path, lines) for path, lines in zip(self._files.paths, opened, strict=True)]
        if self._unsorted_ms:
            streams = [reordered(stream, self._unsorted_ms) for stream in streams]
        return self._watched(streams[0] if len(streams) == 1 else merge(*streams, key=lambda event: event.occurred_at))

    def _file(self, path: str, lines: Iterator[bytes]) -> Iterator[Event]:
        read, note = self._intake.read, self.notes
        place = _unpacked(path)
        try:
            for number, raw in enumerate(lines, 1):
                if not raw or raw.isspace():
                    continue
                self.records += 1
                result = read(raw, None, f"{place}:{number}")
                for letter in result.letters:
                    self._refuse(letter)
                if result.dead is not None:
                    continue
                if result.notes:
                    note.update(result.notes)
                yield from result.events
        except FileError as error:
            self.broken.append(error)

    def _refuse(self, letter: DeadLetter) -> None:
        self.dead[letter.reason] += 1
        self.first_dead.setdefault(letter.reason, letter)
        if self._on_dead is not None:
            self._on_dead(letter)

    def _watched(self, events: Iterator[Event]) -> Iterator[Event]:
        """Count events and how far they come out of order."""
        for event in events:
            at = event.occurred_at
            self.events += 1
            if isinstance(event, ModelPublished):
                yield event  # it has its place in the log, and no time
                continue
            if at >= self.last_at:
                if self.first_at is None:
                    self.first_at = at
                self.last_at = at
            else:
                self.behind += 1
                self.furthest_behind_ms = max(self.furthest_behind_ms, self.last_at - at)
            yield event


def _unpacked(path: str) -> str:
    """The name without the ending of its compression: ids of records that have none are made of it.

    >>> _unpacked("log/events.jsonl.gz")
    'log/events.jsonl'
    """
    for ending in (".gz", ".xz", ".zst"):
        path = path.removesuffix(ending)
    return path
