"""Does ``rapport diff`` of a changed cap name exactly the customers that the change touches? ``python -m benchmarks.cap_changes``.

Workload ``cap-changes-v1``: shops of 500 customers and 90 days, under each campaigns file with one cap changed: a campaign's, a
channel's, the customer's, each tightened and loosened. What differs is compared with ``caps.py``, decision by decision. The models
do without ``contacts_30d`` here; with it what one customer is sent teaches the models that score all the others, and
``--learning`` says how many decisions that moves, which ``diff`` tells apart by ``follows``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import caps
from benchmarks.machine import ROOT, append, provenance
from models.config import default_models
from models.features import FEATURES
from models.policy.reading import read
from models.simulator.config import DAY_MS, ShopConfig
from models.simulator.shop import Shop
from streams.difference import LEARNING
from streams.diffing import Diff
from streams.replay import Options, Replay
from streams.run_folder import RunFolder

WORKLOAD = "cap-changes-v1"
RESULTS = ROOT / "benchmarks" / "results" / "cap_changes.jsonl"
FILES = ("examples/campaigns.toml", "examples/all-campaigns.toml")
CUSTOMERS, DAYS, ADVANCE_DAYS = 500, 90, 45
UNTOLD = "contacts_30d"

Configuration = dict[str, Any]


def _campaign(configuration: Configuration, most: int, within: str) -> None:
    capped = next(c for c in configuration["campaign"] if c.get("caps"))
    capped["caps"] = [{"most": most, "within": within}]


def _channel(configuration: Configuration, most: int, within: str) -> None:
    configuration["policy"]["channel_caps"]["email"] = [{"most": most, "within": within}]


def _customer(configuration: Configuration, most: int, within: str) -> None:
    configuration["policy"]["customer_caps"] = [{"most": most, "within": within}]


CHANGES: dict[str, tuple[Callable[[Configuration, int, str], None], tuple[int, str], tuple[int, str]]] = {
    "campaign": (_campaign, (1, "7d"), (2, "7d")),
    "channel": (_channel, (1, "14d"), (2, "14d")),
    "customer": (_customer, (1, "7d"), (3, "7d")),
}
"""What is capped -> how, its tight value, its loose one."""


def toml(value: Any) -> str:
    """A value as TOML writes it inline.

    >>> toml({"most": 1, "within": "7d"})
    '{"most" = 1, "within" = "7d"}'
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items()) + "}"
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else json.dumps(value)


def text(configuration: Configuration) -> str:
    """A configuration as a file holds it."""
    return "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in configuration.items())


def untaught(configuration: Configuration) -> Configuration:
    """The same, its models without what a customer was sent."""
    changed = deepcopy(configuration)
    models = changed.setdefault("engine", {}).setdefault("models", {})
    for name, spec in default_models().items():
        if not spec.features:  # all
            interval = ("interval",) if name == "buys" else ()
            features = [*(one for one in FEATURES if one != UNTOLD), "category", "channel", *interval]
            models[name] = {**msgspec.to_builtins(spec), "features": features}
    return changed


def uncapped(configuration: Configuration) -> Configuration:
    """The same without caps and budgets."""
    changed = deepcopy(configuration)
    for name in ("customer_caps", "channel_caps"):
        changed["policy"].pop(name, None)
    for campaign in changed["campaign"]:
        campaign.pop("caps", None)
        campaign.pop("budget_per_day", None)
    return changed


def replayed(events: Path, configuration: Configuration, out: Path, advance_days: int = ADVANCE_DAYS) -> RunFolder:
    """The events under a configuration."""
    written = text(configuration)
    options = Options((str(events),), read(written), out, 2 * DAY_MS, advance_days * DAY_MS, configuration=written)
    assert Replay(options).run().complete
    return RunFolder(out)


def named(a: RunFolder, b: RunFolder) -> tuple[dict[str, tuple[set[caps.Choice], set[caps.Choice]]], Counter[str]]:
    """What ``diff`` names, as ``caps.touched`` does, and how many differences it leads back to learning."""
    choices = [
        {
            one["id"]: (one["source"], one["campaign"], one["action"]["id"])
            for one in caps.read(run.path / "decisions.jsonl")
        }
        for run in (a, b)
    ]
    found: dict[str, tuple[set[caps.Choice], set[caps.Choice]]] = defaultdict(lambda: (set(), set()))
    counts: Counter[str] = Counter()
    for one in (one for customer in Diff(a, b) for one in customer):
        if one.follows == LEARNING:
            counts["learning"] += 1
            continue
        counts[one.kind] += 1
        if one.kind == "changed" and not any(name.startswith("action") for name in one.fields):
            counts["fields alone"] += 1
            continue
        if one.arm_a:
            found[one.customer][0].add(choices[0][one.id])
        if one.arm_b:
            found[one.customer][1].add(choices[1][one.id_b or one.id])
    return dict(found), counts


def compared(
    events: Path, base: Configuration, folder: Path, *whats: str, learning: bool = False
) -> Iterator[dict[str, Any]]:
    """Changes of caps, both ways: who is named and who is touched."""
    known = base if learning else untaught(base)
    free = caps.read(replayed(events, uncapped(known), folder / "uncapped").path / "decisions.jsonl")
    linked = caps.calls_of(str(events))
    for what in whats or CHANGES:
        change, *values = CHANGES[what]
        sides = []
        for name, value in zip(("tight", "loose"), values, strict=True):
            configuration = deepcopy(known)
            change(configuration, *value)
            sides.append((name, configuration, replayed(events, configuration, folder / f"{what}-{name}")))
        for (name, old, a), (_, new, b) in ((sides[1], sides[0]), (sides[0], sides[1])):
            differ, counts = named(a, b)
            touched = caps.touched(free, old, new, linked)
            yield {
                "cap": what,
                "change": "tightened" if name == "loose" else "loosened",
                "named": len(differ),
                "touched": len(touched),
                "customers_alike": differ.keys() == touched.keys(),
                "decisions_alike": differ == touched,
                "missed": len(touched.keys() - differ.keys()),
                "surplus": len(differ.keys() - touched.keys()),
                "differences": dict(counts),
            }


def shop(path: Path, seed: int, customers: int = CUSTOMERS, days: int = DAYS) -> Path:
    """The events of a shop, written to ``path``."""
    made = Shop(ShopConfig(seed=seed, customers=customers, days=days))
    with gzip.open(path, "wb", 1) as file:
        for _ in range(days):
            file.writelines(line + b"\n" for line in made.advance(made.now_ms + DAY_MS))
    return path


def main() -> int:
    """Compare, print, append; exits with 1 where anybody is named who is not touched, or the other way round."""
    parser = argparse.ArgumentParser(description="Hold rapport diff of a changed cap to an independent script.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    parser.add_argument("--learning", action="store_true", help="the models as they are; then nothing is appended")
    parser.add_argument("--dry", action="store_true", help="do not append the result")
    options = parser.parse_args()
    rows = []
    for seed in range(1, options.seeds + 1):
        for name in FILES:
            base = tomllib.loads((ROOT / name).read_text())
            with tempfile.TemporaryDirectory() as folder:
                events = shop(Path(folder) / "shop.jsonl.gz", seed, options.customers)
                for row in compared(events, base, Path(folder), learning=options.learning):
                    rows.append({"seed": seed, "file": name, **row})
                    print(json.dumps(rows[-1]), flush=True)
    exact = sum(row["decisions_alike"] for row in rows)
    print(f"{exact} of {len(rows)} changes: the same customers and the same decisions")
    if not options.dry and not options.learning:
        append(RESULTS, {**provenance("python -m benchmarks.cap_changes"), "workload": WORKLOAD, "rows": rows})
    return 0 if exact == len(rows) or options.learning else 1


if __name__ == "__main__":
    raise SystemExit(main())
