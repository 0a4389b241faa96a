"""The way in: bytes of a raw topic or a file become canonical events or one dead letter, never an exception."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from .adapters.ga4 import is_body, read_body
from .adapters.members import read_batch
from .adapters.segment import CALLS, read_call
from .canonical import read_canonical
from .dead_letters import DeadLetter, dead_letter
from .errors import SchemaError
from .events import AnyEvent
from .limits import DEFAULTS, IntakeOptions, parse

__all__ = ["Intake", "IntakeOptions", "Read"]


class Read(Struct, frozen=True, gc=False):
    """What became of a record: events, or a dead letter; of one that holds several, both may be.

    Parameters
    ----------
    events
        In the order in which they must be applied; empty where the record was refused.
    dead
        The refusal of the whole record.
    refused
        Refusals of members of a record that holds several; ``field`` says which, ``origin`` is the record's.
    notes
        Repairs and oddities to be counted, such as ``clamped_time``; ``docs/events.md`` lists them.
    """

    events: tuple[AnyEvent, ...] = ()
    dead: DeadLetter | None = None
    notes: tuple[str, ...] = ()
    refused: tuple[DeadLetter, ...] = ()

    @property
    def letters(self) -> tuple[DeadLetter, ...]:
        """All refusals, of the record or of its members."""
        return self.refused if self.dead is None else (self.dead,)


class Intake:
    """Reads records: a pure function of record, arrival and origin.

    Parameters
    ----------
    options
        Caps, allow-listed traits, default currency and time zone.

    Raises
    ------
    SchemaError
        The time zone of the options is unknown.

    >>> read = Intake().read(b'{"type": "page", "anonymousId": "9f2c", "messageId": "m"}', 5, "clickstream[0]@7")
    >>> read.events[0].customer, read.notes
    ('a:9f2c', ('arrival_time',))
    >>> print(Intake().read(b"page", 5, "clickstream[0]@8").dead.reason)
    not_json
    """

    def __init__(self, options: IntakeOptions = DEFAULTS) -> None:
        self.options = options
        self._zone = _zone(options.timezone)

    def read(self, raw: bytes, arrival: int | None, origin: str) -> Read:
        """Read one record.

        Parameters
        ----------
        raw
            The record's bytes.
        arrival
            The broker's timestamp, milliseconds UTC; None where there is none, as in a file.
        origin
            ``topic[partition]@offset`` or ``file:line``: dead letters carry it, ids are derived from it.

        Returns
        -------
        Read
            Events or a dead letter, never both, never neither; of a record that holds several, either for each member.
        """
        if arrival is not None and arrival < 0:
            arrival = None
        notes: list[str] = []
        refused: list[SchemaError] = []
        events: tuple[AnyEvent, ...]
        try:
            record = parse(raw, self.options, notes)
            tag = record.get("type")
            if type(tag) is str and tag in CALLS:
                events = read_call(record, arrival, origin, self._zone, self.options, notes)
            elif is_body(record):
                events = read_body(record, arrival, origin, self._zone, self.options, notes, refused)
            elif tag is None and "batch" in record:
                events = read_batch(record, arrival, origin, self._zone, self.options, notes, refused)
            else:
                events = (read_canonical(record, arrival, origin, self._zone, self.options, notes),)
        except SchemaError as error:
            return Read(dead=dead_letter(error, raw, origin, arrival or 0), notes=tuple(notes))
        letters = tuple(dead_letter(error, raw, origin, arrival or 0) for error in refused)
        return Read(events, None, tuple(notes), letters)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise SchemaError("time", "timezone", name, "set an IANA name such as Europe/Paris") from None
