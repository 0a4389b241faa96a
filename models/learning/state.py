"""Explicit state of River objects: the values in them, without their classes, so that no snapshot can run code.

``extract`` walks an estimator and writes down its numbers, texts and containers; ``fill`` puts them into a freshly
built estimator of the same configuration. What holds anything else (a tree, say) is refused and snapshot as a
signed pickle instead.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from river.base import Base
from river.utils import VectorDict

from ..errors import SnapshotError

_PLAIN = (bool, int, float, str, bytes, type(None))
_OBJECT, _VECTOR, _TUPLE, _SET, _NATIVE, _KEYED = "object", "vector", "tuple", "set", "native", "keyed"


class NotExplicitError(Exception):
    """The object holds something that has no explicit form."""


def extract(value: Any) -> Any:
    """The state of ``value`` as msgpack can hold it.

    Raises
    ------
    NotExplicitError
        Where there is no explicit form.

    >>> from river.optim import SGD
    >>> extract(SGD(0.5))["object"]["n_iterations"]
    0
    """
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, VectorDict):
        return {_VECTOR: dict(sorted(value.to_dict().items()))}
    if isinstance(value, dict):
        return {_KEYED: [[extract(k), extract(v)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [extract(v) for v in value]}
    if isinstance(value, list):
        return [extract(v) for v in value]
    if isinstance(value, frozenset) and all(isinstance(v, str) for v in value):
        return {_SET: sorted(value)}
    if isinstance(value, Base) or type(value).__module__.startswith("river."):
        return _extract_object(value)
    if type(value).__module__.startswith("models."):
        return {_OBJECT: {k: extract(v) for k, v in vars(value).items()}}
    raise NotExplicitError(type(value).__qualname__)


def _extract_object(value: Any) -> Any:
    attributes = getattr(value, "__dict__", None)
    if attributes is not None:
        return {_OBJECT: {k: extract(v) for k, v in attributes.items()}}
    native = value.__getstate__() if type(value).__module__.startswith("river._river_rust") else None
    if isinstance(native, bytes):
        return {_NATIVE: native}
    raise NotExplicitError(type(value).__qualname__)


def fill(value: Any, state: Any) -> Any:
    """Put ``state`` into ``value``, an object built from the same configuration; returns what belongs in its place.

    Raises
    ------
    SnapshotError
        Where the state does not fit.
    """
    if isinstance(state, _PLAIN):
        return state
    if isinstance(state, list):
        return [fill(None, v) for v in state]
    if isinstance(state, dict) and len(state) == 1:
        ((kind, held),) = state.items()
        if kind == _VECTOR:
            return VectorDict(held)
        if kind == _TUPLE:
            return tuple(fill(None, v) for v in held)
        if kind == _SET:
            return frozenset(held)
        if kind == _KEYED:
            return _fill_dict(value, held)
        if kind == _NATIVE and type(value).__module__.startswith("river._river_rust"):
            value.__setstate__(held)
            return value
        if kind == _OBJECT and hasattr(value, "__dict__"):
            for name, inner in held.items():
                setattr(value, name, fill(getattr(value, name, None), inner))
            return value
    raise SnapshotError(f"state of {type(value).__qualname__} does not fit; was the configuration changed since?")


def _fill_dict(value: Any, held: list[list[Any]]) -> Any:
    target = value if isinstance(value, defaultdict) else {}
    old = dict(value) if isinstance(value, dict) else {}
    target.clear()
    for key, inner in held:
        target[key if not isinstance(key, dict) else fill(None, key)] = fill(old.get(key), inner)
    return target
