"""``rapport validate``: check a configuration before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from models.policy.campaigns import SIGNALS

from . import common


def validate(
    file: Annotated[Path, typer.Argument(metavar="campaigns.toml", help="The file to check.")],
) -> None:
    """Check campaigns and settings; errors name the line and what to write instead. Exit code 1 where there is one.

    Example: rapport validate examples/campaigns.toml
    """
    checked = common.settings(file)
    campaigns = checked.campaigns.all()
    table = Table("campaign", "mode", "signal", "when", "actions", "holdout", box=None, padding=(0, 2, 0, 0))
    for campaign in campaigns:
        config = campaign.config
        table.add_row(
            config.id,
            config.mode,
            config.signal,
            " and ".join(config.when) or "always",
            ", ".join(f"{action.id} ({action.channel})" for action in config.actions),
            f"{config.holdout:.0%}",
        )
    if campaigns:
        common.out.print(table)
    unused = [signal for signal in SIGNALS if signal not in checked.campaigns.by_signal]
    common.out.print(f"\n{file} is valid: {len(campaigns)} campaigns. Signals without one: {', '.join(unused) or 'none'}.")
