"""Kafka and Redis as they are run in production: TLS, users with passwords, and nothing allowed that was not granted."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

from streams.connection import KafkaConnection, Password
from streams.errors import BrokerError
from streams.ports import ASK_S, HOST, free_port
from streams.probe import probe
from streams.server import Server
from tests.live.authority import Authority
from tests.live.kafka import KafkaServer

ADMIN = "admin"
MECHANISM = "SCRAM-SHA-512"
EXPIRED = "20210101000000Z"
REDIS = "redis-server"


class SecuredKafka(KafkaServer):
    """Kafka with SASL/SCRAM over TLS and ACLs: what no rule grants is denied, but for ``admin``.

    A second listener, at ``expired``, shows a certificate that has expired.

    Parameters
    ----------
    authority
        Signs its certificates.
    passwords
        By user; ``admin`` among them.
    """

    def __init__(self, authority: Authority, passwords: Mapping[str, str]) -> None:
        super().__init__(
            {
                "listener.security.protocol.map": "SECURE:SASL_SSL,EXPIRED:SASL_SSL,CONTROLLER:PLAINTEXT",
                "inter.broker.listener.name": "SECURE",
                "sasl.enabled.mechanisms": MECHANISM,
                "sasl.mechanism.inter.broker.protocol": MECHANISM,
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": f"User:{ADMIN};User:ANONYMOUS",  # the controller listens for itself alone
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": authority.ca,
                **_listener("secure", authority, "kafka", "", passwords[ADMIN]),
                **_listener("expired", authority, "kafka-expired", EXPIRED, passwords[ADMIN]),
            }
        )
        self._passwords = passwords
        self._expired = 0
        self._as_admin = (MECHANISM, ADMIN, Password(passwords[ADMIN]), str(authority.ca))

    @property
    def expired(self) -> str:
        """The address whose certificate has expired."""
        return f"{HOST}:{self._expired}"

    @property
    def connection(self) -> KafkaConnection:
        """As the administrator."""
        return KafkaConnection((self.address,), "SASL_SSL", *self._as_admin)

    def _listeners(self, port: int) -> str:
        self._expired = self._expired or free_port(self.name)
        return f"SECURE://{HOST}:{port},EXPIRED://{HOST}:{self._expired}"

    def _formatting(self) -> list[str]:
        return [
            part
            for user, password in self._passwords.items()
            for part in ("--add-scram", f"{MECHANISM}=[name={user},password={password}]")
        ]

    def _ready(self, port: int, process: int) -> bool:
        try:
            probe(KafkaConnection((f"{HOST}:{port}",), "SASL_SSL", *self._as_admin), 0)
        except BrokerError:
            return False
        return True


def _listener(name: str, authority: Authority, file: str, until: str, password: str) -> dict[str, object]:
    signed, key = authority.sign(file, until)
    store = authority.folder / f"{file}.store.pem"
    store.write_bytes(key.read_bytes() + signed.read_bytes())
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required"
    of = f"listener.name.{name}."
    return {
        f"{of}ssl.keystore.type": "PEM",
        f"{of}ssl.keystore.location": store,
        f"{of}{MECHANISM.lower()}.sasl.jaas.config": f'{login} username="{ADMIN}" password="{password}";',
    }


class SecuredRedis(Server):
    """Redis that speaks TLS only, with users of its own; the wheel's Valkey is built without TLS.

    Parameters
    ----------
    folder
        Of its log and its data.
    certificate, key, ca
        Files of PEM.
    users
        Rules of an ACL file, as in ``user default off``.
    """

    name = "redis"

    def __init__(self, folder: Path, signed: tuple[Path, Path], ca: Path, users: Sequence[str]) -> None:
        super().__init__(folder)
        self._signed = signed
        self._ca = ca
        self._users = users

    @property
    def url(self) -> str:
        """The address as clients take it."""
        return f"rediss://{self.address}/0"

    def _command(self, port: int) -> list[str]:
        users = self.folder / "users.acl"
        users.write_text("".join(f"{rule}\n" for rule in self._users))
        certificate, key = self._signed
        settings = {
            "bind": HOST,
            "port": "0",
            "tls-port": str(port),
            "tls-cert-file": str(certificate),
            "tls-key-file": str(key),
            "tls-ca-cert-file": str(self._ca),
            "tls-auth-clients": "no",
            "aclfile": str(users.resolve()),
            "dir": str(self.folder.resolve()),
            "save": "",
            "appendonly": "yes",
        }
        program = shutil.which(REDIS) or REDIS
        return [program, *(part for name, value in settings.items() for part in (f"--{name}", value))]

    def _question(self) -> bytes:
        return b"PING\r\n"

    def _signs(self, process: int) -> tuple[bytes, ...]:
        return (b"-NOAUTH",)

    def _ready(self, port: int, process: int) -> bool:
        context = ssl.create_default_context(cafile=str(self._ca))
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # an expired one is to be started, too
        try:
            with (
                socket.create_connection((HOST, port), ASK_S) as plain,
                context.wrap_socket(plain) as wrapped,
            ):
                wrapped.sendall(self._question())
                return self._signs(process)[0] in wrapped.recv(100)
        except OSError:
            return False
