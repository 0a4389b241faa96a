"""Several files of lines, opened together so that what cannot be read is known before anything is done with the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from .files import STDIO, FileError, read_byte_lines

Progress = Callable[[int], None]
"""Called with the bytes read so far of all files together, as they lie in the files."""


class LineFiles:
    """Files of lines (plain, gz, xz or zst, ``-`` for standard input).

    Parameters
    ----------
    paths
        Where they are.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self._opened: list[Iterator[bytes]] | None = None
        self._progress: Progress | None = None
        self._bytes = [0] * len(paths)

    def open(self) -> None:
        """Open every file and read its first line.

        Raises
        ------
        FileError
            Where a file is missing, is no text, or cannot be read; or where standard input is named twice.
        """
        if list(self.paths).count(STDIO) > 1:
            raise FileError(STDIO, "standard input named twice", "name it once")
        self._opened = [self._lines(index, path) for index, path in enumerate(self.paths)]

    def lines(self, progress: Progress | None = None) -> list[Iterator[bytes]]:
        """The lines of each file, once; they raise ``FileError`` where a file breaks off.

        Raises
        ------
        FileError
            As ``open`` does, unless that was called before.
        """
        self._progress = progress
        if self._opened is None:
            self.open()
        opened, self._opened = self._opened or [], None
        return opened

    def _lines(self, index: int, path: str) -> Iterator[bytes]:
        def progress(done: int, total: int | None) -> None:
            self._bytes[index] = done
            if self._progress is not None:
                self._progress(sum(self._bytes))

        lines = read_byte_lines(path, progress=progress)
        return chain([first], lines) if (first := next(lines, None)) is not None else iter(())
