from __future__ import annotations

import gzip
import io
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from streams.files import MAX_LINE, FileError, read_byte_lines, read_lines, write_lines

TEXT = b"".join(b"line %d\n" % number for number in range(50_000))


def plain(data: bytes) -> bytes:
    return data


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


compressions = pytest.mark.parametrize("compress", [plain, gzip.compress, lzma.compress, zstd])
archives = pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, zstd])
Compress = Callable[[bytes], bytes]


class Trickle(io.BytesIO):
    """Hands out a few bytes a read, as a slow pipe does."""

    def __init__(self, data: bytes, step: int) -> None:
        super().__init__(data)
        self.step = step

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(self.step)


def from_bytes(data: bytes) -> list[str]:
    return list(read_lines("-", stdin=io.BytesIO(data)))


@compressions
def test_the_first_bytes_tell_the_compression_whatever_the_name(compress: Compress, tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(compress(TEXT))
    assert list(read_byte_lines(path)) == TEXT.splitlines()
    assert list(read_lines(str(path)))[-1] == "line 49999"


@archives
def test_archives_one_after_the_other_are_one_file(compress: Compress) -> None:
    assert from_bytes(compress(b"a\nb") + compress(b"c\nd\n")) == ["a", "bc", "d"]


@archives
@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_truncated_archive_is_an_error_after_its_whole_lines(compress: Compress, kept: float, tmp_path: Path) -> None:
    data = compress(TEXT)
    path = tmp_path / "cut"
    path.write_bytes(data[: int(len(data) * kept)])
    read: list[str] = []
    with pytest.raises(FileError, match=r"cut: found a truncated or damaged archive .*; fetch or compress") as caught:
        read.extend(read_lines(path))
    assert caught.value.file == str(path)
    assert all(line.startswith("line ") for line in read)


@archives
def test_a_damaged_archive_is_an_error(compress: Compress) -> None:
    data = bytearray(compress(TEXT))
    data[len(data) // 2 : len(data) // 2 + 40] = b"\x00" * 40
    with pytest.raises(FileError, match="damaged"):
        from_bytes(bytes(data))


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"a\n\nb\n", ["a", "", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\r", ["a"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb", ["a", "\ufeffb"]),
        (b"\xef\xbb\xbfa", ["a"]),
        (b"caf\xe9\n", ["caf\ufffd"]),
        ("a\u2028b\x0bc\x85d\n".encode(), ["a\u2028b\x0bc\x85d"]),
    ],
)
def test_line_ends(data: bytes, lines: list[str]) -> None:
    assert from_bytes(data) == lines


@given(st.binary(max_size=60).filter(lambda data: data[:1] not in b"\x1f\xfd\x28\xfe\xffP\xef"), st.integers(1, 7))
def test_blocks_do_not_matter(data: bytes, step: int) -> None:
    whole = list(read_byte_lines("-", stdin=io.BytesIO(data)))
    assert list(read_byte_lines("-", stdin=Trickle(data, step))) == whole
    assert list(read_byte_lines("-", stdin=Trickle(gzip.compress(data), step))) == whole


@pytest.mark.parametrize(
    ("data", "found"), [(b"PK\x03\x04xl/workbook.xml", "Excel"), ("a,b\n".encode("utf-16"), "UTF-16")]
)
def test_common_wrong_formats_are_named(data: bytes, found: str) -> None:
    with pytest.raises(FileError, match=found):
        from_bytes(data)


def test_missing_files_and_directories_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file; check the path"):
        list(read_lines(tmp_path / "none"))
    with pytest.raises(FileError, match="a directory"):
        list(read_lines(tmp_path))
    with pytest.raises(FileError, match="null"):
        list(read_lines("a\x00b"))


def test_an_endless_line_is_cut_and_the_next_ones_are_still_there() -> None:
    lines = from_bytes(b"a\n" + b"x" * (MAX_LINE + 1) + b"\nb\n" + b"y" * (3 * MAX_LINE) + b"\nc")
    assert [len(line) for line in lines] == [1, MAX_LINE, 1, MAX_LINE, 1]
    assert lines[2::2] == ["b", "c"]


@compressions
def test_progress_counts_the_bytes_of_the_file_up_to_its_size(compress: Compress, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(compress(TEXT))
    calls: list[tuple[int, int | None]] = []
    assert len(list(read_lines(path, progress=lambda done, total: calls.append((done, total))))) == 50_000
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1] == (path.stat().st_size, path.stat().st_size)


def test_standard_input_has_no_size() -> None:
    calls: list[tuple[int, int | None]] = []
    list(read_lines("-", progress=lambda done, total: calls.append((done, total)), stdin=io.BytesIO(b"a\n")))
    assert calls[-1] == (2, None)


def test_a_reader_that_stops_early_closes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(TEXT)
    lines = read_lines(path)
    assert next(lines) == "line 0"
    lines.close()  # type: ignore[attr-defined]  # a generator, promised as an iterator


@pytest.mark.parametrize(
    ("name", "head"),
    [("a.jsonl", b"line"), ("a.gz", b"\x1f\x8b"), ("a.xz", b"\xfd7zXZ"), ("a.zst", b"\x28\xb5\x2f\xfd")],
)
def test_written_files_read_back_and_are_equal_for_equal_lines(name: str, head: bytes, tmp_path: Path) -> None:
    lines = TEXT.splitlines()
    assert write_lines(tmp_path / name, iter(lines)) == 50_000
    assert list(read_byte_lines(tmp_path / name)) == lines
    first = (tmp_path / name).read_bytes()
    assert first.startswith(head)
    write_lines(str(tmp_path / name), lines)
    assert (tmp_path / name).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_source_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield b"new"
        raise FileError("in.csv", "nothing", "give a line")

    path = tmp_path / "out.zst"
    write_lines(path, [b"old"])
    with pytest.raises(FileError, match=r"in\.csv"):
        write_lines(path, failing())
    assert list(read_lines(path)) == ["old"]
    assert [found.name for found in tmp_path.iterdir()] == ["out.zst"]


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="check the path, its permissions"):
        write_lines(tmp_path / "none" / "out.csv", [b"a"])
    with pytest.raises(FileError, match="directory"):
        write_lines(tmp_path, [b"a"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_named_and_a_device_stays() -> None:
    with pytest.raises(FileError, match="/dev/full: found No space left"):
        write_lines("/dev/full", TEXT.splitlines())
    assert write_lines("/dev/null", [b"a"]) == 1
    assert Path("/dev/null").is_char_device()
