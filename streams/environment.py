"""Broker and state store as the environment names them: read once, checked, errors name the variable and the remedy.

===============================  =======================================================================
``RAPPORT_KAFKA``                ``host:port[,host:port]``, by default ``127.0.0.1:9092``
``RAPPORT_KAFKA_SECURITY``       ``PLAINTEXT`` (the default), ``SSL``, ``SASL_PLAINTEXT`` or ``SASL_SSL``
``RAPPORT_KAFKA_MECHANISM``      with SASL: ``PLAIN``, ``SCRAM-SHA-256`` or ``SCRAM-SHA-512``
``RAPPORT_KAFKA_USERNAME``       with SASL
``RAPPORT_KAFKA_PASSWORD``       with SASL; or ``RAPPORT_KAFKA_PASSWORD_FILE``, a file that holds it
``RAPPORT_KAFKA_CA``             with SSL: a PEM file of the authorities to trust instead of the system's
``RAPPORT_REDIS``                ``redis://host:port/0``, with TLS ``rediss://``; by default ``redis://127.0.0.1:6379/0``
``RAPPORT_REDIS_USERNAME``       where the store has users
``RAPPORT_REDIS_PASSWORD``       where it has passwords; or ``RAPPORT_REDIS_PASSWORD_FILE``
``RAPPORT_REDIS_CA``             with ``rediss://``: a PEM file of authorities to trust besides the system's
===============================  =======================================================================

Addresses end up in logs, process lists and error messages, so a password inside one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from schemas.errors import printable

from .connection import REDIS_PORT, Connection, KafkaConnection, Password, RedisConnection, tls_context
from .errors import ConnectionSettingsError, system_reason

SECURITIES = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_KAFKA_EXAMPLE = "broker-1:9092,broker-2:9092"
_REDIS_EXAMPLE = "redis://127.0.0.1:6379/0"


def from_environment(environ: Mapping[str, str], *, kafka: str | None = None, redis: str | None = None) -> Connection:
    """Both connections.

    Parameters
    ----------
    environ
        Usually ``os.environ``. A variable that is empty counts as not set.
    kafka, redis
        Addresses from the command line: they take the place of ``RAPPORT_KAFKA`` and ``RAPPORT_REDIS``, while security
        and log-in stay the environment's.

    Raises
    ------
    ConnectionSettingsError
        Naming the variable and what to write.

    >>> from_environment({"RAPPORT_KAFKA": "a:9092, b:9092"}).kafka.bootstrap
    ('a:9092', 'b:9092')
    >>> from_environment({"RAPPORT_REDIS": "rediss://cache/2"}, kafka="c:9092").redis.address
    'rediss://cache:6379/2'
    """
    return Connection(kafka_from_environment(environ, kafka), redis_from_environment(environ, redis))


def kafka_from_environment(environ: Mapping[str, str], address: str | None = None) -> KafkaConnection:
    """The broker's half of :func:`from_environment`, for what never meets the store."""
    source = "RAPPORT_KAFKA" if address is None else "--kafka"
    text = _get(environ, "RAPPORT_KAFKA") if address is None else address.strip()
    bootstrap = KafkaConnection.bootstrap if address is None and not text else _bootstrap(source, text)
    security = _choice(environ, "RAPPORT_KAFKA_SECURITY", SECURITIES) or KafkaConnection.security
    ca = _get(environ, "RAPPORT_KAFKA_CA")
    if ca and not security.endswith("SSL"):
        raise ConnectionSettingsError(
            "RAPPORT_KAFKA_CA", f"a file of authorities, but {security}", "set RAPPORT_KAFKA_SECURITY=SASL_SSL or SSL"
        )
    names = ("RAPPORT_KAFKA_MECHANISM", "RAPPORT_KAFKA_USERNAME", "RAPPORT_KAFKA_PASSWORD")
    mechanism = _choice(environ, names[0], MECHANISMS)
    username = _get(environ, names[1])
    password = _password(environ, names[2])
    for name, value in zip(names, (mechanism, username, password), strict=True):
        if security.startswith("SASL") and not value:
            choices = f"one of {', '.join(MECHANISMS)}" if name == names[0] else "the one of Rapport's user"
            raise ConnectionSettingsError(name, f"nothing, but {security}", f"set {name} to {choices}")
        if value and not security.startswith("SASL"):
            raise ConnectionSettingsError(
                name, f"a value, but {security}, which logs nobody in", "set RAPPORT_KAFKA_SECURITY=SASL_SSL"
            )
    connection = KafkaConnection(bootstrap, security, mechanism, username, password, ca)
    connection.ssl_context()  # says now that a file of authorities is wrong
    return connection


def redis_from_environment(environ: Mapping[str, str], address: str | None = None) -> RedisConnection:
    """The store's half of :func:`from_environment`."""
    source = "RAPPORT_REDIS" if address is None else "--redis"
    text = (_get(environ, "RAPPORT_REDIS") or _REDIS_EXAMPLE) if address is None else address.strip()
    host, port, db, tls = _redis_url(source, text)
    ca = _get(environ, "RAPPORT_REDIS_CA")
    if ca and not tls:
        raise ConnectionSettingsError(
            "RAPPORT_REDIS_CA", "a file of authorities, but redis://", f"write rediss:// in {source}"
        )
    if ca:
        tls_context("RAPPORT_REDIS_CA", ca)
    username = _get(environ, "RAPPORT_REDIS_USERNAME")
    password = _password(environ, "RAPPORT_REDIS_PASSWORD")
    if username and not password:
        raise ConnectionSettingsError(
            "RAPPORT_REDIS_PASSWORD", "nothing, but a user name", "set it, or unset RAPPORT_REDIS_USERNAME"
        )
    return RedisConnection(host, port, db, tls, username, password, ca)


def _get(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()


def _choice(environ: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = _get(environ, name).upper()
    if value and value not in choices:
        raise ConnectionSettingsError(name, printable(value), f"write one of {', '.join(choices)}")
    return value


def _password(environ: Mapping[str, str], name: str) -> Password:
    given = environ.get(name, "")  # unstripped: a space may belong to it
    source = f"{name}_FILE"
    path = _get(environ, source)
    if not path:
        return Password(given)
    if given:
        raise ConnectionSettingsError(source, f"a file, and {name} besides", "set one of the two")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        # Its message quotes the file, so it does not become the cause.
        raise ConnectionSettingsError(source, "a file that is no UTF-8 text", "write the password into it") from None
    except (OSError, ValueError) as error:
        # The path is not shown: it may be the password itself, set in the wrong variable.
        raise ConnectionSettingsError(
            source, system_reason(error), "name a file that can be read and holds it"
        ) from None
    password = text.removesuffix("\n").removesuffix("\r")
    if not password or "\n" in password:
        found = "several lines" if password else "an empty file"
        raise ConnectionSettingsError(source, found, "write the password into it, on one line")
    return Password(password)


def _refuse_credentials(source: str, text: str, kind: str) -> None:
    if "@" in text:
        raise ConnectionSettingsError(
            source,
            "a user or password within the address (not shown)",
            f"leave both out; set RAPPORT_{kind}_USERNAME and RAPPORT_{kind}_PASSWORD or RAPPORT_{kind}_PASSWORD_FILE",
        )


def _bootstrap(source: str, text: str) -> tuple[str, ...]:
    _refuse_credentials(source, text, "KAFKA")
    remedy = f"write host:port, as in {_KAFKA_EXAMPLE}"
    servers = tuple(part.strip() for part in text.split(","))
    for server in servers:
        if "://" in server:
            raise ConnectionSettingsError(source, printable(server), f"leave out the scheme: {remedy}")
        host, colon, port = server.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not colon or not host or (":" in host and not bracketed) or not _is_port(port):
            raise ConnectionSettingsError(source, printable(server) or "an empty address", remedy)
        if not bracketed and not all(sign.isalnum() or sign in "-._" for sign in host):
            raise ConnectionSettingsError(source, printable(server), remedy)
    return servers


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 1 << 16


def _redis_url(source: str, text: str) -> tuple[str, int, int, bool]:
    _refuse_credentials(source, text, "REDIS")
    remedy = f"write an address such as {_REDIS_EXAMPLE}, or rediss:// for TLS"
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        host, port, url = None, None, urlsplit("")
    if url.query or url.fragment:
        # It may hold a password=, so it is not shown.
        raise ConnectionSettingsError(source, "settings after ? or # (not shown)", f"leave them out; {remedy}")
    database = url.path.removeprefix("/") or "0"
    if (
        url.scheme not in ("redis", "rediss")
        or not host
        or port == 0
        or not (database.isascii() and database.isdigit() and len(database) <= 5)
    ):
        raise ConnectionSettingsError(source, printable(text), remedy)
    return host, port or REDIS_PORT, int(database), url.scheme == "rediss"
