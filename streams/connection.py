"""Where the broker and the state store are and how to log in: read once from the environment, passed on as values.

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

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import redis
import redis.asyncio

from schemas.errors import printable

from .errors import ConnectionSettingsError

if TYPE_CHECKING:
    import faust

SECURITIES = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
REDIS_PORT = 6379
SOCKET_TIMEOUT_S = 5.0
HEALTH_CHECK_S = 15
_KAFKA_EXAMPLE = "broker-1:9092,broker-2:9092"
_REDIS_EXAMPLE = "redis://127.0.0.1:6379/0"


class Password(str):
    """A password that does not show itself, for clients write their settings into debug logs.

    >>> Password("hunter2"), {"password": Password("hunter2")}
    (***, {'password': ***})
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


@dataclass(frozen=True)
class KafkaConnection:
    """How to reach the brokers.

    Parameters
    ----------
    bootstrap
        Addresses ``host:port`` to ask first; one that answers is enough.
    security
        One of ``SECURITIES``.
    mechanism, username, password
        With SASL only.
    ca
        PEM file of the authorities to trust; none takes the system's.

    >>> KafkaConnection(username="shop", password=Password("hunter2"))
    KafkaConnection(bootstrap=('127.0.0.1:9092',), security='PLAINTEXT', mechanism='', username='shop', ca='')
    """

    bootstrap: tuple[str, ...] = ("127.0.0.1:9092",)
    security: str = "PLAINTEXT"
    mechanism: str = ""
    username: str = ""
    password: Password = field(default=Password(), repr=False)
    ca: str = ""

    @property
    def address(self) -> str:
        """The addresses as people write them."""
        return ",".join(self.bootstrap)

    def ssl_context(self) -> ssl.SSLContext | None:
        """A fresh context that verifies certificate and host name; none without TLS.

        Raises
        ------
        ConnectionSettingsError
            Where the file of authorities cannot be read.
        """
        if not self.security.endswith("SSL"):
            return None
        return _context("RAPPORT_KAFKA_CA", self.ca)

    def aiokafka(self) -> dict[str, Any]:
        """Arguments for ``AIOKafkaConsumer``, ``AIOKafkaProducer`` and ``AIOKafkaAdminClient``.

        >>> KafkaConnection().aiokafka()
        {'bootstrap_servers': ['127.0.0.1:9092'], 'security_protocol': 'PLAINTEXT'}
        """
        settings: dict[str, Any] = {"bootstrap_servers": list(self.bootstrap), "security_protocol": self.security}
        context = self.ssl_context()
        if context is not None:
            settings["ssl_context"] = context
        if self._sasl:
            settings["sasl_mechanism"] = self.mechanism
            settings["sasl_plain_username"] = self.username
            settings["sasl_plain_password"] = self.password
        return settings

    def kafka_python(self) -> dict[str, Any]:
        """Arguments for ``KafkaConsumer``, ``KafkaProducer`` and ``KafkaAdminClient`` of kafka-python."""
        return self.aiokafka()  # the two clients named them alike

    def faust_credentials(self) -> faust.SASLCredentials | faust.SSLCredentials | None:
        """What ``faust.App(broker_credentials=...)`` takes; none for a broker without TLS and log-in."""
        import faust  # a second of imports that only workers need

        context = self.ssl_context()
        if self._sasl:
            return faust.SASLCredentials(
                username=self.username, password=self.password, ssl_context=context, mechanism=self.mechanism
            )
        return None if context is None else faust.SSLCredentials(context)

    @property
    def _sasl(self) -> bool:
        return self.security.startswith("SASL")


@dataclass(frozen=True)
class RedisConnection:
    """How to reach the state store, Redis or Valkey.

    Parameters
    ----------
    host, port, db
        Where it is, and the number of the database in it.
    tls
        Encrypted, and the certificate and its host name verified.
    username, password
        Both may be empty; a password alone logs the default user in.
    ca
        PEM file of authorities to trust besides the system's.

    >>> RedisConnection(tls=True, password=Password("hunter2")).address
    'rediss://127.0.0.1:6379/0'
    """

    host: str = "127.0.0.1"
    port: int = REDIS_PORT
    db: int = 0
    tls: bool = False
    username: str = ""
    password: Password = field(default=Password(), repr=False)
    ca: str = ""

    @property
    def address(self) -> str:
        """The address as people write it, without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.db}"

    def client(self, **settings: Any) -> redis.asyncio.Redis:
        """An asynchronous client of bytes; it connects at its first command.

        Parameters
        ----------
        settings
            Further arguments of ``redis.asyncio.Redis``; they win over the ones here. Its own default repeats a command
            up to ten times where the connection fails.
        """
        return redis.asyncio.Redis(**{**self._settings(), **settings})

    def sync_client(self, **settings: Any) -> redis.Redis:
        """The same, blocking."""
        return redis.Redis(**{**self._settings(), **settings})

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "db": self.db,
            "username": self.username or None,
            "password": self.password or None,
            "decode_responses": False,
            "socket_timeout": SOCKET_TIMEOUT_S,
            "socket_connect_timeout": SOCKET_TIMEOUT_S,
            "health_check_interval": HEALTH_CHECK_S,
        }
        if self.tls:
            settings |= {
                "ssl": True,
                "ssl_cert_reqs": "required",
                "ssl_check_hostname": True,
                "ssl_ca_certs": self.ca or None,
            }
        return settings


@dataclass(frozen=True)
class Connection:
    """Both ways out of the process."""

    kafka: KafkaConnection = KafkaConnection()
    redis: RedisConnection = RedisConnection()


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
        _context("RAPPORT_REDIS_CA", ca)
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
        raise ConnectionSettingsError(source, _reason(error), "name a file that can be read and holds it") from None
    password = text.removesuffix("\n").removesuffix("\r")
    if not password or "\n" in password:
        found = "several lines" if password else "an empty file"
        raise ConnectionSettingsError(source, found, "write the password into it, on one line")
    return Password(password)


def _context(name: str, ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca or None)
    except ssl.SSLError as error:
        found = f"no certificate in {printable(ca)}"
        raise ConnectionSettingsError(name, found, "name a PEM file of certificates") from error
    except (OSError, ValueError) as error:
        found = f"{printable(ca)}: {_reason(error)}"
        raise ConnectionSettingsError(name, found, "name a PEM file that can be read") from error


def _reason(error: OSError | ValueError) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else "no usable path"


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
