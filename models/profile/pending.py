"""Predictions whose labels are not known yet, with the features they were made from."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from sys import byteorder

from msgspec import Struct

PENDING_MAX = 32


class Target(Struct, frozen=True, array_like=True, gc=False):
    """One prediction.

    Parameters
    ----------
    name
        The target, such as ``churn.late``.
    due
        ``predicted_at`` plus the horizon, frozen when the prediction was made: the label is learned then and only then.
    p
        Predicted probability, 0 to 1.
    null
        What the model without features said at that moment.
    """

    name: str
    due: int
    p: float
    null: float


class Pending(Struct, frozen=True, array_like=True, gc=False):
    """The predictions of one moment; they share the features.

    Parameters
    ----------
    predicted_at
        Milliseconds UTC.
    features
        The feature vector, packed as little-endian 32-bit floats.
    targets
        What was predicted, the earliest due first.
    bought
        Whether an order fell into an earlier interval of the hazard.
    """

    predicted_at: int
    features: bytes
    targets: tuple[Target, ...]
    bought: bool = False


def pack(features: Sequence[float]) -> bytes:
    """Pack a feature vector into 4 bytes a feature.

    >>> unpack(pack([0.5, 0.25]))
    [0.5, 0.25]
    """
    packed = array("f", features)
    if byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def unpack(packed: bytes) -> list[float]:
    """The feature vector that ``pack`` made, rounded to 32 bits."""
    features = array("f")
    features.frombytes(packed)
    if byteorder == "big":
        features.byteswap()
    return features.tolist()


def rounded(features: Sequence[float]) -> list[float]:
    """Features as they will be learned: scores use these, so that what is scored is what is learned from."""
    return array("f", features).tolist()


def next_due(pendings: Sequence[Pending]) -> int:
    """When the next label falls due, milliseconds UTC; 0 where none is pending.

    >>> next_due([Pending(0, b"", (Target("a", 9, 0.5, 0.5),)), Pending(0, b"", (Target("a", 7, 0.5, 0.5),))])
    7
    """
    return min((p.targets[0].due for p in pendings), default=0)
