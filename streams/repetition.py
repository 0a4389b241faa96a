"""Whether the replay of a recorded log repeats what the running engine did, and from where on it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from schemas.control import ModelPublished

from .kept_models import Version
from .recorded import RecordedLog
from .run import Published


class Missing(NamedTuple):
    """A model version that is not kept, and the number of the log's record, from 1, at which the engine took it over."""

    version: Version
    record: int


class Repetition:
    """Gives a run the model versions of its log, and keeps count of those that are gone.

    Parameters
    ----------
    record
        Gives the number of the record that is being read.
    """

    def __init__(self, log: RecordedLog, record: Callable[[], int]) -> None:
        self.log = log
        self.adopted = 0
        self.missing: list[Missing] = []
        self._record = record

    def published(self, key: bytes) -> Published | None:
        """Where the run's model versions come from; None where it learns by itself.

        Raises
        ------
        KeptModelError
            Where one of them is broken, or signed with another key.
        """
        if self.log.models is None:
            return None
        self.log.models.check(self.log.versions, key)
        return Published(self._kept, self._missing, key)

    def _kept(self, published: ModelPublished) -> bytes | None:
        assert self.log.models is not None
        snapshot = self.log.models.load(Version(published.model, published.version))
        self.adopted += snapshot is not None
        return snapshot

    def _missing(self, published: ModelPublished) -> None:
        self.missing.append(Missing(Version(published.model, published.version), self._record()))

    def figures(self, resumed: bool) -> dict[str, Any]:
        """What is known of its exactness.

        Parameters
        ----------
        resumed
            Whether the run went on from a saved state: whether that is the log's, nobody knows.
        """
        inexact_from = None
        exact: bool | None = None if resumed or self.log.start is None else True
        if self.missing:
            exact, inexact_from = False, self.missing[0].record
        if self.log.start and not resumed:
            exact, inexact_from = False, 1
        return {
            "exact": exact,
            "inexact_from": inexact_from,
            "start": self.log.start,
            "learning": "here" if self.log.models is None else "elsewhere",
            "adopted": self.adopted,
            "missing": [
                {"model": missing.version.model, "version": missing.version.offset, "record": missing.record}
                for missing in self.missing
            ],
        }
