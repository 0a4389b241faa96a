"""What pages ask for and want changed: JSON, and what is told live."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from aiohttp import web
from redis.exceptions import RedisError

from ..errors import StreamError
from . import customer as customers
from . import views
from .board import Board
from .guard import COOKIE
from .wiring import AUTH, BOARD, LIVE, TURN

log = structlog.get_logger(__name__)
COMPRESSED = 2_048
PROGRESS_S = 0.5
PAGES_MOST = 100
"""Pages that are told live at a time."""

_encoder = msgspec.json.Encoder(decimal_format="string")


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """What a page asks for or wants changed."""

    customer: str = ""
    decision: str = ""
    confirm: str = ""
    on: bool = False


def _json(value: Any, status: int = 200) -> web.Response:
    body = _encoder.encode(value)
    answer = web.Response(body=body, status=status, content_type="application/json")
    if len(body) > COMPRESSED:
        answer.enable_compression()
    return answer


def view(of: Callable[[Board], Any]) -> Callable[[web.Request], Any]:
    """Answers with what a view reads off the board."""

    async def get(request: web.Request) -> web.StreamResponse:
        return _json(of(request.app[BOARD]))

    return get


async def live(request: web.Request) -> web.StreamResponse:
    """Server-sent events: the state of the sources, and which pages have something new."""
    if len(request.app[LIVE].tasks) >= PAGES_MOST:
        raise web.HTTPServiceUnavailable(text="too many open pages\n")
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


async def triggers(request: web.Request) -> web.StreamResponse:
    """Decisions with a higher number than the page has."""
    after = request.query.get("after", "0")
    return _json(views.rows(request.app[BOARD], int(after) if after.isdigit() and len(after) < 16 else 0))


async def _asked(request: web.Request) -> Asked:
    try:
        return msgspec.json.decode(await request.read(), type=Asked)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from error


async def decision(request: web.Request) -> web.StreamResponse:
    """A decision record."""
    board = request.app[BOARD]
    row = board.seen.get((await _asked(request)).decision)
    if row is None:
        return _json({"error": "It is no longer among the latest decisions: look its customer up."}, 404)
    return _json(views.record(row, views.goal_of(board, row.decision)))


async def customer(request: web.Request) -> web.StreamResponse:
    """What the store knows of a customer."""
    asked = await _asked(request)
    try:
        wanted = customers.checked(asked.customer)
        board = request.app[BOARD]
        if not board.partitions:
            return _json({"error": f"The log is not known yet: {board.progress.trouble or 'it is being read'}"}, 503)
        return _json(await customers.known(wanted, board.place, board.partitions))
    except StreamError as error:
        return _json({"error": str(error)}, 400 if isinstance(error, customers.UnknownError) else 503)


async def time_line(request: web.Request) -> web.StreamResponse:
    """Lines of JSON: how far the log is read, and in the end the time line, or why there is none."""
    asked, board = await _asked(request), request.app[BOARD]
    answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "X-Accel-Buffering": "no"})
    await answer.prepare(request)
    loop = asyncio.get_running_loop()
    latest: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        loop.call_soon_threadsafe(latest.append, (done, total))

    async with request.app[TURN]:
        reading = asyncio.create_task(
            asyncio.to_thread(customers.time_line, asked.customer.strip(), board.place, progress)
        )
        while not (await asyncio.wait({reading}, timeout=PROGRESS_S))[0]:
            if latest:
                await _tell(answer, {"progress": latest[-1]})
                latest.clear()
    try:
        found = await reading
    except StreamError as error:
        found = {"error": str(error)}
    await _tell(answer, found)
    return answer


async def _tell(answer: web.StreamResponse, value: Any) -> None:
    """A line of JSON; a page that has gone is told nothing, and its reading is waited for all the same."""
    with contextlib.suppress(ConnectionError):
        await answer.write(_encoder.encode(value) + b"\n")


async def erase(request: web.Request) -> web.StreamResponse:
    """Ask for an erasure, confirmed by the id."""
    asked, board = await _asked(request), request.app[BOARD]
    try:
        wanted = customers.checked(asked.customer)
        if asked.confirm.strip() != wanted:
            return _json({"error": "The id typed to confirm is another one: nothing was erased."}, 400)
        clock = board.stored.clock
        # a time far ahead of played history would make all its timers fall due
        playing = bool(clock) and (board.clock == "event" or abs(time.time() * 1000 - clock) > customers.PLAYED_MS)
        request_id = await asyncio.to_thread(customers.erase, wanted, board.place, clock if playing else 0)
    except StreamError as error:
        return _json({"error": str(error)}, 400 if isinstance(error, customers.UnknownError) else 503)
    log.info("erasure asked for", request=request_id, remote=request.remote)
    return _json({"request": request_id})


async def kill(request: web.Request) -> web.StreamResponse:
    """Turn the kill switch, confirmed by a word."""
    asked, board = await _asked(request), request.app[BOARD]
    if asked.confirm != ("stop" if asked.on else "resume"):
        return _json({"error": "Not confirmed: nothing was changed."}, 400)
    try:
        await board.kill(asked.on)
    except (RedisError, OSError) as error:
        return _json({"error": f"The state store does not answer ({type(error).__name__}): nothing was changed."}, 503)
    log.warning("kill switch turned", on=asked.on, remote=request.remote)
    return _json({"killed": asked.on})
