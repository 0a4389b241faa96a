"""Ports of this machine: which are free, and whether the right server answers on one."""

from __future__ import annotations

import random
import socket

from .errors import ServerError

HOST = "127.0.0.1"
# Below the ports a system hands out by itself: while a server is down, no client of ours can be given its port.
PORTS = range(20_000, 32_768)
TRIES = 50
ASK_S = 0.5


def free_port(server: str) -> int:
    """A port that nobody listens on.

    Raises
    ------
    ServerError
        Where there is none; it names the server.
    """
    for port in random.sample(PORTS, TRIES):
        if is_free(port):
            return port
    raise ServerError(server, f"no free port in {TRIES} between {PORTS[0]} and {PORTS[-1]}", "name one that is free")


def is_free(port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: a restart must not wait
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
    return True


def answers(port: int, question: bytes, signs: tuple[bytes, ...]) -> bool:
    """Whether the answer to a question holds all signs of the server that is meant."""
    answer = b""
    try:
        with socket.create_connection((HOST, port), ASK_S) as connection:
            connection.sendall(question)
            while data := connection.recv(4096):
                answer += data
                if all(sign in answer for sign in signs):
                    return True
    except OSError:  # not listening yet, or no full answer in time
        return False
    return False
