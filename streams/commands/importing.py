"""``rapport import``: files of others to canonical events."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import typer

from schemas.codec import encode_event
from streams import importers
from streams.files import STDIO
from streams.importers.base import Import

from . import common


class Source(StrEnum):
    """What can be imported."""

    ONLINE_RETAIL = "online-retail"
    ESHOP = "eshop"
    ECOM = "ecom"


def import_file(
    source: Annotated[
        Source,
        typer.Argument(
            help="online-retail: invoices (UCI 352); eshop: clicks (UCI 553); ecom: page events (retentioneering)."
        ),
    ],
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The CSV file: plain, gz, xz or zst; - reads standard input.")
    ],
    out: common.EventsOut = STDIO,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="online-retail: keep invoices without a customer, one stranger each.")
    ] = False,
) -> None:
    """Turn a data set into canonical events, in time order, ready for rapport replay.

    What was read, made up or left out is said at the end, on standard error.

    Example: rapport import online-retail online_retail.csv.xz -o orders.jsonl.gz
    """
    if anonymous and source is not Source.ONLINE_RETAIL:
        raise typer.BadParameter(f"--anonymous is for online-retail only: {source} has no invoices without a customer")
    drawn = 0

    def lines(found: Import) -> Iterator[bytes]:
        nonlocal drawn
        for event in found.events:
            drawn += 1
            yield encode_event(event)

    with common.bytes_read([file], lambda: drawn) as report:

        def progress(done: int, total: int | None) -> None:
            report(done)

        if source is Source.ONLINE_RETAIL:
            found = importers.online_retail(file, anonymous=anonymous, progress=progress)
        elif source is Source.ESHOP:
            found = importers.eshop(file, progress=progress)
        else:
            found = importers.ecom(file, progress=progress)
        common.written(out, lines(found))
    for line in found.summary.text():
        common.say(line, console=common.err)
    if out != STDIO:
        campaigns = " -c examples/online-retail.toml" if source is Source.ONLINE_RETAIL else ""
        common.say(f"written to {out}; next: rapport replay {out}{campaigns}", console=common.err)
