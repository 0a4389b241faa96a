"""The dashboard's web application: routes, pages, and what they answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import msgspec
import structlog
from aiohttp import web
from redis.exceptions import RedisError

from ..customer_live import Installation
from ..errors import StreamError
from . import customer, views
from .auth import Auth, TooManyError
from .board import Board
from .guard import COOKIE, SESSION, Site, guard, set_headers

log = structlog.get_logger(__name__)
HERE = Path(__file__).parent
BODY_MOST = 8_192
COMPRESSED = 2_048
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


@dataclass
class Live:
    """Answers that go on for as long as a page is open."""

    tasks: set[asyncio.Task[Any]] = field(default_factory=set)


BOARD: web.AppKey[Board] = web.AppKey("board", Board)
AUTH: web.AppKey[Auth] = web.AppKey("auth", Auth)
SITE: web.AppKey[Site] = web.AppKey("site", Site)
LIVE: web.AppKey[Live] = web.AppKey("live", Live)
TURN: web.AppKey[asyncio.Semaphore] = web.AppKey("turn", asyncio.Semaphore)

_encoder = msgspec.json.Encoder(decimal_format="string")


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """What a page asks for or wants changed."""

    customer: str = ""
    decision: str = ""
    confirm: str = ""
    on: bool = False


def application(place: Installation, auth: Auth, site: Site) -> web.Application:
    """The dashboard of an installation.

    Parameters
    ----------
    place
        Which installation.
    auth
        Who may look.
    site
        Under which addresses.
    """
    app = web.Application(middlewares=[guard(auth, site)], client_max_size=BODY_MOST)
    app[AUTH], app[SITE], app[TURN] = auth, site, asyncio.Semaphore(LOOK_UPS)
    app[LIVE] = Live()
    app[BOARD] = Board(place)
    app.on_response_prepare.append(_headers)
    app.cleanup_ctx.append(_running)
    app.on_shutdown.append(_end_live)
    app.router.add_get("/", _home)
    app.router.add_get("/login", _login_page)
    app.router.add_post("/login", _login)
    app.router.add_post("/logout", _logout)
    for name in PAGES:
        app.router.add_get(f"/{name}", _page(name))
    app.router.add_get("/api/live", _live)
    for name, view in {
        "stream": views.stream,
        "funnel": views.funnel,
        "models": views.models,
        "campaigns": views.campaigns,
    }.items():
        app.router.add_get(f"/api/{name}", _view(view))
    app.router.add_get("/api/triggers", _triggers)
    app.router.add_post("/api/decision", _decision)
    app.router.add_post("/api/customer", _customer)
    app.router.add_post("/api/erase", _erase)
    app.router.add_post("/api/kill", _kill)
    app.router.add_static("/static/", HERE / "static")
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


def _layout(name: str) -> Template:
    return Template((HERE / "pages" / name).read_text(encoding="utf-8"))


async def _home(_: web.Request) -> web.StreamResponse:
    raise web.HTTPSeeOther("/stream")


def _page(name: str) -> Callable[[web.Request], Any]:
    layout, content = _layout("layout.html"), _layout(f"{name}.html").template

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


def _json(value: Any, status: int = 200) -> web.Response:
    body = _encoder.encode(value)
    answer = web.Response(body=body, status=status, content_type="application/json")
    if len(body) > COMPRESSED:
        answer.enable_compression()
    return answer


def _view(view: Callable[[Board], Any]) -> Callable[[web.Request], Any]:
    async def get(request: web.Request) -> web.StreamResponse:
        return _json(view(request.app[BOARD]))

    return get


async def _login_page(request: web.Request) -> web.StreamResponse:
    auth = request.app[AUTH]
    if "code" not in request.query:
        return _login_form(request, "")
    try:
        cookie = auth.by_code(request.query["code"], request.remote or "")
    except TooManyError as error:
        return _too_many(request, error)
    if cookie is None:
        return _login_form(
            request, "This link has been used or is over. The terminal of rapport ui shows a fresh one.", 403
        )
    # a page that goes on by itself: a cookie for this site alone is not sent where another site's link led here
    text = _layout("entered.html").substitute()
    return _with_cookie(request, cookie, web.Response(text=text, content_type="text/html"))


async def _login(request: web.Request) -> web.StreamResponse:
    given = str((await request.post()).get("token", ""))
    try:
        cookie = request.app[AUTH].by_token(given, request.remote or "")
    except TooManyError as error:
        return _too_many(request, error)
    if cookie is None:
        log.warning("a log-in with a wrong token", remote=request.remote)
        return _login_form(request, "That is not the token.", 403)
    return _with_cookie(request, cookie, web.Response(status=303, headers={"Location": "/stream"}))


def _too_many(request: web.Request, error: TooManyError) -> web.Response:
    seconds = max(1, round(error.seconds))
    answer = _login_form(request, f"Too many wrong tries: wait {seconds} seconds.", 429)
    answer.headers["Retry-After"] = str(seconds)
    return answer


def _login_form(request: web.Request, message: str, status: int = 200) -> web.Response:
    form = _layout("login.html" if request.app[AUTH].has_token else "login-code.html")
    text = form.substitute(message=escape(message))
    return web.Response(text=text, status=status, content_type="text/html")


def _with_cookie(request: web.Request, cookie: str, answer: web.Response) -> web.Response:
    secure = request.app[SITE].secure
    answer.set_cookie(COOKIE, cookie, httponly=True, samesite="Strict", secure=secure, path="/")
    return answer


async def _logout(request: web.Request) -> web.StreamResponse:
    request.app[AUTH].log_out(request.cookies.get(COOKIE, ""))
    answer = web.Response(status=303, headers={"Location": "/login"})
    answer.del_cookie(COOKIE, path="/")
    return answer


async def _live(request: web.Request) -> web.StreamResponse:
    """Server-sent events: the state of the sources, and which pages have something new."""
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    await answer.prepare(request)
    task = asyncio.current_task()
    assert task is not None
    tasks = request.app[LIVE].tasks
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    cookie = request.cookies.get(COOKIE, "")
    with contextlib.suppress(ConnectionError):
        async for head in request.app[BOARD].changes():
            if request.app[AUTH].session(cookie) is None:
                await answer.write(b"event: out\ndata: {}\n\n")
                break
            await answer.write(b"data: " + _encoder.encode(head) + b"\n\n")
    return answer


async def _triggers(request: web.Request) -> web.StreamResponse:
    after = request.query.get("after", "0")
    return _json(views.rows(request.app[BOARD], int(after) if after.isdigit() and len(after) < 16 else 0))


async def _asked(request: web.Request) -> Asked:
    try:
        return msgspec.json.decode(await request.read(), type=Asked)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from error


async def _decision(request: web.Request) -> web.StreamResponse:
    board = request.app[BOARD]
    row = board.seen.get((await _asked(request)).decision)
    if row is None:
        return _json({"error": "It is no longer among the latest decisions: look its customer up."}, 404)
    return _json(views.record(row, views.goal_of(board, row.decision)))


async def _customer(request: web.Request) -> web.StreamResponse:
    asked = await _asked(request)
    try:
        wanted = customer.checked(asked.customer)
        async with request.app[TURN]:
            return _json(await asyncio.to_thread(customer.found, wanted, request.app[BOARD].place))
    except StreamError as error:
        return _json({"error": str(error)}, 400 if isinstance(error, customer.UnknownError) else 503)


async def _erase(request: web.Request) -> web.StreamResponse:
    asked, board = await _asked(request), request.app[BOARD]
    try:
        wanted = customer.checked(asked.customer)
        if asked.confirm.strip() != wanted:
            return _json({"error": "The id typed to confirm is another one: nothing was erased."}, 400)
        clock = board.stored.clock
        playing = bool(clock) and abs(time.time() * 1000 - clock) > customer.PLAYED_MS
        request_id = await asyncio.to_thread(customer.erase, wanted, board.place, clock if playing else 0)
    except StreamError as error:
        return _json({"error": str(error)}, 400 if isinstance(error, customer.UnknownError) else 503)
    log.info("erasure asked for", request=request_id, remote=request.remote)
    return _json({"request": request_id})


async def _kill(request: web.Request) -> web.StreamResponse:
    asked, board = await _asked(request), request.app[BOARD]
    if asked.confirm != ("stop" if asked.on else "resume"):
        return _json({"error": "Not confirmed: nothing was changed."}, 400)
    try:
        await board.kill(asked.on)
    except (RedisError, OSError) as error:
        return _json({"error": f"The state store does not answer ({type(error).__name__}): nothing was changed."}, 503)
    log.warning("kill switch turned", on=asked.on, remote=request.remote)
    return _json({"killed": asked.on})
