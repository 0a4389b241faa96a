"""Where a recorded log comes from, in a file beside it: whether it is whole cannot be seen from its lines."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from .files import FileError, write_whole

FORMAT = 1
ENDINGS = (".gz", ".xz", ".zst", ".jsonl")


class Provenance(Struct, frozen=True, kw_only=True):
    """What ``rapport record`` knew of one partition of the log.

    Parameters
    ----------
    topic
        Its whole name.
    partition, partitions
        Which one of how many. Where there are several, models are learned elsewhere and come by name.
    start
        Offset of the first record that was there; behind 0, what came before it is lost to a replay.
    records
        How many were recorded.
    """

    format: int = FORMAT
    topic: str
    partition: int
    partitions: int
    start: int
    records: int


def beside(log: str, ending: str) -> Path:
    """The name of something that belongs to a log.

    >>> beside("logs/events-0.jsonl.gz", ".models").as_posix()
    'logs/events-0.models'
    """
    path = Path(log)
    name = path.name
    for end in ENDINGS:
        name = name.removesuffix(end)
    return path.with_name(name + ending)


def path_of(log: str) -> Path:
    """The file that tells where a log comes from.

    >>> path_of("log.jsonl").as_posix()
    'log.provenance.json'
    """
    return beside(log, ".provenance.json")


def write(log: str, provenance: Provenance) -> None:
    """Write it beside the log.

    Raises
    ------
    FileError
        Where it cannot be written.
    """
    text = msgspec.json.format(msgspec.json.encode(provenance), indent=2)
    write_whole(path_of(log), text + b"\n")


def read(log: str) -> Provenance | None:
    """What is known of a log; None where nothing lies beside it.

    Raises
    ------
    FileError
        Where the file beside it is no such file.
    """
    path = path_of(log)
    remedy = "record the log again, or take this file away"
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Provenance)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileError(str(path), error.strerror or str(error), remedy) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FileError(str(path), f"no provenance of a log ({error})", remedy) from error
    if found.format != FORMAT:
        raise FileError(str(path), f"format {found.format}; this version reads {FORMAT}", remedy)
    return found
