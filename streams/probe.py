"""Whether a Kafka broker answers, and lets us in, asked before a client library is: kafka-python sets no limit to a TLS
handshake, and says of a wrong password only that it could not begin.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time

from aiokafka.errors import KafkaError

from schemas.errors import printable

from .connection import KafkaConnection
from .errors import BrokerError
from .login import log_in
from .refusals import certificate_refused, refusal

NAP_S = 0.2
_NUMBER = 0x52415050
# ApiVersions, version 0, of no client: every broker answers it, before any log-in.
_QUESTION = struct.pack(">ihhih", 10, 18, 0, _NUMBER, -1)


class _OddAnswerError(OSError):
    """Bytes that no broker sends."""


def probe(connection: KafkaConnection, answer_s: float, patience_s: float = 0.0) -> None:
    """Return once one of the addresses answers as a broker does; try again until the time is over.

    Parameters
    ----------
    answer_s
        How long to try, seconds; 0 tries once.
    patience_s
        How long to wait for one answer, seconds; by default a third of that, and a second at least.

    Raises
    ------
    BrokerError
        Where none answers in time.
    AccessError
        Where one shows a certificate that is not trusted, or refuses the log-in.

    >>> probe(KafkaConnection(("127.0.0.1:1",)), 0)
    Traceback (most recent call last):
    streams.errors.BrokerError: 127.0.0.1:1: found no broker that answers within 0 s (Connection refused); start one, ...
    """
    context = connection.ssl_context()
    deadline = time.monotonic() + answer_s
    patience = patience_s or max(answer_s / 3, 1.0)
    while True:
        last: OSError | None = None
        for address in connection.bootstrap:
            try:
                _ask(address, context, patience)
                if connection.sasl:
                    log_in(connection, address, patience)
                return
            except ssl.SSLCertVerificationError as error:
                raise certificate_refused(address, error, "RAPPORT_KAFKA_CA") from error
            except KafkaError as error:
                if (refused := refusal(error, address)) is not None:
                    raise refused from error
                last = OSError(0, f"{type(error).__name__} at the log-in")
            except OSError as error:
                last = error
        if time.monotonic() + NAP_S >= deadline:
            raise _nobody(connection, answer_s or patience_s, last)
        time.sleep(NAP_S)


def _ask(address: str, context: ssl.SSLContext | None, patience: float) -> None:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    with socket.create_connection((host, int(port)), patience) as plain:
        plain.settimeout(patience)
        if context is None:
            _exchange(plain)
        else:
            with context.wrap_socket(plain, server_hostname=host) as wrapped:
                _exchange(wrapped)


def _exchange(channel: socket.socket) -> None:
    channel.sendall(_QUESTION)
    answer = b""
    while len(answer) < 8:
        data = channel.recv(8 - len(answer))
        if not data:
            raise _OddAnswerError(0, "a port that hangs up")
        answer += data
    if struct.unpack(">ii", answer)[1] != _NUMBER:
        raise _OddAnswerError(0, "a port that speaks otherwise")


def _nobody(connection: KafkaConnection, answer_s: float, error: OSError | None) -> BrokerError:
    reason = "timed out" if error is None or isinstance(error, TimeoutError) else error.strerror or str(error)
    remedy = "start one, or name another with --kafka HOST:PORT or RAPPORT_KAFKA"
    # Two ends that speak differently show as one of these.
    if isinstance(error, _OddAnswerError | ssl.SSLError | TimeoutError | ConnectionResetError | BrokenPipeError):
        remedy += f"; check too that its port speaks RAPPORT_KAFKA_SECURITY={connection.security}"
    found = f"no broker that answers within {answer_s:g} s ({printable(reason)})"
    return BrokerError(connection.address, found, remedy)
