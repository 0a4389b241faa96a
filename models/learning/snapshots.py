"""Snapshots as sealed bytes: bound to model and version, signed, and unpickled only after the signature is checked."""

from __future__ import annotations

import hmac
import io
import pickle
from collections.abc import Callable
from hashlib import sha256
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, ClassVar

import msgspec
from msgspec import Struct
from river.base import Base

from ..errors import SnapshotError

FORMAT = 1
# What pickles of River's classifiers name beside River's own classes; nothing here reads, writes or runs anything.
_ALLOWED = frozenset(
    f"{module}.{name}"
    for module, names in {
        "builtins": "bool bytearray bytes complex dict float frozenset int list object set str tuple",
        "collections": "Counter OrderedDict defaultdict deque",
        "copy": "deepcopy",
        "copyreg": "_reconstructor",
        "datetime": "date datetime timedelta timezone",
        "functools": "partial",
        "numpy": "dtype ndarray bool float32 float64 int32 int64 uint8",
        "numpy._core.multiarray": "_reconstruct scalar",
        "numpy._core.numeric": "_frombuffer",
        "numpy.random._generator": "Generator",
        "numpy.random._mt19937": "MT19937",
        "numpy.random._pcg64": "PCG64",
        "numpy.random._pickle": "__bit_generator_ctor __generator_ctor __randomstate_ctor",
        "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
        "random": "Random",
        "river._river_rust.vectordict": "euclidean_distance_tuple",
        "river.naive_bayes.gaussian": "GaussianNB._make_gaussian",
        "sortedcontainers.sorteddict": "SortedDict",
        "sortedcontainers.sortedlist": "SortedList",
        "sortedcontainers.sortedset": "SortedSet",
    }.items()
    for name in names.split()
)
_REFUSED = ("river.bandit.", "river.checks.", "river.compat.", "river.datasets.", "river.evaluate.", "river.stream.")


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
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotError(f"snapshot of {model}: {len(data)} bytes that are no snapshot ({error})") from error
    if not hmac.compare_digest(_sign(sealed, key), sealed.signature):
        raise SnapshotError(f"snapshot of {model}: the signature does not match; check RAPPORT_SNAPSHOT_KEY")
    if sealed.format != FORMAT:
        raise SnapshotError(f"snapshot of {model}: format {sealed.format}, this version reads {FORMAT}")
    if sealed.model != model:
        raise SnapshotError(f"snapshot of {sealed.model} offered as {model}; load it under its own name")
    return sealed


class _Unpickler(pickle._Unpickler):
    """The unpickler written in Python, as the one in C does not let the setting of state be checked."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, data: bytes, allow: tuple[str, ...]) -> None:
        super().__init__(io.BytesIO(data))
        self._allow = allow

    def find_class(self, module: str, name: str) -> Any:
        dotted = f"{module}.{name}"
        if dotted == "builtins.getattr":
            return _method
        if dotted in _ALLOWED or dotted in self._allow:
            return super().find_class(module, name)
        if "." not in name and module.startswith(("river.", "models.")) and not module.startswith(_REFUSED):
            found = super().find_class(module, name)
            if _belongs(found, module):
                return found
        raise SnapshotError(f"snapshot names {dotted}, which is not allowed")

    def load_build(self) -> None:
        """Set the state of an instance; that of a class or function would change it for the whole process."""
        stack: list[Any] = vars(self)["stack"]
        if isinstance(stack[-2], (type, FunctionType, BuiltinFunctionType, MethodType)):
            raise SnapshotError(f"snapshot changes {stack[-2]!r}, which is not allowed")
        pickle._Unpickler.load_build(self)  # type: ignore[attr-defined]  # not in the stubs

    dispatch[pickle.BUILD[0]] = load_build


def _belongs(found: object, module: str) -> bool:
    """Whether it is a class that the module itself defines: not a function, and nothing that it imports."""
    if not isinstance(found, type) or found.__module__ != module:
        return False
    return module.startswith("river.") or issubclass(found, Base)


def _method(owner: object, name: str) -> Any:
    """In the place of ``getattr``, by which a pickle names a bound method: a method of a River object, no more."""
    cls = owner if isinstance(owner, type) else type(owner)
    held = getattr(owner, name, None) if cls.__module__.startswith("river.") and not name.startswith("__") else None
    if not isinstance(held, MethodType) or not held.__func__.__module__.startswith("river."):
        raise SnapshotError(f"snapshot names {cls.__qualname__}.{name}, which is not allowed")
    return held


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
