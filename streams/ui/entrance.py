"""Logging in and out."""

from __future__ import annotations

from html import escape

import structlog
from aiohttp import web

from .auth import TooManyError
from .guard import COOKIE
from .wiring import AUTH, SITE, template

log = structlog.get_logger(__name__)


async def login_page(request: web.Request) -> web.StreamResponse:
    """The form; with a one-time code in its address it logs in."""
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
    text = template("entered.html").substitute()
    return _with_cookie(request, cookie, web.Response(text=text, content_type="text/html"))


async def login(request: web.Request) -> web.StreamResponse:
    """Log in by the token."""
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
    form = template("login-token.html" if request.app[AUTH].has_token else "login-code.html")
    text = template("login.html").substitute(form=form.substitute(message=escape(message)))
    return web.Response(text=text, status=status, content_type="text/html")


def _with_cookie(request: web.Request, cookie: str, answer: web.Response) -> web.Response:
    secure = request.app[SITE].secure
    answer.set_cookie(COOKIE, cookie, httponly=True, samesite="Strict", secure=secure, path="/")
    return answer


async def logout(request: web.Request) -> web.StreamResponse:
    """End the session."""
    request.app[AUTH].log_out(request.cookies.get(COOKIE, ""))
    answer = web.Response(status=303, headers={"Location": "/login"})
    answer.del_cookie(COOKIE, path="/")
    return answer
