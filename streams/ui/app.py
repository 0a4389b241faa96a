"""The dashboard's web application: its routes and pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from html import escape
from typing import Any

from aiohttp import web

from ..customer_live import Installation
from ..topic_plan import Clock
from . import answers, entrance, views
from .auth import Auth
from .board import Board
from .guard import SESSION, Site, guard, set_headers
from .wiring import AUTH, BOARD, LIVE, SITE, STATIC, TURN, Live, template

BODY_MOST = 8_192
LOOK_UPS = 2
"""Customers that are looked up at a time: each reads a partition of the log."""
PAGES = {
    "stream": "Stream",
    "funnel": "Funnel",
    "triggers": "Triggers",
    "models": "Models",
    "customer": "Customer",
    "campaigns": "Campaigns",
}


def application(place: Installation, auth: Auth, site: Site, clock: Clock = "wall") -> web.Application:
    """The dashboard of an installation.

    Parameters
    ----------
    place
        Which installation.
    auth
        Who may look.
    site
        Under which addresses.
    clock
        Of the workers.
    """
    app = web.Application(middlewares=[guard(auth, site)], client_max_size=BODY_MOST)
    app[AUTH], app[SITE], app[TURN] = auth, site, asyncio.Semaphore(LOOK_UPS)
    app[LIVE] = Live()
    app[BOARD] = Board(place, clock)
    app.on_response_prepare.append(_headers)
    app.cleanup_ctx.append(_running)
    app.on_shutdown.append(_end_live)
    app.router.add_get("/", _home)
    app.router.add_get("/login", entrance.login_page)
    app.router.add_post("/login", entrance.login)
    app.router.add_post("/logout", entrance.logout)
    for name in PAGES:
        app.router.add_get(f"/{name}", _page(name))
    app.router.add_get("/api/live", answers.live)
    for name, view in {
        "stream": views.stream,
        "funnel": views.funnel,
        "models": views.models,
        "campaigns": views.campaigns,
    }.items():
        app.router.add_get(f"/api/{name}", answers.view(view))
    app.router.add_get("/api/triggers", answers.triggers)
    app.router.add_post("/api/decision", answers.decision)
    app.router.add_post("/api/customer", answers.customer)
    app.router.add_post("/api/time-line", answers.time_line)
    app.router.add_post("/api/erase", answers.erase)
    app.router.add_post("/api/kill", answers.kill)
    app.router.add_static("/static/", STATIC)
    return app


async def _headers(request: web.Request, answer: web.StreamResponse) -> None:
    set_headers(answer, request.app[SITE], request.path)


async def _running(app: web.Application) -> AsyncIterator[None]:
    app[BOARD].start()
    yield
    await app[BOARD].stop()


async def _end_live(app: web.Application) -> None:
    for task in set(app[LIVE].tasks):
        task.cancel()


async def _home(_: web.Request) -> web.StreamResponse:
    raise web.HTTPSeeOther("/stream")


def _page(name: str) -> Callable[[web.Request], Any]:
    layout, content = template("layout.html"), template(f"{name}.html").template

    async def page(request: web.Request) -> web.StreamResponse:
        links = "".join(
            f'<li><a href="/{other}"{" aria-current=page" if other == name else ""}>{title}</a></li>'
            for other, title in PAGES.items()
        )
        text = layout.substitute(
            title=PAGES[name], name=name, links=links, content=content, csrf=escape(request[SESSION].csrf)
        )
        return web.Response(text=text, content_type="text/html")

    return page
