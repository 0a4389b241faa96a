"""What a run was made of: the code, the configuration and the options, so that two runs can be told apart."""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

RUN = "run.json"
FORMAT = 1
PACKAGES = ("schemas", "models", "streams")


class Provenance(Struct, frozen=True, kw_only=True):
    """What ``run.json`` holds.

    Parameters
    ----------
    version, code
        Of Rapport: its version, and a digest of its source, which differs wherever a line of it does.
    configuration, digest
        The configuration's text, empty for the defaults, and its digest.
    options
        What else decides the result: how times and currencies were read, the state it started from, as a digest; of a
        recorded log, what its time waited for, and a digest of the models it names where they were learned elsewhere.
    """

    format: int = FORMAT
    version: str
    code: str
    digest: str
    configuration: str
    options: dict[str, Any] = {}


def of(configuration: str, options: dict[str, Any]) -> Provenance:
    """The provenance of a run of this very code."""
    return Provenance(
        version=version("rapport"),
        code=code(),
        digest=digest(configuration.encode()),
        configuration=configuration,
        options=options,
    )


def encode(provenance: Provenance) -> bytes:
    """As ``run.json`` holds it."""
    return msgspec.json.format(msgspec.json.encode(provenance), indent=2) + b"\n"


def decode(data: bytes) -> Provenance:
    """What ``encode`` made; raises ``msgspec.DecodeError`` where the bytes are none."""
    return msgspec.json.decode(data, type=Provenance)


def digest(data: bytes) -> str:
    """A short digest in hexadecimal.

    >>> digest(b"")
    'e4a6a0577479b2b4'
    """
    return blake2b(data, digest_size=8).hexdigest()


@cache
def code() -> str:
    """A digest of the source of the packages that decide, whatever version they say they are."""
    root = Path(__file__).parents[1]
    hashed = blake2b(digest_size=8)
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            hashed.update(path.relative_to(root).as_posix().encode())
            hashed.update(path.read_bytes())
    return hashed.hexdigest()
