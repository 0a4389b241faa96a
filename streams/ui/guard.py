"""What every request passes: the host it was sent to, its log-in, its origin; and the headers of every answer."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from ..errors import StreamError
from .auth import Auth, Session

COOKIE = "rapport-ui"
CSRF_HEADER = "X-Rapport-Csrf"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
OPEN = frozenset({"/login"})
SESSION: web.RequestKey[Session] = web.RequestKey("session", Session)

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "X-Robots-Tag": "noindex",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Site:
    """Under which addresses browsers know the dashboard.

    Parameters
    ----------
    origins
        As in ``http://127.0.0.1:8787``; another host or origin is refused, so that no foreign name can be led here.
    secure
        Whether browsers reach it by https only.
    """

    origins: frozenset[str]
    secure: bool = False

    @property
    def hosts(self) -> frozenset[str]:
        """What a request may give as its host."""
        return frozenset(urlsplit(origin).netloc for origin in self.origins)


def site(port: int, origin: str = "") -> Site:
    """The loopback addresses of a port, or the one address that a reverse proxy has.

    Raises
    ------
    StreamError
        Where the origin is none.

    >>> site(80, "https://rapport.example").hosts, site(80, "https://rapport.example").secure
    (frozenset({'rapport.example'}), True)
    """
    if not origin:
        return Site(frozenset(f"http://{host}:{port}" for host in LOOPBACK))
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.username:
        raise StreamError("--origin", "no address of a site", "write https://rapport.example.com, without a path")
    return Site(frozenset({f"{parts.scheme}://{parts.netloc}"}), parts.scheme == "https")


def guard(auth: Auth, site: Site) -> Middleware:
    """The middleware that refuses what may not pass."""

    @web.middleware
    async def pass_(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await _passed(request, handler, auth, site)

    return pass_


def set_headers(answer: web.StreamResponse, site: Site, path: str) -> None:
    """Set what every answer carries; only what is the same for everybody may be kept by a browser."""
    answer.headers.update(HEADERS)
    answer.headers["Server"] = "rapport"  # its version is nobody's business
    if site.secure:
        answer.headers["Strict-Transport-Security"] = "max-age=31536000"
    answer.headers["Cache-Control"] = "no-cache" if path.startswith("/static/") else "no-store"


async def _passed(request: web.Request, handler: Handler, auth: Auth, site: Site) -> web.StreamResponse:
    if request.host not in site.hosts:
        raise web.HTTPMisdirectedRequest(text="another host: name this one with rapport ui --origin\n")
    if request.method not in ("GET", "HEAD") and not _of_site(request, site):
        raise web.HTTPForbidden(text="a request of another site\n")
    if request.path.startswith("/static/") or request.path in OPEN:
        return await handler(request)
    session = auth.session(request.cookies.get(COOKIE, ""))
    if session is None:
        if request.path.startswith("/api/"):
            raise web.HTTPUnauthorized(text="log in\n")
        raise web.HTTPSeeOther("/login")
    if request.method not in ("GET", "HEAD") and not await _csrf(request, session):
        raise web.HTTPForbidden(text="the page is of another log-in: load it again\n")
    request[SESSION] = session
    return await handler(request)


def _of_site(request: web.Request, site: Site) -> bool:
    """Whether the site's own page sent it: browsers name the origin of every change."""
    origin = request.headers.get("Origin")
    if origin is not None:
        return origin in site.origins
    return request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"


async def _csrf(request: web.Request, session: Session) -> bool:
    given = request.headers.get(CSRF_HEADER)
    if given is None and request.content_type == "application/x-www-form-urlencoded":
        given = str((await request.post()).get("csrf", ""))
    return hmac.compare_digest((given or "").encode(), session.csrf.encode())
