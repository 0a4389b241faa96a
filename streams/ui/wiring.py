"""What the parts of the web application share: what it was made with, and its pages' files."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from aiohttp import web

from .auth import Auth
from .board import Board
from .guard import Site

HERE = Path(__file__).parent
STATIC = HERE / "static"


@dataclass
class Live:
    """Answers that go on for as long as a page is open."""

    tasks: set[asyncio.Task[Any]] = field(default_factory=set)


BOARD: web.AppKey[Board] = web.AppKey("board", Board)
AUTH: web.AppKey[Auth] = web.AppKey("auth", Auth)
SITE: web.AppKey[Site] = web.AppKey("site", Site)
LIVE: web.AppKey[Live] = web.AppKey("live", Live)
TURN: web.AppKey[asyncio.Semaphore] = web.AppKey("turn", asyncio.Semaphore)


def template(name: str) -> Template:
    """A page's file; no data is in it."""
    return Template((HERE / "pages" / name).read_text(encoding="utf-8"))
