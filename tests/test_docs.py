"""The site of the documentation: it builds without a broken link, and its reference pages know all there is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer.main
from typer.core import TyperGroup

from models.policy.reading import File
from streams.cli import app

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def commands(command: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands with their names, groups included."""
    yield names, command
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from commands(inner, *names, name)


def keys(kind: type[msgspec.Struct]) -> Iterator[str]:
    """All keys of a configuration, sections included."""
    for field in msgspec.structs.fields(kind):
        yield field.name
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from keys(field.type)


def test_every_option_of_every_command_is_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "command-line" / "index.html").read_text()
    found = list(commands(typer.main.get_command(app)))
    assert len(found) > 20
    for names, command in found:
        assert " ".join(("rapport", *names)) in page
        for option in command.params:
            assert all(name in page for name in option.opts if name.startswith("--")), (names, option.opts)


def test_every_key_of_a_campaigns_file_is_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "configuration" / "index.html").read_text()
    found = set(keys(File)) - {"policy", "engine", "campaign"}
    assert {"erasure_days", "cart_left_minutes", "rates", "global_holdout"} <= found
    assert all(f"<code>{key}</code>" in page for key in found)


def test_a_page_asks_nobody_else_for_anything(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        text = page.read_text()
        assert "fonts.googleapis" not in text
        assert not any(f'{kind}="http' in text for kind in ("<script src", "<img src"))
