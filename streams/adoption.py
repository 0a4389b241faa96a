"""Which version of each model an engine scores with, where the models are learned elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from models.learning.model import OnlineModel
from schemas.control import ModelPublished


class Adoption:
    """Takes model versions over at their place in the log; never an earlier one than before.

    The running engine and a replay of its log share it, so that both score every event with the same version.

    Parameters
    ----------
    models
        By name: those that the engine scores with.
    key
        What snapshots are signed with.
    versions
        Those taken over so far, by model: the offset of the example that comes next. Changed in place.

    >>> from schemas.control import NOBODY
    >>> adoption = Adoption({}, b"key", {"buys": 70})
    >>> def version(n: int) -> ModelPublished:
    ...     return ModelPublished(id="m", customer=NOBODY, occurred_at=0, received_at=0, model="buys", version=n)
    >>> adoption.wants(version(70)), adoption.wants(version(140))
    (False, True)
    """

    def __init__(self, models: Mapping[str, OnlineModel], key: bytes, versions: dict[str, int]) -> None:
        self._models = models
        self._key = key
        self.versions = versions

    def wants(self, published: ModelPublished) -> bool:
        """Whether it is later than what the engine has."""
        return published.version > self.versions.get(published.model, 0)

    def take(self, name: str, version: int, snapshot: bytes | None) -> bool:
        """Score with a version from now on; False where its snapshot is None or no model has that name.

        Raises
        ------
        SnapshotError
            Where the snapshot is not that model's, not whole, or not signed with the key.
        """
        model = self._models.get(name)
        if snapshot is None or model is None:
            return False
        model.restore(snapshot, self._key)
        self.versions[name] = version
        return True
