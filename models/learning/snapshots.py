"""Snapshots as sealed bytes: bound to model and version, signed, and unpickled only after the signature is checked."""

from __future__ import annotations

import copyreg
import hmac
import io
import pickle
from hashlib import sha256
from types import FunctionType, MethodType
from typing import Any

import msgspec
from msgspec import Struct
from river.base import Base

from ..errors import SnapshotError
from .registry import own

FORMAT = 1
LARGEST = 256 << 20
"""Bytes of one model, its way back included. Redis takes values of up to 512 MB."""
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
_CODE = ("__code__", "__defaults__", "__kwdefaults__")
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

    Raises
    ------
    SnapshotError
        Where it is larger than ``LARGEST`` bytes.

    >>> unseal(seal("churn", 3, "state", b"x", b"key"), "churn", b"key").payload
    b'x'
    """
    if len(payload) > LARGEST:
        found = f"{len(payload) >> 20} MB, at most {LARGEST >> 20} MB can be kept"
        raise SnapshotError(f"snapshot of {model}: {found}; bound the model (a forest: n_models, max_depth)")
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


class _Unpickler(pickle.Unpickler):
    """Finds what is allowed, and remembers how it was: the unpickler in C could set attributes of a class.

    That it does not matters where no key signs snapshots. The one in Python could be told to check each setting of
    state, but takes eight times as long, seconds for a forest.
    """

    def __init__(self, data: bytes, allow: tuple[str, ...]) -> None:
        super().__init__(_Source(data))
        self._allow = {*allow, *(name for name, _ in own(allow))}
        self._before: dict[int, tuple[Any, dict[str, Any]]] = {}

    def find_class(self, module: str, name: str) -> Any:
        dotted = f"{module}.{name}"
        if dotted == "builtins.getattr":
            return self._method
        if dotted in _ALLOWED or dotted in self._allow:
            return self._noted(super().find_class(module, name))
        if "." not in name and module.startswith(("river.", "models.")) and not module.startswith(_REFUSED):
            found = super().find_class(module, name)
            if _belongs(found, module):
                return self._noted(found)
        raise SnapshotError(f"snapshot names {dotted}, which is not allowed")

    def _method(self, owner: object, name: str) -> Any:
        held = _method(owner, name)
        self._noted(held.__func__)
        return held

    def _noted(self, found: Any) -> Any:
        if id(found) not in self._before:
            self._before[id(found)] = found, _attributes(found)
        return found

    def undo(self) -> None:
        """Put back whatever the pickle changed of the classes and functions that it named.

        Raises
        ------
        SnapshotError
            Where it changed anything.
        """
        changed = [found for found, before in self._before.values() if _put_back(found, before)]
        if changed:
            raise SnapshotError(f"snapshot changes {changed[0]!r}, which is not allowed")


class _Source:
    """Bytes for the unpickler, handed out by Python: between two frames other threads come to their turn."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self._data.read(size)

    def readline(self) -> bytes:
        return self._data.readline()


class _Sink:
    """Where the pickler writes, likewise."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: Any) -> None:
        self.parts.append(bytes(data))


def _attributes(found: Any) -> dict[str, Any]:
    if isinstance(found, type):
        copyreg._slotnames(found)  # type: ignore[attr-defined]  # pickling, in another thread perhaps, keeps it there
    held = dict(vars(found)) if hasattr(found, "__dict__") else {}
    if isinstance(found, FunctionType):
        held |= {name: getattr(found, name) for name in _CODE}
    return held


def _put_back(found: Any, before: dict[str, Any]) -> bool:
    """Whether attributes had changed; they are as before afterwards."""
    now = _attributes(found)
    for name in now.keys() - before.keys():
        delattr(found, name)
    changed = [name for name, value in before.items() if name not in now or now[name] is not value]
    for name in changed:
        setattr(found, name, before[name])
    return bool(changed) or now.keys() != before.keys()


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
    """Pickle an estimator that has no explicit state.

    Raises
    ------
    SnapshotError
        Where it cannot be pickled.
    """
    sink = _Sink()
    try:
        pickle.Pickler(sink, protocol=5).dump(value)
    except Exception as error:  # an object of any package may refuse with anything
        raise SnapshotError(f"a {type(value).__qualname__} that cannot be pickled ({error})") from error
    return b"".join(sink.parts)


def load(data: bytes, allow: tuple[str, ...] = ()) -> Any:
    """Unpickle what ``dump`` wrote; only classes of River, numpy and the allow-list are found.

    Raises
    ------
    SnapshotError
        Where the pickle names anything else, changes what it names, or is broken.
    """
    unpickler = _Unpickler(data, allow)
    try:
        return unpickler.load()
    except SnapshotError:
        raise
    except Exception as error:  # a broken pickle raises nearly anything
        raise SnapshotError(f"a pickle that cannot be read ({type(error).__name__}: {error})") from error
    finally:
        unpickler.undo()
