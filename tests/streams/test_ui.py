"""Who gets into the dashboard, and what a request must bring along to change anything."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from http.cookiejar import CookieJar as Jar
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
from aiohttp import ClientResponse
from yarl import URL

from streams.connection import Connection, KafkaConnection
from streams.customer_live import Installation
from streams.embedded import Broker, Valkey
from streams.environment import redis_from_environment
from streams.redis_store import key
from streams.ui import app as ui
from streams.ui.auth import GUESSES, SESSION_S, WINDOW_S, Auth, TokenError, TooManyError, given_token
from streams.ui.guard import CSRF_HEADER, Site, site
from tests.streams.dashboards import TOKEN, WAIT_S, Client, Lived, free_port, log_in, origin, served

from .conftest import Rapport


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    with Broker(tmp_path_factory.mktemp("broker")) as broker, Valkey(tmp_path_factory.mktemp("valkey")) as valkey:
        yield Lived(broker, valkey)


@pytest.fixture
async def client(lived: Lived) -> AsyncIterator[Client]:
    """A browser that has not logged in."""
    async with served(lived.place) as client:
        yield client


async def test_without_a_log_in_there_is_nothing(client: Client) -> None:
    for path in ("/", *(f"/{name}" for name in ui.PAGES)):
        answer = await client.get(path, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/login"), path
    for path in ("stream", "funnel", "models", "campaigns", "triggers", "live"):
        assert (await client.get(f"/api/{path}")).status == 401
    for path in ("decision", "customer", "erase", "kill"):
        assert (await client.post(f"/api/{path}", json={}, headers=origin(client))).status == 401
    assert (await client.post("/logout", headers=origin(client), allow_redirects=False)).headers["Location"] == "/login"
    assert (await client.get("/static/dom.js")).status == 200
    for path in ("/static/..%2fapp.py", "/static/%2e%2e%2fapp.py", "/static/"):
        assert (await client.get(URL(path, encoded=True), allow_redirects=False)).status in (403, 404), path


async def test_every_answer_carries_the_headers(client: Client) -> None:
    await log_in(client)
    for path in ("/login", "/stream", "/api/stream", "/static/dom.js", "/nowhere", "/api/live"):
        answer = await client.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none';"), path
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == ("no-cache" if path.startswith("/static") else "no-store")
        answer.close()


async def test_the_cookie_is_for_this_site_alone(client: Client) -> None:
    answer = await client.post("/login", data={"token": TOKEN}, headers=origin(client), allow_redirects=False)
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Secure" not in cookie
    headers = await log_in(client)
    await client.post("/logout", headers=headers)
    assert (await client.get("/api/stream")).status == 401


async def test_guesses_are_few(client: Client) -> None:
    answers: list[ClientResponse] = [
        await client.post("/login", data={"token": f"guess {n}"}, headers=origin(client)) for n in range(GUESSES + 1)
    ]
    assert [answer.status for answer in answers] == [403] * GUESSES + [429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= WINDOW_S
    assert (await client.post("/login", data={"token": TOKEN}, headers=origin(client))).status == 429


async def test_changes_need_origin_and_token(client: Client, lived: Lived) -> None:
    headers = await log_in(client)
    kill = {"on": True, "confirm": "stop"}
    refused = (
        {**headers, "Origin": "http://evil.example"},
        {**headers, "Origin": "null"},
        {CSRF_HEADER: headers[CSRF_HEADER], "Sec-Fetch-Site": "cross-site"},
        {**headers, CSRF_HEADER: "another"},
        origin(client),
    )
    for one in refused:
        assert (await client.post("/api/kill", json=kill, headers=one)).status == 403, one
    assert (await client.get("/stream", headers={"Host": "evil.example"})).status == 421
    with lived.place.connection.redis.sync_client() as store:
        assert not store.exists(key("rapport", "control", "kill"))


async def test_the_kill_switch_asks_and_turns(client: Client, lived: Lived) -> None:
    headers = await log_in(client)
    with lived.place.connection.redis.sync_client() as store:
        assert (await client.post("/api/kill", json={"on": True}, headers=headers)).status == 400
        assert not store.exists(key("rapport", "control", "kill"))
        assert await (await client.post("/api/kill", json={"on": True, "confirm": "stop"}, headers=headers)).json() == {
            "killed": True
        }
        assert store.exists(key("rapport", "control", "kill"))
        assert (await (await client.get("/api/campaigns")).json())["killed"]
        await client.post("/api/kill", json={"on": False, "confirm": "resume"}, headers=headers)
        assert not store.exists(key("rapport", "control", "kill"))


async def test_what_is_no_request_is_refused(client: Client) -> None:
    headers = await log_in(client)
    for body in (b"", b"{", b"[]", b'{"customer": 7}', b'{"other": 1}', b"\xff"):
        assert (await client.post("/api/customer", data=body, headers=headers)).status == 400, body
    assert (await client.post("/api/customer", data=b"x" * 100_000, headers=headers)).status == 413


async def test_a_broker_and_a_store_that_are_away_are_told(lived: Lived) -> None:
    gone = Connection(
        KafkaConnection((f"127.0.0.1:{free_port()}",)), redis_from_environment({}, f"redis://127.0.0.1:{free_port()}/0")
    )
    async with served(Installation(gone)) as client:
        headers = await log_in(client)
        async with asyncio.timeout(WAIT_S):
            live = await client.get("/api/live")
            async for line in live.content:
                head = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data: ") else {}
                if "no broker" in head.get("kafka", "") or (
                    "refused" in head.get("kafka", "") and "no answer" in head["store"]
                ):
                    break
            live.close()
        answer = await client.post("/api/kill", json={"on": True, "confirm": "stop"}, headers=headers)
        assert answer.status == 503
        assert "nothing was changed" in (await answer.json())["error"]
        answer = await client.post("/api/customer", json={"customer": "u:1"}, headers=headers)
        assert answer.status == 503


def test_a_code_logs_in_once_and_is_over_in_time() -> None:
    now, codes = [0.0], list[str]()
    auth = Auth("", lambda: now[0], codes.append)
    cookie = auth.by_code(codes[0], "here")
    assert cookie is not None
    assert auth.session(cookie) is not None
    assert len(codes) == 2
    assert auth.by_code(codes[0], "here") is None
    now[0] = 16 * 60
    assert auth.by_code(codes[1], "here") is None
    assert len(codes) == 3, "a fresh one takes the place of one that is over"
    assert auth.by_token("", "here") is None, "no token is no token to log in with"
    now[0] = SESSION_S
    assert auth.session(cookie) is None


def test_guesses_of_all_callers_together_are_few() -> None:
    now = [0.0]
    auth = Auth(TOKEN, lambda: now[0])
    for n in range(20):
        assert auth.by_token("wrong", f"caller {n}") is None
    with pytest.raises(TooManyError):
        auth.by_token(TOKEN, "another")
    now[0] = WINDOW_S
    assert auth.by_token(TOKEN, "another")


def test_tokens_come_from_environment_or_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert given_token({"RAPPORT_UI_TOKEN_FILE": str(tmp_path / "token")}) == TOKEN
    assert given_token({"RAPPORT_UI_TOKEN": TOKEN}) == TOKEN
    for wrong in ({"RAPPORT_UI_TOKEN": "short"}, {"RAPPORT_UI_TOKEN_FILE": str(tmp_path / "none")}):
        with pytest.raises(TokenError):
            given_token(wrong)


def test_behind_a_proxy_one_address_counts() -> None:
    assert site(1, "https://rapport.example") == Site(frozenset({"https://rapport.example"}), secure=True)
    assert "127.0.0.1:8787" in site(8787).hosts


def test_the_command_prints_a_link_that_logs_in_once() -> None:
    command = [sys.executable, "-m", "streams", "ui", "--port", "0", "--kafka", f"127.0.0.1:{free_port()}"]
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    environ.pop("RAPPORT_UI_TOKEN", None)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ)
    assert process.stdout is not None
    try:
        links = [line.split()[-1] for line in (process.stdout.readline() for _ in range(2)) if "code=" in line]
        jar = Jar()
        browser = build_opener(HTTPCookieProcessor(jar))
        with browser.open(links[0]) as answer:
            assert "To the dashboard" in answer.read().decode()
        address = links[0].partition("/login")[0]
        with browser.open(f"{address}/api/triggers") as answer:
            assert json.load(answer)["rows"] == []
        fresh = process.stdout.readline()
        assert "code=" in fresh
        assert fresh.split()[-1] != links[0]
        with pytest.raises(HTTPError) as refused:
            build_opener().open(links[0])
        assert refused.value.code == 403
        assert "used or is over" in refused.value.read().decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    finally:
        process.kill()
        process.wait()


def test_the_command_names_the_remedy(rapport: Rapport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAPPORT_UI_TOKEN", raising=False)
    ended = rapport("ui", "--host", "0.0.0.0")
    assert (ended.code, "set RAPPORT_UI_TOKEN" in ended.err) == (1, True)
    ended = rapport("ui", "--origin", "rapport.example.com/ui")
    assert (ended.code, "write https://rapport.example.com" in ended.err) == (1, True)
    monkeypatch.setenv("RAPPORT_UI_TOKEN", "short")
    ended = rapport("ui")
    assert (ended.code, "write 16 or more" in ended.err) == (1, True)
    assert "short" not in ended.err
