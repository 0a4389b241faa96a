"""``rapport example``: a file to start from."""

from __future__ import annotations

from importlib.resources import files

from models.policy.reading import Settings, read

from . import common


def example_text() -> str:
    """The shipped campaigns."""
    return (files("streams") / "example_campaigns.toml").read_text(encoding="utf-8")


def example_settings() -> Settings:
    """The same, read."""
    return read(example_text(), "examples/campaigns.toml")


def example() -> None:
    """Print the campaigns of the demo, to start your own from.

    Example: rapport example > campaigns.toml
    """
    common.out.file.write(example_text())
