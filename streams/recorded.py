"""A recorded ``events`` log of one partition, read again: its records are the engine's own and trusted as they are."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from schemas.codec import decode_event
from schemas.control import ModelPublished
from schemas.errors import SchemaError
from schemas.intake import Intake, Read

from .files import STDIO, FileError, read_byte_lines

REMEDY = "name a file that rapport record wrote of one partition of events"


class LogIntake(Intake):
    """Reads records of the log, where the other intake reads what senders sent."""

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
        if isinstance(event, ModelPublished):
            remedy = "record a log of one partition, whose engine learns by itself"
            raise FileError(file, "a model that was learned elsewhere", remedy, int(line))
        return Read((event,))


class _Via(Struct):
    via: str = ""


def sources_of(path: str) -> tuple[str, ...]:
    """The partitions of raw topics that a log's records came through, as ``Partition`` takes them.

    Raises
    ------
    FileError
        The file cannot be read, or is standard input, which can be read once only.
    """
    if path == STDIO:
        raise FileError(STDIO, "a log whose sources are not known yet", "name them: --sources clickstream/0,...")
    decode = msgspec.json.Decoder(_Via).decode
    found = set()
    for number, line in enumerate(read_byte_lines(path), 1):
        if line and not line.isspace():
            try:
                found.add(decode(line).via)
            except ValueError as error:
                raise FileError(path, f"no event of a log ({error})", REMEDY, number) from error
    return tuple(sorted(found - {""}))
