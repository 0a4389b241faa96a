"""Byte-level mutation of a committed corpus, for every reader of bytes.

By default a test tries a few hundred inputs; with ``RAPPORT_FUZZ=100000`` so many, at random (``make fuzz``).
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

CORPUS = Path(__file__).parent / "schemas" / "corpus"
FIXTURES = Path(__file__).parent / "schemas" / "fixtures"
ASKED = int(os.environ.get("RAPPORT_FUZZ") or 0)
CPU_S = 2.0
"""Far more than any input may cost, and far less than one that blocks a worker."""
TOKENS = (
    *(b"NaN", b"-Infinity", b"1e999", b"-0", b"0.0000001", b"9223372036854775808", b"null", b"true", b"[]", b"{}"),
    *(b'"', b"\\", b'\\"', b"{", b"}", b"[", b"]", b",", b":", b'"":', b'"type":"tick",', b'"a":1,"a":2,'),
    *(
        b"\\ud800",
        b"\\u0000",
        b"\x00",
        b"\x1b[31m",
        b"\r\n",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xc0\x80",
        b"\xed\xa0\x80",
    ),
    *(
        b"{" * 40,
        b'{"a":' * 40,
        b"[" * 1_100,
        b"9" * 400,
        b"9999-12-31T23:59:59Z",
        b"-1",
        b"<script>",
        b"%s%n",
        b"\xc1",
    ),
)


def fuzzed(inputs: int) -> settings:
    """How long a test goes on: so many inputs, the same each time; or as many as ``RAPPORT_FUZZ`` says, at random."""
    return settings(
        deadline=None,
        max_examples=ASKED or inputs,
        derandomize=not ASKED,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


def lines(*names: str) -> list[bytes]:
    """The records of files of the corpus."""
    folders = (CORPUS, FIXTURES)
    files = [next(folder / name for folder in folders if (folder / name).exists()) for name in names]
    return [line for file in files for line in file.read_bytes().splitlines() if line]


def mutated(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the seeds after one to six changes: bytes set, put in, taken out, repeated, cut off; a token or a piece of another."""
    places = st.integers(0, 1 << 16)
    change = st.one_of(
        st.tuples(st.just(_set), places, st.binary(min_size=1, max_size=4)),
        st.tuples(st.just(_insert), places, st.sampled_from(TOKENS)),
        st.tuples(st.just(_overwrite), places, st.sampled_from(TOKENS)),
        st.tuples(st.just(_take), places, st.integers(1, 64)),
        st.tuples(st.just(_repeat), places, st.integers(1, 200)),
        st.tuples(st.just(_cut), places, st.just(0)),
        st.tuples(st.just(_splice), places, st.sampled_from(seeds)),
    )
    return st.builds(_changed, st.sampled_from(seeds), st.lists(change, min_size=1, max_size=6))


def _changed(seed: bytes, changes: list[tuple[Callable[[bytes, int, Any], bytes], int, Any]]) -> bytes:
    for change, place, what in changes:
        seed = change(seed, place % (len(seed) + 1), what)
    return seed


def _set(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _insert(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at:]


_overwrite = _set


def _take(data: bytes, at: int, size: int) -> bytes:
    return data[:at] + data[at + size :]


def _repeat(data: bytes, at: int, times: int) -> bytes:
    return data[:at] + data[at : at + 40] * times + data[at:]


def _cut(data: bytes, at: int, nothing: int) -> bytes:
    return data[:at]


def _splice(data: bytes, at: int, other: bytes) -> bytes:
    return data[:at] + other[at % (len(other) + 1) :]


@contextmanager
def bounded(seconds: float = CPU_S) -> Iterator[None]:
    """What is done inside takes no more than so much of the processor's time."""
    gc.disable()  # what a collection of all that other tests have left takes is no cost of the input
    try:
        started = time.process_time()
        yield
        taken = time.process_time() - started
    finally:
        gc.enable()
    assert taken < seconds
