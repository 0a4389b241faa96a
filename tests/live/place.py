"""A secured installation for tests: servers, users and permissions as docs/security.md grants them, and commands run as one of them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka.admin import (  # type: ignore[import-untyped]  # it ships no types
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
)

from streams import clients
from tests.live.authority import Authority
from tests.live.secured import ADMIN, MECHANISM, SecuredKafka, SecuredRedis

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
CANARY = "hunter2"
PATIENCE_S = 120.0
KAFKA_LACKING = {"no-offers": "offers", "no-events": "events", "no-group": "rapport", "no-transactions": "rapport-"}
"""Workers' users, and what of the page's rules each is not granted."""
REDIS_LACKING = {"no-info": "+info ", "no-scripts": "+evalsha ", "no-writes": "+hset ", "no-keys": "~rapport:* "}
USERS = (ADMIN, "worker", "sender", "subscriber", "operator", "support", *KAFKA_LACKING)
_KINDS = {
    "--topic": ResourceType.TOPIC,
    "--group": ResourceType.GROUP,
    "--transactional-id": ResourceType.TRANSACTIONAL_ID,
}
_OPERATIONS = {
    "Read": ACLOperation.READ,
    "Write": ACLOperation.WRITE,
    "Create": ACLOperation.CREATE,
    "Describe": ACLOperation.DESCRIBE,
    "DescribeConfigs": ACLOperation.DESCRIBE_CONFIGS,
}


def password(user: str) -> str:
    """Of a user of either server."""
    return f"{CANARY}-{user}-{CANARY}"


def redis_users() -> list[str]:
    """The page's rules, and users who lack one of them each."""
    found = re.findall(r"^user .*", PAGE.read_text(), re.MULTILINE)
    rules = [rule.replace("PASSWORD", password("redis")) for rule in found]
    for name, lacks in REDIS_LACKING.items():
        assert lacks in rules[1]
        rules.append(rules[1].replace("user rapport ", f"user {name} ").replace(lacks, ""))
    return rules


def grant(server: SecuredKafka) -> None:
    """What the page's commands grant, through a client: each command would start a virtual machine."""
    lines = [shlex.split(line) for line in PAGE.read_text().splitlines() if line.startswith("kafka-acls.sh --add ")]
    rules = [rule for line in lines for rule in _rules(line[2:])]
    for user, lacks in KAFKA_LACKING.items():
        of_worker = [rule for rule in rules if rule.principal == "User:worker"]
        rules += [
            ACL(f"User:{user}", "*", rule.operation, rule.permission_type, rule.resource_pattern)
            for rule in of_worker
            if rule.resource_pattern.resource_name != lacks
        ]
    with clients.admin(server.connection) as admin:
        answer = admin.create_acls(rules)
    assert len(answer["succeeded"]) == len(rules) > 100, answer["failed"]


def _rules(words: list[str]) -> Iterator[Any]:
    given: dict[str, list[str]] = {}
    for option, value in zip(words[::2], words[1::2], strict=True):
        given.setdefault(option, []).append(value)
    pattern = ACLResourcePatternType.LITERAL
    if given.pop("--resource-pattern-type", []) == ["prefixed"]:
        pattern = ACLResourcePatternType.PREFIXED
    (principal,), operations = given.pop("--allow-principal"), given.pop("--operation")
    for kind, names in given.items():
        for name in names:
            for operation in operations:
                resource = ResourcePattern(_KINDS[kind], name, pattern)
                yield ACL(principal, "*", _OPERATIONS[operation], ACLPermissionType.ALLOW, resource)


@dataclass
class Place:
    """Both servers, and commands that go there.

    Parameters
    ----------
    folder
        Of the files that passwords are in.
    expired
        A store whose certificate has expired.
    own, other
        The authority of the servers' certificates, and one of nobody's.

    Attributes
    ----------
    running
        What was started, to be ended.
    """

    folder: Path
    kafka: SecuredKafka
    redis: SecuredRedis
    expired: SecuredRedis
    own: Authority
    other: Authority
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def environment(self, user: str = "worker", **changed: str) -> dict[str, str]:
        """Of a command run as a user of Kafka, passwords in files; what is changed takes the place of a variable or file."""
        found = {
            "RAPPORT_KAFKA": self.kafka.address,
            "RAPPORT_KAFKA_SECURITY": "SASL_SSL",
            "RAPPORT_KAFKA_MECHANISM": MECHANISM,
            "RAPPORT_KAFKA_USERNAME": user,
            "RAPPORT_KAFKA_PASSWORD_FILE": self._file(f"kafka-{user}", password(user)),
            "RAPPORT_KAFKA_CA": str(self.own.ca),
            "RAPPORT_REDIS": self.redis.url,
            "RAPPORT_REDIS_USERNAME": "rapport",
            "RAPPORT_REDIS_PASSWORD_FILE": self._file("redis", password("redis")),
            "RAPPORT_REDIS_CA": str(self.own.ca),
            "RAPPORT_SNAPSHOT_KEY_FILE": self._file("snapshots", password("snapshots")),
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAPPORT_")}
        instead = {f"{name}_FILE": "" for name in changed if not name.endswith(("_USERNAME", "_CA"))}
        return {**kept, "PYTHONHASHSEED": "0", **found, **instead, **changed}

    def start(self, *arguments: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start ``rapport``."""
        command = [sys.executable, "-m", "streams", *arguments]
        pipe = subprocess.PIPE
        started = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)
        self.running.append(started)
        return started

    def rapport(self, user: str, *arguments: str) -> str:
        """Run a command as a user to its good end; what it said."""
        (said,) = self.rapports(user, arguments)
        return said

    def rapports(self, user: str, *commands: tuple[str, ...]) -> list[str]:
        """Run commands side by side."""
        started = [self.start(*command, environment=self.environment(user)) for command in commands]
        said = []
        for one in started:
            out, err = one.communicate(timeout=PATIENCE_S)
            assert one.returncode == 0, out + err
            assert CANARY not in out + err
            said.append(out)
        return said

    def close(self) -> None:
        """End what still runs."""
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def _file(self, name: str, text: str) -> str:
        file = self.folder / f"{name}.secret"
        if not file.exists():
            file.write_text(f"{text}\n")
        return str(file)
