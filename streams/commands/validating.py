"""``rapport validate``: check a configuration before it runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from models.config import days_ms
from models.learning.model import ModelSpec, OnlineModel
from models.learning.trial import examples
from models.policy.campaigns import AUDIENCES, SIGNALS, CampaignConfig, Cap
from models.policy.reading import Settings
from streams.topic_plan import check_erasure

from . import common

COST_EXAMPLES = 200


def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The campaigns file to check (TOML).")],
) -> None:
    """Check campaigns and settings, and show how they were understood.

    An error names the line and what to write instead, and ends with exit code 1. Models of your own are imported and
    tried; the time that each takes is shown.

    Example: rapport validate examples/campaigns.toml
    """
    checked = common.settings(file)
    check_erasure(days_ms(checked.engine.erasure_days))
    campaigns = [campaign.config for campaign in checked.campaigns.all()]
    for config in campaigns:
        common.out.print(
            Text.assemble((config.id, "bold"), f"  {config.mode}, on {config.signal}: {SIGNALS[config.signal]}")
        )
        for line in _lines(config):
            common.out.print(Padding(Text(line), (0, 0, 0, 4)))
    for name, spec in checked.engine.models.items():
        common.say(f"model {name}  {_cost(name, spec)}")
    for note in _notes(checked, campaigns):
        common.say(f"note: {note}")
    count = len(campaigns)
    common.say(f"{file} is valid: {count} campaign{'' if count == 1 else 's'}")


def _lines(config: CampaignConfig) -> list[str]:
    actions = ", ".join(f"{action.id} by {action.channel}" for action in config.actions)
    caps = [_cap(cap) for cap in config.caps]
    limits = [f"holdout {config.holdout:.0%}", *caps]
    if config.budget_per_day is not None:
        limits.append(f"budget {config.budget_per_day:g} a day")
    if config.topic == AUDIENCES:
        limits.append(f"in the audience for {config.stay}")
    waits = f", {config.delay} after the signal" if config.delay is not None else ""
    return [
        f"when     {' and '.join(config.when) or 'always'}",
        f"does     {actions}{waits}",
        f"goal     {config.goal.event} within {config.goal.window}"
        + ("" if config.value is None else f", worth {config.value}"),
        f"limits   {', '.join(limits)}",
    ]


def _cost(name: str, spec: ModelSpec) -> str:
    """What a model takes here and now, on made-up examples; a tree takes more once it has grown."""
    model, made = OnlineModel(name, spec, ("t",)), examples(COST_EXAMPLES)
    learning = time.perf_counter()
    for x, label in made:
        model.learn(x, label)
    answering = time.perf_counter()
    for x, _ in made:
        model.predict(x)
    done = time.perf_counter()
    kind, state = model.estimator_bytes()
    names = spec.estimator.name
    shown = names if isinstance(names, str) else " | ".join(n if isinstance(n, str) else n["class"] for n in names)
    return (
        f"{shown}: {(done - answering) / len(made) * 1e6:,.0f} us an answer, "
        f"{(answering - learning) / len(made) * 1e6:,.0f} us an example learned, "
        f"kept as {'numbers' if kind == 'state' else 'a pickle'} of {len(state) / 1e3:,.0f} kB"
    )


def _cap(cap: Cap) -> str:
    return f"at most {cap.most} in {cap.within}"


def _notes(checked: Settings, campaigns: list[CampaignConfig]) -> list[str]:
    """What is allowed but may be meant otherwise."""
    notes = []
    if not campaigns:
        notes.append("no campaign: profiles and models are built, nothing is decided; add a [[campaign]]")
    policy = checked.campaigns.policy
    if policy.kill:
        notes.append("policy.kill is true: no trigger goes out")
    for config in campaigns:
        if config.mode == "shadow":
            notes.append(f'{config.id} is in shadow mode: it decides and sends nothing; mode = "live" sends')
        elif config.mode == "off":
            notes.append(f"{config.id} is off")
    used = {action.channel for config in campaigns for action in config.actions}
    unused = sorted(set(policy.channel_caps) - used)
    return [*notes, *(f"policy.channel_caps.{channel} caps a channel that no action uses" for channel in unused)]
