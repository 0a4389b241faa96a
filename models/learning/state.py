"""Explicit state of River objects: the values in them, without their classes, so that no snapshot can run code.

``extract`` walks an estimator beside a fresh one of the same configuration and writes down its numbers, texts and
containers; ``fill`` puts them into such a fresh one. What holds an object that the fresh one lacks (a tree's nodes,
say) is refused and snapshot as a signed pickle instead.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Sequence
from typing import Any

from river.base import Base
from river.utils import VectorDict

from ..errors import SnapshotError

_PLAIN = (bool, int, float, str, bytes, type(None))
_DICTS = (dict, defaultdict, Counter, OrderedDict)
_OBJECT, _VECTOR, _TUPLE, _SET, _NATIVE, _KEYED, _SHARED = "object", "vector", "tuple", "set", "native", "keyed", "same"


class NotExplicitError(Exception):
    """The object holds something that has no explicit form."""


def extract(value: Any, fresh: Any) -> Any:
    """The state of ``value`` as msgpack can hold it.

    Parameters
    ----------
    fresh
        An object of the same configuration that has learned nothing.

    Raises
    ------
    NotExplicitError
        Where there is no explicit form.

    >>> from river.optim import SGD
    >>> extract(SGD(0.5), SGD(0.5))["object"]["n_iterations"]
    0
    """
    return _extract(value, fresh, {})


def _extract(value: Any, fresh: Any, met: dict[int, int]) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, VectorDict):
        return {_VECTOR: dict(sorted(value.to_dict().items()))}
    if type(value) in _DICTS:
        if type(value) is not dict and type(value) is not type(fresh):
            raise NotExplicitError(type(value).__qualname__)
        known = fresh if isinstance(fresh, dict) else {}
        return {_KEYED: [[_key(k), _extract(v, known.get(k), met)] for k, v in value.items()]}
    if type(value) in (list, tuple):
        parts = [_extract(v, f, met) for v, f in zip(value, _parts(fresh, len(value)), strict=True)]
        return parts if isinstance(value, list) else {_TUPLE: parts}
    if isinstance(value, frozenset) and all(isinstance(v, str) for v in value):
        return {_SET: sorted(value)}
    return _extract_object(value, fresh, met)


def _key(key: Any) -> Any:
    if isinstance(key, _PLAIN):
        return key
    if type(key) is tuple and all(isinstance(part, _PLAIN) for part in key):
        return {_TUPLE: list(key)}
    raise NotExplicitError(type(key).__qualname__)


def _parts(value: Any, size: int) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) and len(value) == size else [None] * size


def _extract_object(value: Any, fresh: Any, met: dict[int, int]) -> Any:
    if id(value) in met:
        return {_SHARED: met[id(value)]}
    if type(value) is not type(fresh) or not _ours(value):
        raise NotExplicitError(type(value).__qualname__)
    met[id(value)] = len(met)
    attributes = getattr(value, "__dict__", None)
    if attributes is not None:
        known = vars(fresh)
        return {_OBJECT: {k: _extract(v, known.get(k), met) for k, v in attributes.items()}}
    native = value.__getstate__() if _native(value) else None
    if isinstance(native, bytes):
        return {_NATIVE: native}
    raise NotExplicitError(type(value).__qualname__)


def _ours(value: Any) -> bool:
    """Whether it is an object whose attributes may be read and set: never a class, a module or a function."""
    if isinstance(value, type):
        return False
    return isinstance(value, Base) or type(value).__module__.startswith(("river.", "models."))


def _native(value: Any) -> bool:
    return type(value).__module__.startswith("river._river_rust")


def fill(value: Any, state: Any) -> Any:
    """Put ``state`` into ``value``, an object built from the same configuration; returns what belongs in its place.

    Raises
    ------
    SnapshotError
        Where the state does not fit.
    """
    try:
        return _fill(value, state, [])
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        found = f"{type(error).__name__}: {error}"
        raise SnapshotError(f"state of {type(value).__qualname__} cannot be read ({found}); bootstrap again") from error


def _fill(value: Any, state: Any, met: list[Any]) -> Any:
    if isinstance(state, _PLAIN):
        return state
    if isinstance(state, list):
        return _fill_parts(value, state, met)
    if isinstance(state, dict) and len(state) == 1:
        ((kind, held),) = state.items()
        if kind == _VECTOR:
            return VectorDict(held)
        if kind == _TUPLE:
            return tuple(_fill_parts(value, held, met))
        if kind == _SET:
            return frozenset(held)
        if kind == _KEYED:
            return _fill_dict(value, held, met)
        if kind == _SHARED and held < len(met):
            return met[held]
        if kind == _NATIVE and _native(value):
            met.append(value)
            return _fill_native(value, held)
        if kind == _OBJECT and _ours(value) and hasattr(value, "__dict__"):
            met.append(value)
            return _fill_object(value, held, met)
    raise SnapshotError(f"state of {type(value).__qualname__} does not fit; was the configuration changed since?")


def _fill_native(value: Any, held: Any) -> Any:
    try:
        value.__setstate__(held)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of Rust is no Exception
        raise SnapshotError(f"state of {type(value).__qualname__} cannot be read ({error})") from error
    return value


def _fill_object(value: Any, held: dict[str, Any], met: list[Any]) -> Any:
    attributes = vars(value)
    for name, inner in held.items():
        if name.startswith("__") or callable(getattr(type(value), name, None)):
            raise SnapshotError(f"state of {type(value).__qualname__} sets {name}, which is no part of it")
        attributes[name] = _fill(attributes.get(name), inner, met)
    return value


def _fill_parts(value: Any, states: list[Any], met: list[Any]) -> list[Any]:
    return [_fill(part, state, met) for part, state in zip(_parts(value, len(states)), states, strict=True)]


def _fill_dict(value: Any, held: list[list[Any]], met: list[Any]) -> Any:
    target = value if type(value) in _DICTS else {}
    old = dict(target)
    target.clear()
    for key, inner in held:
        at = fill(None, key)
        target[at] = _fill(old.get(at), inner, met)
    return target
