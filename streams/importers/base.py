"""What all importers share: their error, the table of a delimited file, and the account of what was left out."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from schemas.base import Event
from schemas.errors import FOUND_MAX, printable
from schemas.events import AnyEvent
from schemas.money import exact
from streams.files import FileError, Progress, read_lines

Source = str | Path | Iterable[str]
"""A path (``-`` is standard input), or the lines themselves."""

ID_MAX = 128


class ImportFileError(FileError):
    """A file that an importer cannot use: the line, what was found there, and the remedy."""


class First(NamedTuple):
    """The first line that was left out for a reason, and what was found in it."""

    line: int
    found: str


@dataclass
class Summary:
    """What became of a file; complete when the events have run out.

    Parameters
    ----------
    source
        The importer's name on the command line.
    file
        The file's name as the user gave it.
    flags
        What is made up or assumed in every event.
    lines
        Lines read, without the header.
    events
        Events by kind.
    customers
        Distinct customers of the events.
    skipped
        Lines left out, by reason.
    first
        For each such reason its first line.
    notes
        What was changed on the way in and how often, where nothing was left out.
    start, end
        Times of the first and the last event in milliseconds UTC; None without events.
    """

    source: str
    file: str = ""
    flags: tuple[str, ...] = ()
    lines: int = 0
    events: Counter[str] = field(default_factory=Counter)
    customers: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    first: dict[str, First] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    start: int | None = None
    end: int | None = None

    def skip(self, reason: str, line: int, found: str, lines: int = 1) -> None:
        """Count lines left out.

        >>> summary = Summary("eshop")
        >>> summary.skip("price", 7, "abc")
        >>> summary.skipped["price"], summary.first["price"]
        (1, First(line=7, found='abc'))
        """
        self.skipped[reason] += lines
        if reason not in self.first:
            self.first[reason] = First(line, printable(found))

    def text(self) -> list[str]:
        """The summary in words, a line for each fact.

        >>> summary = Summary("eshop", lines=2, customers=1, events=Counter(product_viewed=1), start=0, end=0)
        >>> summary.skip("price", 3, "abc")
        >>> print(*summary.text(), sep="\\n")
        2 lines, 1 events of 1 customers, 1970-01-01 00:00 to 1970-01-01 00:00 UTC
          product_viewed: 1
          skipped, price: 1 lines, the first is line 3 (abc)
        """
        span = ""
        if self.start is not None and self.end is not None:
            span = f", {_minute(self.start)} to {_minute(self.end)} UTC"
        head = f"{self.lines:,} lines, {self.events.total():,} events of {self.customers:,} customers{span}"
        kinds = [f"  {kind}: {count:,}" for kind, count in self.events.most_common()]
        flags = [f"  flagged: {flag}" for flag in self.flags]
        notes = [f"  note, {note}: {count:,}" for note, count in self.notes.most_common()]
        skipped = [
            f"  skipped, {reason}: {count:,} lines, the first is line {self.first[reason].line} ({self.first[reason].found})"
            for reason, count in self.skipped.most_common()
        ]
        return [head, *kinds, *flags, *notes, *skipped]


class Import(NamedTuple):
    """An import under way: the events in time order, and the summary that fills as they are drawn."""

    events: Iterator[AnyEvent]
    summary: Summary


def table(
    source: Source, columns: Mapping[str, str], summary: Summary, progress: Progress | None = None
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The wanted columns of a comma- or semicolon-separated file, as (line number, values).

    One record a line: a quoted field does not run on over the line's end, so a lost quote costs one line and not
    the rest of the file. Lines without the header's number of fields are skipped and counted as ``fields``.

    Parameters
    ----------
    columns
        Wanted columns, at least two, in the wanted order: their key (small letters and digits of the name), and the
        name to show where one is missing.

    Raises
    ------
    ImportFileError
        Where the file cannot be read, has no line, or not these columns.

    >>> lines = ["Customer ID;Price;Note", '7;"2.5";a', "8;2"]
    >>> summary = Summary("x")
    >>> list(table(lines, {"price": "Price", "customerid": "Customer ID"}, summary)), dict(summary.skipped)
    ([(2, ('2.5', '7'))], {'fields': 1})
    """
    if isinstance(source, str | Path):
        summary.file = str(source)
        lines = _read(source, progress)
    else:
        summary.file = "the lines given"
        lines = iter(source)
    wanted = f"the {summary.source} file with the columns {', '.join(columns.values())}"
    header = next(lines, None)
    if header is None or not header.strip():
        raise ImportFileError(summary.file, "nothing" if header is None else "an empty line", f"give {wanted}", line=1)
    separator = ";" if header.count(";") > header.count(",") else ","
    names = _split(header, separator) or []
    places = {key(name): place for place, name in enumerate(names)}
    missing = [shown for wanted_key, shown in columns.items() if wanted_key not in places]
    if missing:
        lacks = f"its header lacks {', '.join(missing)}: give {wanted}"
        raise ImportFileError(summary.file, f"'{printable(header, FOUND_MAX - 2)}'", lacks, line=1)
    pick = itemgetter(*(places[wanted_key] for wanted_key in columns))
    width = len(names)
    number = 1
    for number, line in enumerate(lines, start=2):
        fields = line.split(separator) if '"' not in line else _split(line, separator)
        if fields is None or len(fields) != width:
            summary.skip("fields" if line.strip() else "empty_line", number, line)
            continue
        yield number, pick(fields)
    summary.lines = number - 1
    if number == 1:
        raise ImportFileError(summary.file, "a header and no line below it", f"give {wanted}", line=1)


def counted(
    events: Iterable[AnyEvent], summary: Summary, remedies: Mapping[str, str] | None = None
) -> Iterator[AnyEvent]:
    """Pass events on and count them.

    Parameters
    ----------
    remedies
        What to do where every line was skipped, by the reason that took most of them; for the others, to give the
        original file.

    Raises
    ------
    ImportFileError
        Where there is none.
    """
    customers: set[str] = set()
    tally: Counter[type[Event]] = Counter()
    for event in events:
        tally[type(event)] += 1
        customers.add(event.customer)
        if summary.start is None:
            summary.start = event.occurred_at
        summary.end = event.occurred_at
        yield event
    summary.events = Counter({str(kind.__struct_config__.tag): count for kind, count in tally.items()})
    summary.customers = len(customers)
    if not customers:
        reason, count = summary.skipped.most_common(1)[0] if summary.skipped else ("no reason", 0)
        line, found = summary.first.get(reason, First(0, "no usable line"))
        remedy = (remedies or {}).get(reason, f"give the original {summary.source} file")
        account = f"no line became an event, {count:,} of {summary.lines:,} were skipped for {reason!r}"
        raise ImportFileError(summary.file, f"'{found}'", f"{account}: {remedy}", line=line)


@lru_cache(maxsize=1 << 16)
def millis(text: str) -> int | None:
    """A date and time in ISO form as milliseconds, UTC where it names no zone; None where it is none, or before 1970.

    >>> millis("2010-12-01 08:26"), millis("12/1/2010 8:26")
    (1291191960000, None)
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = moment.replace(microsecond=0).timestamp()
    return int(seconds) * 1000 + moment.microsecond // 1000 if seconds >= 0 else None


_NUMBER = re.compile(r"-?\d{1,12}(\.\d{1,6})?", re.ASCII)


def whole(text: str) -> int | None:
    """A whole number in ASCII digits; None where it is none.

    >>> whole("-12"), whole("1_0"), whole("1.5")
    (-12, None, None)
    """
    return int(text) if _NUMBER.fullmatch(text) and "." not in text else None


@lru_cache(maxsize=1 << 16)
def amount(text: str) -> Decimal | None:
    """A decimal amount that ``Money`` can hold; None where it is none.

    >>> amount("2.55"), amount("NaN"), amount("1e3"), amount("0.1234567")
    (Decimal('2.55'), None, None, None)
    """
    return exact(Decimal(text)) if _NUMBER.fullmatch(text) else None


def key(name: str) -> str:
    """A column's name as it is compared: small letters and digits only, as copies of a file differ in the rest.

    >>> key("Customer ID"), key("page_1__main_category_"), key("page 1 (main category)")
    ('customerid', 'page1maincategory', 'page1maincategory')
    """
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _read(path: str | Path, progress: Progress | None) -> Iterator[str]:
    try:
        yield from read_lines(path, progress=progress)
    except FileError as error:
        raise ImportFileError(error.file, error.found, error.remedy, error.line) from error


def _split(line: str, separator: str) -> list[str] | None:
    try:
        return next(csv.reader([line], delimiter=separator, strict=True), None)
    except csv.Error:
        return None


def _minute(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M}"
