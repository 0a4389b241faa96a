"""What is shipped agrees with itself: dependencies and lock, versions, commands, make's targets."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "models", "streams")
SUPPORTED = ("3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def lock() -> str:
    return (ROOT / "requirements.lock").read_text()


@pytest.fixture(scope="module")
def locked(lock: str) -> dict[str, list[Requirement]]:
    pins: dict[str, list[Requirement]] = {}
    for line in re.findall(r"^[^\s#].*", lock, flags=re.MULTILINE):
        pin = Requirement(line.rstrip(" \\"))
        pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    return pins


def pinned(pins: list[Requirement], python: str) -> str | None:
    """The version locked for Python `python` on 64-bit Linux, or None."""
    target = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    versions = [str(pin.specifier)[2:] for pin in pins if pin.marker is None or pin.marker.evaluate(target)]
    assert len(versions) <= 1, f"{pins[0].name} is locked more than once for Python {python}"
    return versions[0] if versions else None


@pytest.mark.parametrize("python", SUPPORTED)
def test_the_lock_meets_every_declared_dependency(
    pyproject: dict[str, Any], locked: dict[str, list[Requirement]], python: str
) -> None:
    project = pyproject["project"]
    declared = [*pyproject["build-system"]["requires"], *project["dependencies"]]
    extras = project["optional-dependencies"]
    declared += [
        line for name, extra in extras.items() if name != "peers" for line in extra
    ]  # make bench installs those
    for requirement in map(Requirement, declared):
        version = pinned(locked.get(canonicalize_name(requirement.name), []), python)
        assert version is not None, f"{requirement.name} is not locked for Python {python}: run make lock"
        assert requirement.specifier.contains(version), f"{requirement} but {version} is locked: run make lock"


def test_the_lock_pins_and_hashes_everything(lock: str, locked: dict[str, list[Requirement]]) -> None:
    for block in re.split(r"\n(?=[^\s#])", lock.strip()):
        assert "--hash=sha256:" in block, block
    assert all(re.fullmatch(r"==[^,*]+", str(pin.specifier)) for pins in locked.values() for pin in pins)


def test_the_lock_names_no_registry(lock: str) -> None:
    assert not re.search(r"://|index|find-links|trusted-host|\.(org|com|net|io|dev)\b", lock)


def test_the_lock_installs_wheels_for_what_runs_here(locked: dict[str, list[Requirement]]) -> None:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    for name, pins in locked.items():
        version = pinned(pins, python)
        if version is not None:
            assert importlib.metadata.version(name) == version


def top_level_imports(package: str) -> Iterator[tuple[Path, str]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name.partition(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield path, node.module.partition(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_import_is_declared(pyproject: dict[str, Any], package: str) -> None:
    project = pyproject["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["embedded"]]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    providers = importlib.metadata.packages_distributions()
    for path, module in top_level_imports(package):
        if module in PACKAGES or module in sys.stdlib_module_names:
            continue
        distributions = {canonicalize_name(name) for name in providers.get(module, [])}
        assert distributions & declared, f"{path.relative_to(ROOT)} imports {module}: declare it in pyproject.toml"


def test_versions_agree(pyproject: dict[str, Any]) -> None:
    version = pyproject["project"]["version"]
    assert importlib.metadata.version("rapport") == version
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1:2] in ([], [version]), "the newest release in CHANGELOG.md is not pyproject.toml's version"
    assert [Version(v) for v in headings[1:]] == sorted(map(Version, headings[1:]), reverse=True)


def test_supported_pythons_agree(pyproject: dict[str, Any]) -> None:
    project = pyproject["project"]
    classifiers = [c.rpartition(" ")[2] for c in project["classifiers"] if "Python :: 3." in c]
    assert tuple(classifiers) == SUPPORTED
    assert project["requires-python"] == f">={SUPPORTED[0]}"
    assert pyproject["tool"]["ruff"]["target-version"] == "py" + SUPPORTED[0].replace(".", "")


def test_the_command_reports_the_version(pyproject: dict[str, Any]) -> None:
    command = Path(sys.executable).with_name("rapport")
    run = subprocess.run([command, "--version"], check=False, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert pyproject["project"]["version"] in run.stdout


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", "")  # a line may go on in the next
    targets = set(re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, flags=re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.+)$", makefile, flags=re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == targets
    run = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in run.stdout.splitlines())
    assert listed.keys() == targets
    assert all(listed.values())


def test_the_wheel_holds_the_dashboards_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        packed = set(wheel.namelist())
    shown = {
        path.relative_to(ROOT).as_posix()
        for folder in ("static", "pages")
        for path in (ROOT / "streams" / "ui" / folder).iterdir()
    }
    assert len(shown) > 20
    assert shown <= packed


def test_the_dashboard_names_no_other_host() -> None:
    for path in sorted((ROOT / "streams" / "ui").rglob("*.[hjc]*")):
        addresses = set(re.findall(r"https?://[^\s\"'<>)]+|//[a-z0-9-]+\.[a-z]+", path.read_text()))
        assert addresses <= {"http://www.w3.org/2000/svg"}, path
