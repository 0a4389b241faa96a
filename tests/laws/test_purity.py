"""The pure packages call nothing that reaches outside; imports are held by import-linter, other names by ruff."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUTSIDE = {"breakpoint", "eval", "exec", "__import__", "input", "open", "print"}
SEEDED = {"Random", "RandomState", "default_rng"}


def impure_calls(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name) if name in OUTSIDE:
                yield f"line {node.lineno}: {name}() reaches outside"
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in SEEDED and not (node.args or node.keywords):
                yield f"line {node.lineno}: {name}() without a seed"


def test_impure_calls_are_found() -> None:
    found = list(
        impure_calls("open('a')\nrandom.Random()\nRandom(7)\nnp.random.default_rng(seed=1)\nstore.open('a')\n")
    )
    assert found == ["line 1: open() reaches outside", "line 2: Random() without a seed"]


@pytest.mark.parametrize(
    "path",
    [path for package in ("schemas", "models") for path in sorted((ROOT / package).rglob("*.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_pure_packages_call_nothing_outside(path: Path) -> None:
    assert not list(impure_calls(path.read_text()))
