"""Who may look: a token, one-time codes, sessions, and a limit on guesses. Values and clocks are passed in."""

from __future__ import annotations

import hmac
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from ..errors import StreamError, system_reason

TOKEN_VARIABLE = "RAPPORT_UI_TOKEN"
TOKEN_LEAST = 16
SESSION_S = 12 * 3600.0
CODE_S = 15 * 60.0
SESSIONS = 100
GUESSES = 5
ALL_GUESSES = 20
WINDOW_S = 60.0
CALLERS = 1_000


class TokenError(StreamError):
    """A token that cannot be used."""


def given_token(environ: Mapping[str, str]) -> str:
    """The token from the environment, or the file that it names; empty where neither is set.

    Raises
    ------
    TokenError
        Where it is short, or the file cannot be read.

    >>> given_token({})
    ''
    >>> given_token({"RAPPORT_UI_TOKEN": "short"})
    Traceback (most recent call last):
    ...
    streams.ui.auth.TokenError: RAPPORT_UI_TOKEN: found 5 characters; write 16 or more, such as openssl rand -hex 16 gives
    """
    name, file = TOKEN_VARIABLE, environ.get(f"{TOKEN_VARIABLE}_FILE")
    token = environ.get(TOKEN_VARIABLE, "")
    if file:
        name = f"{TOKEN_VARIABLE}_FILE"
        try:
            token = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            found = system_reason(error) if isinstance(error, OSError) else "no text"
            raise TokenError(name, found, "name a readable file that holds the token") from error
    if (token or file) and len(token) < TOKEN_LEAST:
        found = f"{len(token)} characters"
        raise TokenError(name, found, f"write {TOKEN_LEAST} or more, such as openssl rand -hex 16 gives")
    return token


@dataclass(frozen=True)
class Session:
    """A log-in: when it ends, seconds of the clock, and what every change must bring along."""

    until: float
    csrf: str


class TooManyError(Exception):
    """Too many wrong guesses.

    Parameters
    ----------
    seconds
        After which one more is heard.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"{seconds:.0f} s")


@dataclass
class Guesses:
    """Wrong guesses of the last minute: at most ``GUESSES`` of a caller, ``ALL_GUESSES`` of all callers together."""

    _by_caller: dict[str, deque[float]] = field(default_factory=dict)
    _all: deque[float] = field(default_factory=deque)

    def check(self, caller: str, now: float) -> None:
        """See that the caller may guess.

        Raises
        ------
        TooManyError
            Where it may not, for now.
        """
        for guesses, most in ((self._by_caller.get(caller, deque()), GUESSES), (self._all, ALL_GUESSES)):
            while guesses and guesses[0] <= now - WINDOW_S:
                guesses.popleft()
            if len(guesses) >= most:
                raise TooManyError(guesses[0] + WINDOW_S - now)

    def wrong(self, caller: str, now: float) -> None:
        """Note a wrong guess."""
        if caller not in self._by_caller and len(self._by_caller) >= CALLERS:
            del self._by_caller[next(iter(self._by_caller))]
        self._by_caller.setdefault(caller, deque()).append(now)
        self._all.append(now)


class Auth:
    """Log-ins of one process; they end with it.

    Parameters
    ----------
    token
        What logs in; empty: one-time codes alone do.
    clock
        Seconds; never goes back.
    on_code
        Called with a fresh one-time code, once the last one is used or over.

    >>> now, codes = [0.0], []
    >>> auth = Auth("", lambda: now[0], codes.append)
    >>> cookie = auth.by_code(codes[0], "here")
    >>> auth.session(cookie) is not None, auth.by_code(codes[0], "here"), len(codes)
    (True, None, 2)
    """

    def __init__(self, token: str, clock: Callable[[], float], on_code: Callable[[str], None] | None = None) -> None:
        self._token = token
        self._clock = clock
        self._on_code = on_code
        self._sessions: dict[bytes, Session] = {}
        self._guesses = Guesses()
        self._code = ""
        self._code_until = 0.0
        if on_code is not None:
            self._fresh_code()

    @property
    def has_token(self) -> bool:
        """Whether there is a token to log in with."""
        return bool(self._token)

    def by_token(self, token: str, caller: str) -> str | None:
        """Log in; returns the cookie's value, None where the token is wrong.

        Raises
        ------
        TooManyError
            Where the caller has guessed too often.
        """
        self._guesses.check(caller, self._clock())
        if self._token and _same(token, self._token):
            return self._log_in()
        self._guesses.wrong(caller, self._clock())
        return None

    def by_code(self, code: str, caller: str) -> str | None:
        """Log in with a one-time code; where it is over or used, another one is told to ``on_code``.

        Raises
        ------
        TooManyError
            Where the caller has guessed too often.
        """
        now = self._clock()
        self._guesses.check(caller, now)
        right = bool(self._code) and _same(code, self._code)
        if right and now < self._code_until:
            self._fresh_code()
            return self._log_in()
        if right:
            self._fresh_code()
        self._guesses.wrong(caller, now)
        return None

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie; None where there is none, or it is over."""
        key = _hashed(cookie)
        found = self._sessions.get(key)
        if found is not None and found.until <= self._clock():
            del self._sessions[key]
            return None
        return found

    def log_out(self, cookie: str) -> None:
        """End a session."""
        self._sessions.pop(_hashed(cookie), None)

    def _log_in(self) -> str:
        cookie = secrets.token_urlsafe(32)
        while len(self._sessions) >= SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[_hashed(cookie)] = Session(self._clock() + SESSION_S, secrets.token_urlsafe(24))
        return cookie

    def _fresh_code(self) -> None:
        if self._on_code is not None:
            self._code, self._code_until = secrets.token_urlsafe(24), self._clock() + CODE_S
            self._on_code(self._code)


def _same(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode(errors="replace"), b.encode())


def _hashed(cookie: str) -> bytes:
    return sha256(cookie.encode(errors="replace")).digest()
