"""The committed contract: current, valid, kept to by what is written, and holding what was promised before."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from models.draft import Step
from models.policy.reading import read
from models.simulator.config import DAY_MS, ShopConfig
from models.simulator.shop import Shop
from schemas.base import Event
from schemas.compatibility import breaks
from schemas.export import export
from schemas.intake import Intake
from streams.asyncapi import document
from streams.commands.contracting import formatted
from streams.emitting import Emitter
from streams.run import Run
from streams.topic_plan import TopicPlan

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONTRACTS = ROOT / "docs" / "contracts"
FIXTURES = ROOT / "tests" / "schemas" / "fixtures"
STALE = "docs/contracts is behind schemas/: make contracts"


def test_the_committed_document_is_current() -> None:
    assert (CONTRACTS / "asyncapi.json").read_bytes() == formatted(document()), STALE


def test_the_committed_schemas_are_current() -> None:
    found = {path.stem: path.read_bytes() for path in (CONTRACTS / "json-schema").iterdir()}
    assert found == {name: formatted(schema) for name, schema in export().items()}, STALE


def test_nothing_that_was_promised_is_broken() -> None:
    """``released.json`` is the contract that subscribers hold; a break is decided, told in the changelog, and put there."""
    assert breaks(json.loads((HERE / "released.json").read_bytes()), document()) == []


def test_every_topic_of_an_installation_is_in_it() -> None:
    plan = TopicPlan(prefix="eu-")
    channels = document(plan)["channels"]
    assert [channel["address"] for channel in channels.values()] == [topic.name for topic in plan.all()]
    assert all(channel["messages"] for channel in channels.values())


def needed(*programs: str, folder: Path | None = None) -> None:
    """Skip where something is missing; fail where the environment says that it must be there."""
    missing = [f"no {program}" for program in programs if shutil.which(program) is None]
    if folder is not None and not folder.is_dir():
        missing.append(f"no {folder.relative_to(ROOT)}")
    if missing:
        reason = f"{', '.join(missing)}: make test-contracts installs it (Node 18, npm)"
        if os.environ.get("RAPPORT_REQUIRE_CONTRACTS") == "1":
            pytest.fail(f"RAPPORT_REQUIRE_CONTRACTS is 1, but {reason}", pytrace=False)
        pytest.skip(reason)


def parsed(*paths: Path) -> subprocess.CompletedProcess[str]:
    needed("node", folder=HERE / "node_modules" / "@asyncapi" / "parser")
    command = ["node", str(HERE / "validate.mjs"), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def test_the_parser_of_asyncapi_finds_nothing_wrong(tmp_path: Path) -> None:
    ended = parsed(CONTRACTS / "asyncapi.json")
    assert (ended.returncode, ended.stderr) == (0, "")
    told = json.loads(ended.stdout)
    made = document()
    assert told == {
        "version": "3.0.0",
        "channels": len(made["channels"]),
        "messages": len(made["components"]["messages"]),
    }


@pytest.mark.parametrize("broken", ["channel", "message", "schema"])
def test_the_parser_does_find_what_is_wrong(broken: str, tmp_path: Path) -> None:
    made = document()
    if broken == "channel":
        made["channels"]["nudges"]["messages"]["trigger"] = {"$ref": "#/components/messages/nothing"}
    elif broken == "message":
        made["operations"]["send.nudges"]["action"] = "shout"
    else:
        made["components"]["schemas"]["Decision"]["properties"]["id"]["type"] = "text"
    path = tmp_path / "asyncapi.json"
    path.write_bytes(formatted(made))
    ended = parsed(path)
    assert ended.returncode == 1
    assert "error at" in ended.stderr


@cache
def contract() -> dict[str, Any]:
    """The document, not to be changed."""
    return document()


@cache
def validators() -> dict[str, Draft202012Validator]:
    return {f"#/components/schemas/{name}": validator(name) for name in contract()["components"]["schemas"]}


@cache
def validator(name: str) -> Draft202012Validator:
    """Of a schema in the document, with those that it refers to."""
    made = contract()
    schema = {"$ref": f"#/components/schemas/{name}", "components": made["components"]}
    return Draft202012Validator(schema)


def test_the_schemas_are_schemas() -> None:
    for schema in (*export().values(), *contract()["components"]["schemas"].values()):
        Draft202012Validator.check_schema(schema)


def valid(checker: Draft202012Validator, lines: list[bytes]) -> int:
    for line in lines:
        errors = [f"{error.json_path}: {error.message}" for error in checker.iter_errors(json.loads(line))]
        assert errors == [], line
    return len(lines)


def test_what_sites_send_keeps_to_its_form() -> None:
    bodies = (FIXTURES / "ga4.jsonl").read_bytes().splitlines()
    calls = (FIXTURES / "rudderstack.jsonl").read_bytes().splitlines()
    assert valid(validator("Ga4Body"), bodies)
    assert valid(validator("Call"), [line for line in calls if b'"batch"' not in line])
    assert valid(validator("CallBatch"), [line for line in calls if b'"batch"' in line])
    nobody: dict[str, Any] = {"events": [{"name": "login"}]}
    assert list(validator("Ga4Body").iter_errors(nobody))
    assert Intake().read(json.dumps(nobody).encode(), 5, "x").dead is not None


def test_canonical_events_keep_to_theirs_in_the_log_and_from_outside() -> None:
    schemas = {name: Draft202012Validator(schema) for name, schema in export().items()}
    titles = {name: schema["title"] for name, schema in export().items()}
    for path in ("events-v1.jsonl", "ga4-events.jsonl", "rudderstack-events.jsonl"):
        for line in (FIXTURES / path).read_bytes().splitlines():
            kind = json.loads(line)["type"]
            assert valid(schemas[kind], [line])
            if f"{kind}_raw" in contract()["components"]["messages"]:
                assert valid(validator(titles[kind] + "Raw"), [line])


def test_what_comes_out_keeps_to_its_schema_and_its_headers() -> None:
    emitter = Emitter("", "rapport/rapport", examples=True)

    def step(event: Event, before: object, done: Step) -> None:
        emitter.start(emitter.n, 0)
        emitter.step(done, event.occurred_at, event.received_at)

    world, intake = Shop(ShopConfig(seed=1, customers=300, days=30)), Intake()
    run = Run(read((ROOT / "examples" / "all-campaigns.toml").read_text(), "all"), on_step=step)
    lines = (line for day in range(1, 31) for line in world.advance(world.config.start_ms + day * DAY_MS))
    run.drain(event for raw in lines for event in intake.read(raw, None, "x").events)
    letter = intake.read(b"{}", 5, "clickstream[0]@7").dead
    assert letter is not None
    emitter.dead(letter, 5)
    made = contract()
    seen: Counter[str] = Counter()
    for output in emitter.outputs:
        if output.topic in ("events", "learning"):
            assert output.headers == ()
            continue
        headers = {name: value.decode() for name, value in output.headers}
        kind = headers["ce_type"].split(".")[1]
        seen[kind] += 1
        message = (
            kind.replace("-", "_") if output.topic in ("decisions", "dead-letters") and kind != "trigger" else kind
        )
        message = "decision" if output.topic == "decisions" and kind == "trigger" else message
        assert message in made["channels"][output.topic]["messages"]
        assert valid(validators()[made["components"]["messages"][message]["payload"]["$ref"]], [output.value])
        assert valid(
            validators()[made["components"]["messages"][message]["headers"]["$ref"]], [json.dumps(headers).encode()]
        )
    assert seen.keys() == {"trigger", "decision", "conversion", "dead-letter"}


def rapport(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streams", "contracts", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)


def test_the_command_prints_writes_and_compares(tmp_path: Path) -> None:
    printed = rapport("--prefix", "eu-")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert json.loads(printed.stdout) == document(TopicPlan(prefix="eu-"))
    assert rapport("--json-schema", tmp_path / "s").returncode == 0
    assert (tmp_path / "s" / "decision.json").read_bytes() == (CONTRACTS / "json-schema" / "decision.json").read_bytes()
    assert rapport("--against", CONTRACTS / "asyncapi.json").returncode == 0


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [(b"", 1, "no JSON"), (b"[]", 1, "no AsyncAPI 3 document"), (None, 1, "No such file")],
    ids=["no JSON", "no contract", "no file"],
)
def test_the_command_says_that_a_file_is_no_contract(
    content: bytes | None, code: int, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "earlier.json"
    if content is not None:
        path.write_bytes(content)
    ended = rapport("--against", path)
    assert ended.returncode == code
    assert said in ended.stderr
    assert "name a document that rapport contracts wrote" in ended.stderr


def test_the_command_says_what_is_broken(tmp_path: Path) -> None:
    earlier = document()
    earlier["components"]["schemas"]["Decision"]["properties"]["mood"] = {"type": "string"}
    path = tmp_path / "earlier.json"
    path.write_bytes(formatted(earlier))
    ended = rapport("--against", path)
    assert ended.returncode == 1
    assert "nudges: trigger.mood: gone\n" in ended.stdout
