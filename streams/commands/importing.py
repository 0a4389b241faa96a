"""``rapport import``: files of others to canonical events."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from schemas.codec import encode_event
from streams import importers
from streams.files import STDIO, write_lines

from . import common


class Source(StrEnum):
    """What can be imported."""

    ONLINE_RETAIL = "online-retail"
    ESHOP = "eshop"
    ECOM = "ecom"


def import_file(
    source: Annotated[Source, typer.Argument(help="online-retail: invoices (UCI 352); eshop: clicks (UCI 553); ecom: page events.")],
    file: Annotated[str, typer.Argument(help="The CSV file: plain, gz, xz or zst; - reads standard input.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Where to write: FILE.jsonl, .jsonl.gz, .jsonl.zst; - is standard output.")] = STDIO,
    anonymous: Annotated[bool, typer.Option("--anonymous", help="online-retail: keep invoices without a customer, one stranger each.")] = False,
) -> None:
    """Turn a data set into canonical events, in time order.

    Example: rapport import online-retail online_retail.csv.xz -o orders.jsonl.gz
    """
    drawn = 0
    with common.bytes_read([file], lambda: drawn) as progress:
        if source is Source.ONLINE_RETAIL:
            found = importers.online_retail(file, anonymous=anonymous, progress=progress)
        elif source is Source.ESHOP:
            found = importers.eshop(file, progress=progress)
        else:
            found = importers.ecom(file, progress=progress)
        drawn = write_lines(out, (encode_event(event) for event in found.events))
    for line in found.summary.text():
        common.err.print(line, highlight=False, markup=False)
