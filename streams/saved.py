"""The state of a run in a file: sealed, and bound to the engine settings that it was built with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from models.config import EngineConfig
from models.errors import SnapshotError
from models.learning.snapshots import Sealed, seal, unseal
from schemas.errors import printable

from .run import Run

NAME = "a run"
FORMAT = 1
SHOWN = 3


class Saved(Struct, frozen=True, array_like=True):
    """Engine settings as JSON, and what ``Run.snapshot`` gave."""

    engine: bytes
    run: bytes


def snapshot(run: Run, key: bytes) -> bytes:
    """The run's state, signed with ``key``, for :func:`restore`."""
    saved = Saved(msgspec.json.encode(run.settings.engine), run.snapshot(key))
    return seal(NAME, FORMAT, "replay", msgspec.msgpack.encode(saved), key)


def restore(run: Run, data: bytes, key: bytes) -> None:
    """Let a fresh run go on from ``data``. Campaigns may be others than before, engine settings may not.

    Raises
    ------
    SnapshotError
        Where the bytes are no state, were signed with another key, or belong to other engine settings.
    """
    try:
        msgspec.msgpack.decode(data, type=Sealed)
        saved = msgspec.msgpack.decode(unseal(data, NAME, key).payload, type=Saved)
        engine = _filled(saved.engine)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotError(
            f"{len(data)} bytes that are no saved state ({error}); was the file cut short? bootstrap again"
        ) from error
    differing = [*_differing(engine, msgspec.json.decode(msgspec.json.encode(run.settings.engine)), "engine")]
    if differing:
        more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise SnapshotError(
            f"the state was built with other engine settings: {'; '.join(differing[:SHOWN])}{more}; "
            "name the --campaigns file it was built with, or bootstrap again"
        )
    run.restore(saved.run, key)


def _filled(engine: bytes) -> object:
    """Engine settings as they were saved; those that are new since then have their defaults."""
    try:
        return msgspec.json.decode(msgspec.json.encode(msgspec.json.decode(engine, type=EngineConfig)))
    except msgspec.ValidationError:  # saved by a version with other settings: what differs is named
        return msgspec.json.decode(engine)


def _differing(then: object, now: object, path: str) -> Iterator[str]:
    """Settings that differ, as ``path is now, was then``."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in sorted({*then, *now}):
            yield from _differing(then.get(key), now.get(key), f"{path}.{key}")
    elif then != now:
        yield f"{path} is {_shown(now)}, was {_shown(then)}"


def _shown(value: Any) -> str:
    return "not set" if value is None else printable(msgspec.json.encode(value).decode())
