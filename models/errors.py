"""The error of everything that is wrong with a configuration, a model or a snapshot."""

from __future__ import annotations


class ModelError(Exception):
    """Something the engine cannot work with; the message names what was found and the remedy."""


class ConfigError(ModelError):
    """A configuration that cannot be used.

    Parameters
    ----------
    where
        ``file:line`` or a path in the file.
    found
        What stands there.
    remedy
        What to write instead.

    >>> print(ConfigError("campaigns.toml:3", 'mode = "on"', 'write "off", "shadow" or "live"'))
    campaigns.toml:3: mode = "on"; write "off", "shadow" or "live"
    """

    def __init__(self, where: str, found: str, remedy: str) -> None:
        self.where = where
        self.found = found
        self.remedy = remedy
        super().__init__(f"{where}: {found}; {remedy}")


class SnapshotError(ModelError):
    """A snapshot that is forged, truncated, of another model, or of an unknown version."""
