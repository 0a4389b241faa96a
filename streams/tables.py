"""Tables of figures as people read them."""

from __future__ import annotations

from rich.table import Table


def figures_table(*columns: str) -> Table:
    """A table without lines: names to the left in the first column, figures to the right in the others.

    >>> [column.justify for column in figures_table("campaign", "sent").columns]
    ['left', 'right']
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", header_style="dim", overflow="fold")
    return table
