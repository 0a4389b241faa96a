"""Where the broker and the state store are and how to log in: values, passed on explicitly."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from schemas.errors import printable

from .errors import ConnectionSettingsError, system_reason

if TYPE_CHECKING:
    import faust

REDIS_PORT = 6379
SOCKET_TIMEOUT_S = 5.0
HEALTH_CHECK_S = 15
RETRIES, FIRST_PAUSE_S, LONGEST_PAUSE_S = 2, 0.05, 0.5


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
        ``PLAINTEXT``, ``SSL``, ``SASL_PLAINTEXT`` or ``SASL_SSL``.
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
        return tls_context("RAPPORT_KAFKA_CA", self.ca)

    def aiokafka(self) -> dict[str, Any]:
        """Arguments for ``AIOKafkaConsumer``, ``AIOKafkaProducer`` and ``AIOKafkaAdminClient``.

        >>> KafkaConnection().aiokafka()
        {'bootstrap_servers': ['127.0.0.1:9092'], 'security_protocol': 'PLAINTEXT'}
        """
        settings: dict[str, Any] = {"bootstrap_servers": list(self.bootstrap), "security_protocol": self.security}
        context = self.ssl_context()
        if context is not None:
            settings["ssl_context"] = context
        if self.sasl:
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
        if self.sasl:
            return faust.SASLCredentials(
                username=self.username, password=self.password, ssl_context=context, mechanism=self.mechanism
            )
        return None if context is None else faust.SSLCredentials(context)

    @property
    def sasl(self) -> bool:
        """Whether a user logs in."""
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
            up to ten times where the connection fails, ours twice: a refused log-in counts as a failed connection.
        """
        retry = AsyncRetry(ExponentialBackoff(LONGEST_PAUSE_S, FIRST_PAUSE_S), RETRIES)
        return redis.asyncio.Redis(**{"retry": retry, **self._settings(), **settings})

    def sync_client(self, **settings: Any) -> redis.Redis:
        """The same, blocking."""
        retry = Retry(ExponentialBackoff(LONGEST_PAUSE_S, FIRST_PAUSE_S), RETRIES)
        return redis.Redis(**{"retry": retry, **self._settings(), **settings})

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


def tls_context(name: str, ca: str) -> ssl.SSLContext:
    """A context that verifies certificate and host name.

    Parameters
    ----------
    name
        The setting that ``ca`` comes from, for the error.
    ca
        PEM file of the authorities to trust; empty takes the system's.

    Raises
    ------
    ConnectionSettingsError
        Where the file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=ca or None)
    except ssl.SSLError as error:
        found = f"no certificate in {printable(ca)}"
        raise ConnectionSettingsError(name, found, "name a PEM file of certificates") from error
    except (OSError, ValueError) as error:
        found = f"{printable(ca)}: {system_reason(error)}"
        raise ConnectionSettingsError(name, found, "name a PEM file that can be read") from error
