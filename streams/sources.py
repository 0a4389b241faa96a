"""Event files as canonical events: read, validated, merged by time, what cannot be read set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from heapq import merge

from schemas.base import Event
from schemas.dead_letters import DeadLetter
from schemas.intake import Intake
from streams.files import read_byte_lines

from .reorder import reordered

Progress = Callable[[int, int | None], None]


class Sources:
    """Files of JSON lines (plain, gz, xz or zst, ``-`` for standard input), in Segment's form or canonical.

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
    """

    def __init__(
        self,
        paths: Sequence[str],
        intake: Intake,
        unsorted_ms: int = 0,
        on_dead: Callable[[DeadLetter], None] | None = None,
    ) -> None:
        self._paths = paths
        self._intake = intake
        self._unsorted_ms = unsorted_ms
        self._on_dead = on_dead
        self.records = 0
        self.dead: Counter[str] = Counter()
        self.first_dead: dict[str, DeadLetter] = {}
        self.notes: Counter[str] = Counter()
        self.events = 0
        self.behind = 0
        self.furthest_behind_ms = 0
        self.first_at: int | None = None
        self.last_at = 0

    def read(self, progress: Progress | None = None) -> Iterator[Event]:
        """All events in order; raises ``FileError`` where a file cannot be read."""
        streams = [self._file(path, progress) for path in self._paths]
        if self._unsorted_ms:
            streams = [reordered(stream, self._unsorted_ms) for stream in streams]
        return self._watched(streams[0] if len(streams) == 1 else merge(*streams, key=lambda event: event.occurred_at))

    def _file(self, path: str, progress: Progress | None) -> Iterator[Event]:
        read, note = self._intake.read, self.notes
        for number, raw in enumerate(read_byte_lines(path, progress=progress), 1):
            if not raw or raw.isspace():
                continue
            self.records += 1
            result = read(raw, None, f"{path}:{number}")
            if result.dead is not None:
                self._refuse(result.dead)
            if result.notes:
                note.update(result.notes)
            yield from result.events

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
            if at >= self.last_at:
                if self.first_at is None:
                    self.first_at = at
                self.last_at = at
            else:
                self.behind += 1
                self.furthest_behind_ms = max(self.furthest_behind_ms, self.last_at - at)
            yield event
