"""Connections from the environment: what is read, what is refused, and that no password is ever shown."""

from __future__ import annotations

import pickle
import ssl
from pathlib import Path
from typing import Any

import faust
import pytest
import redis.asyncio

from streams.connection import Connection, KafkaConnection, Password, RedisConnection
from streams.environment import from_environment
from streams.errors import ConnectionSettingsError, StreamError

SECRET = "hunter2 hunter2"
SASL = {
    "RAPPORT_KAFKA_SECURITY": "SASL_SSL",
    "RAPPORT_KAFKA_MECHANISM": "SCRAM-SHA-512",
    "RAPPORT_KAFKA_USERNAME": "rapport",
    "RAPPORT_KAFKA_PASSWORD": SECRET,
}


def test_defaults_are_this_machine() -> None:
    found = from_environment({})
    assert found == Connection()
    assert (found.kafka.address, found.redis.address) == ("127.0.0.1:9092", "redis://127.0.0.1:6379/0")
    assert from_environment({"RAPPORT_KAFKA": "", "RAPPORT_REDIS": "  ", "RAPPORT_KAFKA_SECURITY": ""}) == found


def test_the_command_line_names_another_place_and_keeps_the_login() -> None:
    environ = {"RAPPORT_KAFKA": "a:1", "RAPPORT_REDIS": "redis://a", "RAPPORT_REDIS_PASSWORD": SECRET, **SASL}
    found = from_environment(environ, kafka="b:2,[::1]:3", redis="rediss://[::1]:7/4")
    assert found.kafka.bootstrap == ("b:2", "[::1]:3")
    assert (found.kafka.username, found.kafka.password) == ("rapport", SECRET)
    assert found.redis == RedisConnection("::1", 7, 4, True, "", Password(SECRET))
    assert found.redis.address == "rediss://[::1]:7/4"


def test_no_password_is_shown() -> None:
    found = from_environment({**SASL, "RAPPORT_REDIS_USERNAME": "r", "RAPPORT_REDIS_PASSWORD": SECRET})
    settings = (found.kafka.aiokafka(), found.kafka.kafka_python(), found.redis.client(), found.redis.sync_client())
    credentials = found.kafka.faust_credentials()
    for shown in (found, found.kafka, found.redis, credentials, *settings):
        assert "hunter2" not in f"{shown!r} {shown!s}"
    assert pickle.loads(pickle.dumps(found)) == found


def test_what_the_clients_are_given() -> None:
    plain = KafkaConnection(("a:1", "b:2"))
    assert plain.aiokafka() == {"bootstrap_servers": ["a:1", "b:2"], "security_protocol": "PLAINTEXT"}
    assert plain.faust_credentials() is None
    kafka = from_environment(SASL).kafka
    settings = kafka.kafka_python()
    context = settings.pop("ssl_context")
    assert settings == {
        "bootstrap_servers": ["127.0.0.1:9092"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "rapport",
        "sasl_plain_password": SECRET,
    }
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    credentials = kafka.faust_credentials()
    assert isinstance(credentials, faust.SASLCredentials)
    assert (credentials.protocol.value, credentials.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-512")
    assert isinstance(
        from_environment({"RAPPORT_KAFKA_SECURITY": "ssl"}).kafka.faust_credentials(), faust.SSLCredentials
    )


def test_the_store_is_asked_in_bytes_with_limits() -> None:
    found = from_environment({"RAPPORT_REDIS": "rediss://cache:7", "RAPPORT_REDIS_PASSWORD": SECRET}).redis
    for client in (found.client(), found.sync_client()):
        given: dict[str, Any] = client.connection_pool.connection_kwargs
        assert (given["host"], given["port"], given["db"], given["password"]) == ("cache", 7, 0, SECRET)
        assert (given["decode_responses"], given["health_check_interval"]) == (False, 15)
        assert (given["socket_timeout"], given["socket_connect_timeout"]) == (5.0, 5.0)
        assert (given["ssl_cert_reqs"], given["ssl_check_hostname"]) == ("required", True)
    client = found.client(socket_timeout=1.0)
    assert isinstance(client, redis.asyncio.Redis)
    assert client.connection_pool.connection_kwargs["socket_timeout"] == 1.0


def test_a_password_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    found = from_environment({"RAPPORT_REDIS_PASSWORD_FILE": str(file)}).redis
    assert found.password == SECRET
    environ = {**SASL, "RAPPORT_KAFKA_PASSWORD": "", "RAPPORT_KAFKA_PASSWORD_FILE": str(file)}
    assert from_environment(environ).kafka.password == SECRET


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"RAPPORT_KAFKA": f"rapport:{SECRET}@b:9092"}, "RAPPORT_KAFKA: found a user or password within the address"),
        ({"RAPPORT_KAFKA": f"a:9092,kafka://{SECRET}@b:9092"}, "set RAPPORT_KAFKA_USERNAME and RAPPORT_KAFKA_PASSWORD"),
        ({"RAPPORT_KAFKA": "kafka://b:9092"}, "found kafka://b:9092; leave out the scheme: write host:port"),
        ({"RAPPORT_KAFKA": "b"}, "RAPPORT_KAFKA: found b; write host:port, as in broker-1:9092"),
        ({"RAPPORT_KAFKA": "b:99999"}, "found b:99999"),
        ({"RAPPORT_KAFKA": "a:1,,b:2"}, "found an empty address"),
        ({"RAPPORT_KAFKA": "::1:9092"}, "found ::1:9092"),
        ({"RAPPORT_KAFKA": "a b:9092"}, "found a b:9092"),
        ({"RAPPORT_KAFKA_SECURITY": "TLS"}, "found TLS; write one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ({**SASL, "RAPPORT_KAFKA_MECHANISM": ""}, "RAPPORT_KAFKA_MECHANISM: found nothing, but SASL_SSL"),
        ({**SASL, "RAPPORT_KAFKA_MECHANISM": "GSSAPI"}, "write one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        ({**SASL, "RAPPORT_KAFKA_USERNAME": ""}, "set RAPPORT_KAFKA_USERNAME to"),
        ({**SASL, "RAPPORT_KAFKA_PASSWORD": ""}, "set RAPPORT_KAFKA_PASSWORD to"),
        ({**SASL, "RAPPORT_KAFKA_SECURITY": "SSL"}, "found a value, but SSL, which logs nobody in"),
        ({"RAPPORT_KAFKA_CA": "ca.pem"}, "found a file of authorities, but PLAINTEXT"),
        ({**SASL, "RAPPORT_KAFKA_CA": "no.pem"}, "no.pem: No such file or directory; name a PEM file"),
        ({**SASL, "RAPPORT_KAFKA_CA": __file__}, "no certificate in "),
        ({**SASL, "RAPPORT_KAFKA_PASSWORD_FILE": "f"}, "found a file, and RAPPORT_KAFKA_PASSWORD besides"),
        ({"RAPPORT_REDIS": f"redis://:{SECRET}@cache"}, "set RAPPORT_REDIS_USERNAME and RAPPORT_REDIS_PASSWORD"),
        ({"RAPPORT_REDIS": f"redis://cache/0?password={SECRET}"}, "found settings after ? or # (not shown)"),
        ({"RAPPORT_REDIS": "cache:6379"}, "found cache:6379; write an address such as redis://127.0.0.1:6379/0"),
        ({"RAPPORT_REDIS": "redis://cache:port"}, "found redis://cache:port"),
        ({"RAPPORT_REDIS": "redis://cache/one"}, "found redis://cache/one"),
        ({"RAPPORT_REDIS": "redis://[cache"}, "found redis://[cache"),
        ({"RAPPORT_REDIS_USERNAME": "r"}, "RAPPORT_REDIS_PASSWORD: found nothing, but a user name"),
        ({"RAPPORT_REDIS_CA": "ca.pem"}, "write rediss:// in RAPPORT_REDIS"),
        ({"RAPPORT_REDIS_PASSWORD_FILE": SECRET}, "RAPPORT_REDIS_PASSWORD_FILE: found No such file or directory"),
        ({"RAPPORT_REDIS_PASSWORD_FILE": __file__}, "found several lines"),
        ({"RAPPORT_REDIS_PASSWORD_FILE": "/dev/null"}, "found an empty file"),
    ],
)
def test_refusals_name_the_remedy_and_no_password(environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConnectionSettingsError) as refused:
        from_environment(environ)
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert isinstance(refused.value, StreamError)


def test_a_refusal_names_the_option_where_it_came_from_one() -> None:
    with pytest.raises(ConnectionSettingsError, match=r"^--kafka: found an empty address"):
        from_environment({}, kafka="")
    with pytest.raises(ConnectionSettingsError, match=r"^--redis: found nowhere"):
        from_environment({}, redis="nowhere")
