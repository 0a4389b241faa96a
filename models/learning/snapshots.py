"""Snapshots as sealed bytes: bound to model and version, signed, and unpickled only after the signature is checked."""

from __future__ import annotations

import hmac
import io
import pickle
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from ..errors import SnapshotError

FORMAT = 1
_ALLOWED_ROOTS = ("river.", "models.", "numpy.", "collections.", "sortedcontainers.")
_ALLOWED = frozenset(
    f"builtins.{name}"
    for name in ("set", "frozenset", "dict", "list", "tuple", "complex", "bytearray", "object")
) | {"copyreg._reconstructor", "functools.partial", "random.Random", "datetime.datetime", "datetime.timedelta"}
_REFUSED = ("numpy.testing", "numpy.distutils", "numpy.f2py", "numpy.lib", "numpy.ctypeslib", "river.datasets", "river.stream")


class Sealed(Struct, frozen=True, array_like=True):
    """A payload with what it belongs to and a signature over all of it."""

    format: int
    model: str
    version: int
    kind: str
    payload: bytes
    signature: bytes = b""


def _sign(sealed: Sealed, key: bytes) -> bytes:
    body = msgspec.msgpack.encode((sealed.format, sealed.model, sealed.version, sealed.kind, sealed.payload))
    return hmac.digest(key, body, sha256)


def seal(model: str, version: int, kind: str, payload: bytes, key: bytes) -> bytes:
    """Sign ``payload`` as the snapshot of ``model`` at ``version``.

    >>> unseal(seal("churn", 3, "state", b"x", b"key"), "churn", b"key").payload
    b'x'
    """
    sealed = Sealed(FORMAT, model, version, kind, payload)
    return msgspec.msgpack.encode(msgspec.structs.replace(sealed, signature=_sign(sealed, key)))


def unseal(data: bytes, model: str, key: bytes) -> Sealed:
    """Check a snapshot and return it.

    Raises
    ------
    SnapshotError
        Where it is truncated, forged, of another model or of an unknown format.

    >>> unseal(seal("churn", 3, "state", b"x", b"key"), "churn", b"other")
    Traceback (most recent call last):
    ...
    models.errors.SnapshotError: snapshot of churn: the signature does not match; check RAPPORT_SNAPSHOT_KEY
    """
    try:
        sealed = msgspec.msgpack.decode(data, type=Sealed)
    except msgspec.DecodeError as error:
        raise SnapshotError(f"snapshot of {model}: {len(data)} bytes that are no snapshot ({error})") from error
    if not hmac.compare_digest(_sign(sealed, key), sealed.signature):
        raise SnapshotError(f"snapshot of {model}: the signature does not match; check RAPPORT_SNAPSHOT_KEY")
    if sealed.format != FORMAT:
        raise SnapshotError(f"snapshot of {model}: format {sealed.format}, this version reads {FORMAT}")
    if sealed.model != model:
        raise SnapshotError(f"snapshot of {sealed.model} offered as {model}; load it under its own name")
    return sealed


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, allow: tuple[str, ...]) -> None:
        super().__init__(io.BytesIO(data))
        self._allow = allow

    def find_class(self, module: str, name: str) -> Any:
        dotted = f"{module}.{name}"
        if any(dotted.startswith(root) for root in _REFUSED) or not (
            dotted in _ALLOWED or dotted in self._allow or dotted.startswith(_ALLOWED_ROOTS)
        ):
            raise SnapshotError(f"snapshot names {dotted}, which is not allowed")
        return super().find_class(module, name)


def dump(value: object) -> bytes:
    """Pickle an estimator that has no explicit state."""
    return pickle.dumps(value, protocol=5)


def load(data: bytes, allow: tuple[str, ...] = ()) -> Any:
    """Unpickle what ``dump`` wrote; only classes of River, numpy and the allow-list are found.

    Raises
    ------
    SnapshotError
        Where the pickle names anything else, or is broken.
    """
    try:
        return _Unpickler(data, allow).load()
    except SnapshotError:
        raise
    except Exception as error:  # a broken pickle raises nearly anything
        raise SnapshotError(f"a pickle that cannot be read ({type(error).__name__}: {error})") from error
