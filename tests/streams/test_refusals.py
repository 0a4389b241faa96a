"""What is refused for good is said at once, with the remedy and no secret; what is away is waited for."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from aiokafka import errors as kafka

from streams.cli import app
from streams.embedded import Valkey
from streams.environment import from_environment
from streams.errors import AccessError
from streams.refusals import GRANT, certificate_error, refusal, store_error
from streams.settings import StreamSettings
from streams.worker import Worker

from .conftest import ROOT, Rapport

SECRETS = {
    "RAPPORT_KAFKA_SECURITY": "SASL_SSL",
    "RAPPORT_KAFKA_MECHANISM": "SCRAM-SHA-512",
    "RAPPORT_KAFKA_USERNAME": "rapport",
    "RAPPORT_KAFKA_PASSWORD": "hunter2-kafka",
    "RAPPORT_REDIS_PASSWORD": "hunter2-redis",
    "RAPPORT_SNAPSHOT_KEY": "hunter2-key",
}
RULE = re.findall(r"^user rapport .*", (ROOT / "docs" / "security.md").read_text(), re.MULTILINE)[0]


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Valkey with the page's user, and users who lack something of it each."""
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        client: Any = redis.Redis(port=server.port)
        for name, lacks in (("rapport", ""), ("info", "+info "), ("hset", "+hset "), ("keys", "~rapport:* ")):
            rule = RULE.replace("PASSWORD", "hunter2").replace(lacks, "", 1).split()[2:]
            client.execute_command("ACL", "SETUSER", name, *rule)
        client.close()
        yield server


def environment(valkey: Valkey, user: str, password: str = "hunter2") -> dict[str, str]:
    return {"RAPPORT_REDIS": valkey.url, "RAPPORT_REDIS_USERNAME": user, "RAPPORT_REDIS_PASSWORD": password}


@pytest.mark.parametrize(
    ("user", "password", "found", "remedy"),
    [
        ("rapport", "hunter2!", "refuses the log-in", "check RAPPORT_REDIS_USERNAME, and RAPPORT_REDIS_PASSWORD"),
        ("nobody", "hunter2", "refuses the log-in", "RAPPORT_REDIS_PASSWORD_FILE"),
        ("keys", "hunter2", "no permission", GRANT),
    ],
)
def test_a_command_that_the_store_refuses(
    user: str, password: str, found: str, remedy: str, valkey: Valkey, rapport: Rapport, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(valkey, user, password).items():
        monkeypatch.setenv(name, value)
    ended = rapport("kill", "on")
    assert ended.code == 1
    assert found in ended.err
    assert remedy in ended.err
    assert "hunter2" not in ended.err


@pytest.mark.parametrize("user", ["info", "nobody"])
async def test_a_worker_that_the_store_refuses_does_not_wait(user: str, valkey: Valkey) -> None:
    connection = from_environment(environment(valkey, user), kafka="127.0.0.1:1")
    with pytest.raises(AccessError, match=r"no permission|refuses the log-in"):
        await asyncio.wait_for(Worker(connection, StreamSettings(key=b"key")).run(), 60)


async def test_a_command_that_only_a_script_uses_is_a_permission_as_well(valkey: Valkey) -> None:
    client = from_environment(environment(valkey, "hset")).redis.client()
    with pytest.raises(redis.ResponseError) as refused:
        await client.register_script("redis.call('HSET', KEYS[1], 'a', 1)")(keys=["rapport:{a:0}:meta"])
    assert isinstance(refusal(refused.value), AccessError)
    await client.aclose()


def test_the_pages_user_may_turn_the_switch(valkey: Valkey, rapport: Rapport, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(valkey, "rapport").items():
        monkeypatch.setenv(name, value)
    assert [rapport("kill", state).code for state in ("on", "off")] == [0, 0]


def test_an_outage_is_no_refusal() -> None:
    for error in (
        ConnectionRefusedError(),
        TimeoutError(),
        redis.ConnectionError("gone"),
        redis.BusyLoadingError("loading"),
        redis.ResponseError("OOM command not allowed"),
        kafka.KafkaConnectionError("gone"),
        kafka.NotLeaderForPartitionError(),
        kafka.ProducerFenced(),
        ssl.SSLEOFError(),
        ValueError("x"),
    ):
        assert refusal(error) is None
    assert "name the state store" in str(store_error(redis.ConnectionError("gone"), "redis://a"))


@pytest.mark.parametrize(
    "error",
    [
        kafka.SaslAuthenticationFailed("bad"),
        kafka.UnsupportedSaslMechanismError("PLAIN"),
        kafka.TopicAuthorizationFailedError("events"),
        kafka.GroupAuthorizationFailedError("rapport"),
        kafka.TransactionalIdAuthorizationFailed("rapport-events-0"),
        redis.AuthenticationError("WRONGPASS"),
    ],
)
def test_a_refusal_is_one_and_stays_one(error: Exception) -> None:
    refused = refusal(error, "there")
    assert isinstance(refused, AccessError)
    assert refused.where == "there"
    assert refused.remedy
    assert refusal(refused) is refused


def test_a_failed_verification_is_found_behind_other_errors() -> None:
    untrusted = ssl.SSLCertVerificationError(1, "certificate verify failed")
    untrusted.verify_message = "certificate has expired"
    outer = redis.ConnectionError("Error 1 connecting")
    outer.__context__ = OSError("wrapped")
    outer.__context__.__cause__ = untrusted
    assert certificate_error(outer) is untrusted
    assert "let its administrator renew it" in str(refusal(outer))
    outer.__context__.__cause__ = outer
    assert certificate_error(outer) is None


COMMANDS = [[str(command.name)] for command in app.registered_commands]
GROUPS = [
    [str(group.name), str(command.name)]
    for group in app.registered_groups
    for command in group.typer_instance.registered_commands  # type: ignore[union-attr]  # each of ours has one
]


@pytest.mark.parametrize("command", [[], *COMMANDS, *GROUPS], ids=lambda words: " ".join(words) or "rapport")
def test_no_help_shows_a_secret(command: list[str], rapport: Rapport, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    ended = rapport(*command, "--help")
    assert ended.code == 0
    assert "hunter2" not in ended.out + ended.err


@pytest.mark.parametrize(
    ("content", "besides", "found"),
    [
        (None, "", "No such file or directory"),
        ("", "", "an empty file"),
        ("key", "hunter2", "a file, and RAPPORT_SNAPSHOT_KEY besides"),
    ],
)
def test_a_key_that_is_not_there_is_not_taken_for_none(
    content: str | None, besides: str, found: str, tmp_path: Path, rapport: Rapport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unsigned snapshots must be somebody's will, never the outcome of a slip."""
    file = tmp_path / "hunter2"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("RAPPORT_SNAPSHOT_KEY_FILE", str(file))
    monkeypatch.setenv("RAPPORT_SNAPSHOT_KEY", besides)
    ended = rapport("customer", "u:1", "--kafka", "127.0.0.1:1")
    assert ended.code != 0
    assert f"RAPPORT_SNAPSHOT_KEY_FILE: found {found}" in ended.err
    assert "hunter2" not in ended.err
