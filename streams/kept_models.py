"""Model snapshots in a folder: the versions that a recorded log names, as the learner signed them."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from models.errors import SnapshotError
from models.learning.snapshots import unseal

from .errors import StreamError
from .files import FileError, write_whole
from .store import Store


class Version(NamedTuple):
    """A version of a model: its name, and the offset of the example that it learns next.

    >>> str(Version("churn.late", 1200))
    'churn.late@1200'
    """

    model: str
    offset: int

    def __str__(self) -> str:
        return f"{self.model}@{self.offset}"


class KeptModelError(StreamError):
    """A kept snapshot that cannot be used."""


class KeptModels:
    """A folder with a file for each version; recordings of several partitions can share one, as they name the same.

    Parameters
    ----------
    folder
        Made when the first version is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, version: Version) -> Path:
        """The file of a version.

        >>> KeptModels(Path("models")).path(Version("../x", 7)).as_posix()
        'models/..%2Fx@7'
        """
        return self.folder / f"{quote(version.model, safe='')}@{version.offset}"

    def load(self, version: Version) -> bytes | None:
        """The snapshot; None where it is not kept.

        Raises
        ------
        FileError
            Where it is there and cannot be read.
        """
        path = self.path(version)
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise FileError(str(path), error.strerror or str(error), "check its permissions") from error

    async def save(self, versions: Iterable[Version], store: Store) -> list[Version]:
        """Copy what the store still keeps; returns what neither it nor the folder does.

        Raises
        ------
        FileError
            Where the folder cannot be written.
        """
        missing = []
        for version in versions:
            if self.path(version).is_file():
                continue
            kept = await store.model(*version)
            if kept is None:
                missing.append(version)
            else:
                write_whole(self.path(version), kept.data)
        return missing

    def digest(self, versions: Iterable[Version]) -> str:
        """A short digest of what is kept of some versions, and of which are not."""
        hashed = blake2b(digest_size=8)
        for version in sorted(versions):
            data = self.load(version)
            hashed.update(f"{version} {'gone' if data is None else len(data)}\n".encode())
            hashed.update(data or b"")
        return hashed.hexdigest()

    def check(self, versions: Iterable[Version], key: bytes) -> None:
        """See that those that are kept are whole and signed with ``key``.

        Raises
        ------
        KeptModelError
            Where one is not.
        """
        for version in versions:
            data = self.load(version)
            if data is None:
                continue
            try:
                unseal(data, version.model, key)
            except SnapshotError as error:
                remedy = "give the key that the workers have, record the log again, or name another folder: --models"
                raise KeptModelError(str(self.path(version)), f"no snapshot to go by ({error})", remedy) from error
