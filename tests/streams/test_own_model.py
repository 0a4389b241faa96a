"""A model from a package of one's own, as docs/models.md has it: installed or on PYTHONPATH, tried, replayed, resumed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.streams.conftest import Rapport

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "examples" / "own_model"
SHORT = "[engine]\nscoring_days = 2\n[engine.churn]\nhorizon_days = 3\nhoneymoon_days = 1\n\n[policy]"


def run(*arguments: str | Path, path: Path | None) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own, which sees the project and one folder more."""
    search = os.pathsep.join(map(str, filter(None, (ROOT, path))))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def validated(path: Path | None) -> subprocess.CompletedProcess[str]:
    return run("-m", "streams", "validate", PACKAGE / "churn.toml", path=path)


def test_it_is_found_on_the_path_or_told_missing() -> None:
    found = validated(PACKAGE)
    assert found.returncode == 0, found.stderr
    assert "model churn  own_model.BayesLogistic:" in found.stdout
    missing = validated(None)
    assert missing.returncode == 1
    assert "no package own_model; install its package beside Rapport, or put the folder that holds" in missing.stderr


@pytest.mark.slow
def test_it_is_found_where_it_is_installed(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "installed"
    shutil.copytree(PACKAGE, source)
    pip = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps")
    installed = run(*pip, "--no-build-isolation", "--target", target, source, path=None)
    assert installed.returncode == 0, installed.stderr
    found = validated(target)
    assert found.returncode == 0, found.stderr


def test_the_packages_own_tests_pass() -> None:
    # its examples are those of the class's docstring
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--doctest-modules", PACKAGE, path=PACKAGE)
    assert done.returncode == 0, done.stdout


@pytest.fixture(params=["churn", "forest"])
def config(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of the example, with horizons that fit into a short file."""
    monkeypatch.syspath_prepend(PACKAGE)
    path = tmp_path / "config.toml"
    path.write_text((PACKAGE / f"{request.param}.toml").read_text().replace("[policy]", SHORT))
    return path


def test_saved_and_resumed_it_decides_as_in_one_run(
    rapport: Rapport, shop: list[bytes], tmp_path: Path, config: Path
) -> None:
    half = len(shop) // 2
    parts = {"whole": shop, "first": shop[:half], "second": shop[half:]}
    for name, lines in parts.items():
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(lines) + b"\n")

    def replay(name: str, *more: object) -> None:
        ended = rapport("replay", tmp_path / f"{name}.jsonl", "-c", config, "-o", tmp_path / name, *more)
        assert ended.code == 0, ended.err

    state = tmp_path / "state.bin"
    replay("whole")
    replay("first", "--save", state)
    replay("second", "--state", state)
    for file in ("triggers.jsonl", "decisions.jsonl"):
        first, second, whole = ((tmp_path / name / file).read_bytes() for name in ("first", "second", "whole"))
        assert first + second == whole
    figures: list[dict[str, Any]] = [
        msgspec.json.decode((tmp_path / name / "metrics.json").read_bytes())["models"] for name in ("second", "whole")
    ]
    assert figures[0]["churn.late"] == figures[1]["churn.late"]
    assert figures[0]["churn.late"]["learned"] > 70
    assert figures[0]["churn.late"]["rollbacks"] == 0
