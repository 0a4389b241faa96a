"""Lines in from plain, gzip, xz and zstandard files or standard input, with progress in bytes; and lines out."""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, BinaryIO, Protocol, cast

import zstandard

from schemas.errors import printable

Progress = Callable[[int, int | None], None]
"""Called with the bytes read so far, as they lie in the file, and the file's size; None where that is unknown."""

STDIO = "-"
BLOCK = 1 << 20
RAW_BLOCK = 1 << 16
HEAD = 8
ZSTD_BLOCK = 1 << 14  # a small block bounds what one call can inflate to
MAX_LINE = 16 << 20

_GZIP, _XZ, _ZSTD, _ZIP = b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")


class FileError(Exception):
    """A file that cannot be read or written as asked.

    Parameters
    ----------
    file
        Its name as the user gave it, ``-`` for standard input or output.
    found
        What was there instead, cut to 80 printable characters.
    remedy
        What to do about it.
    line
        Number of the line from 1; 0 where the trouble is the file as a whole.

    >>> print(FileError("a.csv", "no such file", "check the path"))
    a.csv: found no such file; check the path
    >>> print(FileError("a.csv", "three columns", "write four", line=7))
    a.csv, line 7: found three columns; write four
    """

    def __init__(self, file: str, found: str, remedy: str, line: int = 0) -> None:
        self.file = file
        self.found = printable(found)
        self.remedy = remedy
        self.line = line
        place = f"{file}, line {line}" if line else file
        super().__init__(f"{place}: found {self.found}; {remedy}")


def read_lines(path: str | Path, *, progress: Progress | None = None, stdin: BinaryIO | None = None) -> Iterator[str]:
    """The lines of a UTF-8 text file without their ends; bytes that are no UTF-8 become U+FFFD.

    Parameters
    ----------
    path
        A file, or ``-`` for standard input. How it is compressed is told by its first bytes, never by its name.
    progress
        Called after each block read.
    stdin
        What ``-`` stands for, by default the process's standard input.

    Raises
    ------
    FileError
        Where the file is missing, truncated or damaged.

    >>> list(read_lines("-", stdin=io.BytesIO(b"one\\r\\ntwo")))
    ['one', 'two']
    """
    for line in read_byte_lines(path, progress=progress, stdin=stdin):
        yield line.decode("utf-8", "replace")


def read_byte_lines(
    path: str | Path, *, progress: Progress | None = None, stdin: BinaryIO | None = None
) -> Iterator[bytes]:
    """As :func:`read_lines`, undecoded: for JSON decoders, which check UTF-8 themselves.

    >>> list(read_byte_lines("-", stdin=io.BytesIO(gzip.compress(b"one\\n\\ntwo\\n"))))
    [b'one', b'', b'two']
    """
    name = str(path)
    with contextlib.ExitStack() as stack:
        if name == STDIO:
            raw: BinaryIO = stdin if stdin is not None else sys.stdin.buffer
            total = None
        else:
            raw, total = _open(name)
            stack.enter_context(raw)
        try:
            yield from _lines(_blocks(_Counted(raw, total, progress), name))
        except (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, gzip.BadGzipFile) as error:
            raise FileError(
                name, f"a truncated or damaged archive ({error})", "fetch or compress the file again"
            ) from error
        except OSError as error:
            raise FileError(name, error.strerror or str(error), "check the file and its disk") from error


def write_lines(path: str | Path, lines: Iterable[bytes], *, stdout: BinaryIO | None = None) -> int:
    """Write lines, adding their ends, and return how many.

    The name tells the compression: ``.gz``, ``.xz``, ``.zst``, else none; ``-`` is standard output. A file appears
    under its name when it is complete; where ``lines`` raises, what was there before stays. Equal lines give equal
    bytes.

    Raises
    ------
    FileError
        Where the file cannot be written. Errors of standard output, such as a reader that left, pass unchanged.

    >>> out = io.BytesIO()
    >>> write_lines("-", [b"one", b"two"], stdout=out), out.getvalue()
    (2, b'one\\ntwo\\n')
    """
    name = str(path)
    if name == STDIO:
        target = stdout if stdout is not None else sys.stdout.buffer
        count = _write(target, lines)
        target.flush()
        return count
    final = Path(path)
    # A device or a pipe is written in place: renaming a file over it would replace it.
    in_place = final.exists() and not final.is_file()
    partial = final if in_place else final.with_name(f".{final.name}.{os.getpid()}.part")
    try:
        raw: BinaryIO = partial.open("wb")
    except OSError as error:
        raise _unwritable(name, error) from error
    try:
        with raw, _compressor(final.suffix, raw) as target:
            count = _write(target, lines)
        if not in_place:
            partial.replace(final)
    except BaseException as error:
        if not in_place:
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(name, error) from error
        raise
    return count


def write_whole(path: Path, data: bytes, remedy: str = "") -> None:
    """Write a file, and the folder that it lies in: under its name it is whole or not there.

    Parameters
    ----------
    remedy
        What to do where it cannot be written, in place of the usual.

    Raises
    ------
    FileError
        Where it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise _unwritable(str(path), error, remedy) from error


class _Writer(Protocol):
    def write(self, data: bytes, /) -> object: ...


class _Counted(io.RawIOBase):
    """Passes reads on and reports how far they came."""

    def __init__(self, raw: BinaryIO, total: int | None, progress: Progress | None) -> None:
        super().__init__()
        self._raw = raw
        self._total = total
        self._progress = progress
        self._done = 0
        self._ahead = b""

    def head(self, size: int) -> bytes:
        """The first bytes, left to be read: all of them, however few a slow pipe hands out at once."""
        while len(self._ahead) < size and (data := self._read(size - len(self._ahead))):
            self._ahead += data
        return self._ahead

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(cast("bytearray", buffer))
        data = self._ahead[: len(view)] or self._read(len(view))
        self._ahead = self._ahead[len(data) :]
        view[: len(data)] = data
        return len(data)

    def _read(self, size: int) -> bytes:
        # read1 hands on what a pipe has, where read would wait until the whole block is there.
        read = getattr(self._raw, "read1", self._raw.read)
        data: bytes = read(size)
        self._done += len(data)
        if self._progress is not None:
            self._progress(self._done, self._total)
        return data


def _open(name: str) -> tuple[BinaryIO, int | None]:
    path = Path(name)
    try:
        raw = path.open("rb")
    except FileNotFoundError as error:
        raise FileError(name, "no such file", "check the path") from error
    except IsADirectoryError as error:
        raise FileError(name, "a directory", "name a file in it") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FileError(name, reason, "check the path and its permissions") from error
    size = os.fstat(raw.fileno()).st_size
    return raw, size if path.is_file() else None


def _blocks(counted: _Counted, name: str) -> Iterator[bytes]:
    head = counted.head(HEAD)
    source: io.BufferedReader = io.BufferedReader(counted, RAW_BLOCK)
    if head.startswith(_ZIP):
        raise FileError(name, "a zip archive or an Excel workbook", "unpack it, or save the sheet as CSV in UTF-8")
    if head.startswith(_WIDE_BOMS):
        raise FileError(name, "text in UTF-16", "save it as UTF-8")
    if head.startswith(_ZSTD):
        yield from _zstd_blocks(source)
        return
    plain: IO[bytes] = source
    if head.startswith(_GZIP):
        plain = cast("IO[bytes]", gzip.GzipFile(fileobj=source, mode="rb"))
    elif head.startswith(_XZ):
        plain = lzma.LZMAFile(source)  # noqa: SIM115  the file below it is the caller's to close
    read = getattr(plain, "read1", plain.read)
    while block := read(BLOCK):
        yield block


def _zstd_blocks(source: io.BufferedReader) -> Iterator[bytes]:
    """Inflate frame by frame: the library's own stream reader takes a truncated file for a complete one."""
    decompressor = zstandard.ZstdDecompressor()
    frame = decompressor.decompressobj()
    while data := source.read1(ZSTD_BLOCK):
        while data:
            if frame.eof:
                frame = decompressor.decompressobj()
            block = frame.decompress(data)
            data = frame.unused_data if frame.eof else b""
            if block:
                yield block
    if not frame.eof:
        raise EOFError("it ends within a frame")


def _lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines of a file; what goes beyond ``MAX_LINE`` in one is cut, so that whoever reads it refuses it and the file goes on."""
    number = 0
    pending: list[bytes] = []
    size = 0
    for block in blocks:
        head, *rest = block.split(b"\n")
        pending.append(head[: MAX_LINE - size])
        size += len(pending[-1])
        if rest:
            last = rest.pop()
            first = b"".join(pending)
            for line in ((first.removeprefix(_BOM) if number == 0 else first), *rest):
                number += 1
                yield line[:-1] if line.endswith(b"\r") else line
            pending = [last]
            size = len(last)
    tail = b"".join(pending)
    if number == 0:
        tail = tail.removeprefix(_BOM)
    if tail:
        yield tail.removesuffix(b"\r")


def _write(target: _Writer, lines: Iterable[bytes]) -> int:
    count = 0
    for line in lines:
        target.write(line + b"\n")
        count += 1
    return count


def _compressor(suffix: str, raw: BinaryIO) -> contextlib.AbstractContextManager[_Writer]:
    if suffix == ".gz":
        # Neither name nor time in the header, so that equal lines give equal bytes.
        return gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0)
    if suffix == ".xz":
        return lzma.LZMAFile(raw, mode="wb")
    if suffix == ".zst":
        return zstandard.ZstdCompressor(write_checksum=True).stream_writer(raw, closefd=False)
    return contextlib.nullcontext(raw)


def _unwritable(name: str, error: OSError, remedy: str = "") -> FileError:
    usual = "check the path, its permissions and the space on its disk"
    return FileError(name, error.strerror or str(error), remedy or usual)
