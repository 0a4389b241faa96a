"""What each kind of event changes in a profile: one function an event type, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from schemas.base import Event

from ..config import EngineConfig
from ..draft import Draft
from . import buying, clicks, people

Handler = Callable[[Draft, Any, EngineConfig], None]

HANDLERS: Mapping[type[Event], Handler] = {**clicks.HANDLERS, **buying.HANDLERS, **people.HANDLERS}

__all__ = ["HANDLERS", "Handler"]
