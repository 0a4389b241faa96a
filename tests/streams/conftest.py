from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from models.simulator.config import DAY_MS, ShopConfig
from models.simulator.shop import Shop
from streams.cli import main

ROOT = Path(__file__).parents[2]
CAMPAIGNS = ROOT / "examples" / "campaigns.toml"


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, standard output and standard error."""

    code: int
    out: str
    err: str


Rapport = Callable[..., Ended]


@pytest.fixture
def rapport(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rapport:
    """The command ``rapport``, in this process."""

    def run(*arguments: object, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "argv", ["rapport", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code: object = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        out, err = capsys.readouterr()
        return Ended(code if isinstance(code, int) else 0, out, err)

    return run


@pytest.fixture(scope="session")
def shop() -> list[bytes]:
    """The Segment calls of a small shop, in the order in which they arrived."""
    world = Shop(ShopConfig(seed=1, customers=100, days=20))
    return [line for day in range(1, 21) for line in world.advance(world.config.start_ms + day * DAY_MS)]


@pytest.fixture(scope="session")
def shop_file(shop: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That shop as a file."""
    path = tmp_path_factory.mktemp("shop") / "shop.jsonl"
    path.write_bytes(b"\n".join(shop) + b"\n")
    return path
