"""The dashboard: who gets in, what each page is told, and the two things it can change, on the embedded broker and store."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from aiohttp import ClientResponse, CookieJar
from aiohttp.test_utils import TestClient, TestServer
from kafka import KafkaProducer  # type: ignore[import-untyped]  # it ships no types
from yarl import URL

from models.evaluation import effect
from models.evaluation.first_decisions import FirstDecisions
from models.profile import profile as profiles
from models.profile.journey import STAGES
from models.profile.profile import Profile
from schemas.codec import encode_conversion, encode_dead_letter, encode_decision, encode_event
from schemas.control import TimerDue
from schemas.dead_letters import DeadLetter
from schemas.decisions import Conversion, Decision
from schemas.events import AnyEvent
from schemas.identity import ErasureRequested
from schemas.intake import Intake
from streams import log_reader, topics
from streams.clients import reader
from streams.connection import Connection, KafkaConnection
from streams.customer_live import Installation
from streams.embedded import Broker, Valkey
from streams.emitting import encode_example
from streams.environment import redis_from_environment
from streams.redis_store import key
from streams.run import Run
from streams.stepping import State
from streams.topic_plan import TopicPlan
from streams.ui import app as ui
from streams.ui.auth import GUESSES, SESSION_S, WINDOW_S, Auth, TokenError, TooManyError, given_token
from streams.ui.board import Board
from streams.ui.guard import CSRF_HEADER, Site, site
from streams.ui.learned import Learned
from streams.ui.seen import ARRIVALS, RING, Read, Seen
from tests.support import START, busy, stream

TOKEN = "a-token-of-some-length"
WAIT_S = 40.0
Client = TestClient[Any, Any]


class Lived:
    """What workers left in the topics and the store of one partition."""

    def __init__(self, broker: Broker, valkey: Valkey) -> None:
        self.place = Installation(
            Connection(KafkaConnection((broker.address,)), redis_from_environment({}, valkey.url)), settings=busy()
        )
        self.decisions: list[Decision] = []
        self.conversions: list[Conversion] = []
        self.examples: list[bytes] = []
        self.customers: list[str] = []
        written: list[tuple[str, str, bytes]] = []

        def log(event: Any, before: Profile | None, step: Any) -> None:
            self.examples += map(encode_example, step.examples)
            self.customers.append(event.customer)
            if not isinstance(event, TimerDue):
                written.append(("events", event.customer, encode_event(cast("AnyEvent", event))))

        def decided(one: Decision) -> None:
            self.decisions.append(one)
            written.append(("decisions", one.customer, encode_decision(one)))

        def converted(one: Conversion) -> None:
            self.conversions.append(one)
            written.append(("decisions", one.customer, encode_conversion(one)))

        self.run = Run(busy(), decided, converted, on_step=log)
        self.run.drain(stream(5, 1500))
        decided(msgspec.structs.replace(self.decisions[-1], id="stopped", suppressed={"cart": "cap_campaign"}))
        letter = DeadLetter(
            origin="clickstream[0]@7",
            reason="not_json",
            field="$",
            found="<b>x</b>",
            remedy="send JSON",
            received_at=9,
            size=1,
        )
        written += [("dead-letters", "clickstream[0]@7", encode_dead_letter(letter))] * 3
        topics.create(self.place.connection.kafka, TopicPlan(partitions=1, raw_partitions=1, clock="event"))
        producer = KafkaProducer(bootstrap_servers=broker.address, enable_idempotence=False)
        for topic, name, value in written:
            producer.send(topic, value, name.encode(), partition=0)
        producer.close()
        with self.place.connection.redis.sync_client() as store:
            for customer, profile in self.run.profiles.items():
                store.hset(key("rapport", 0, "profiles"), customer, profiles.encode(profile))
            store.rpush(key("rapport", 0, "wal"), *self.examples)
            state = msgspec.msgpack.encode(State(clock=self.run.partition.clock))
            store.hset(key("rapport", 0, "meta"), "state", state)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    with Broker(tmp_path_factory.mktemp("broker")) as broker, Valkey(tmp_path_factory.mktemp("valkey")) as valkey:
        yield Lived(broker, valkey)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
async def client(lived: Lived) -> AsyncIterator[Client]:
    """A browser that has not logged in."""
    port = free_port()
    app = ui.application(lived.place, Auth(TOKEN, asyncio.get_running_loop().time), site(port))
    async with TestClient(TestServer(app, port=port), cookie_jar=CookieJar(unsafe=True)) as client:
        yield client


async def log_in(client: Client) -> dict[str, str]:
    """Log in; returns the headers of a change."""
    answer = await client.post("/login", data={"token": TOKEN}, headers=origin(client), allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/stream")
    page = await (await client.get("/stream")).text()
    token = page.partition('name="csrf" content="')[2].partition('"')[0]
    assert len(token) > 20
    return {**origin(client), CSRF_HEADER: token}


def origin(client: Client) -> dict[str, str]:
    return {"Origin": f"http://{client.host}:{client.port}"}


async def until(client: Client, path: str, enough: Callable[[Any], bool]) -> Any:
    """What a page is told, once it is enough; the live stream says when to look again."""
    async with asyncio.timeout(WAIT_S):
        live = await client.get("/api/live")
        try:
            async for line in live.content:
                if line.startswith(b"data: "):
                    found = await (await client.get(path)).json()
                    if enough(found):
                        return found
        finally:
            live.close()
    raise AssertionError(path)


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


async def test_triggers_are_listed_and_open_their_record(client: Client, lived: Lived) -> None:
    headers = await log_in(client)
    found = await until(client, "/api/triggers?after=0", lambda f: f["last"] == len(lived.decisions))
    assert [row[1] for row in found["rows"]] == [one.id for one in lived.decisions][::-1]
    newer = await (await client.get(f"/api/triggers?after={found['last'] - 2}")).json()
    assert newer["rows"] == found["rows"][:2]
    told = lived.decisions[-1]
    record = await (await client.post("/api/decision", json={"decision": told.id}, headers=headers)).json()
    assert msgspec.convert(record["decision"], Decision) == told
    unknown = await client.post("/api/decision", json={"decision": "none"}, headers=headers)
    assert unknown.status == 404
    assert "customer" in (await unknown.json())["error"]


async def test_the_stream_page_knows_offsets_and_refusals(client: Client, lived: Lived) -> None:
    await log_in(client)
    found = await until(client, "/api/stream", lambda f: f["partitions"] and f["letters"]["count"] == 3)
    by_topic = {row[0]: row for row in found["partitions"]}
    assert set(by_topic) == {"clickstream", "transactions", "feedback", "outcomes", "events", "learning"}
    _, _, start, end, committed, behind = by_topic["events"]
    assert (start, committed) == (0, -1)
    assert behind == end == sum(1 for _ in records(lived, "events"))
    assert found["letters"]["reasons"] == [["not_json", 3, 9, "send JSON"]]
    assert found["letters"]["latest"][0][4] == "<b>x</b>"
    assert found["customers"] == len(lived.run.profiles)


def records(lived: Lived, topic: str) -> Iterator[log_reader.Record]:
    with reader(lived.place.connection.kafka) as consumer:
        yield from log_reader.whole(consumer, topic)


async def test_campaigns_count_what_was_decided_and_read_the_holdout(client: Client, lived: Lived) -> None:
    await log_in(client)
    wanted = Counter((one.campaign, one.arm) for one in lived.decisions)
    firsts = FirstDecisions()
    for one in lived.decisions:
        firsts.decided(one)
    for goal in lived.conversions:
        firsts.converted(goal)
    now = max(lived.run.partition.clock, *(one.issued_at for one in lived.decisions))

    def same(found: Any) -> bool:
        return all(
            row["treated"] == wanted[row["id"], "treated"] and (row["effect"] or row["audience"] or not row["treated"])
            for row in found["campaigns"]
        )

    found = await until(client, "/api/campaigns", same)
    assert [row["id"] for row in found["campaigns"]] == [one.config.id for one in busy().campaigns.all()]
    read = 0
    for row in found["campaigns"]:
        assert (row["held"], row["shadow"]) == (wanted[row["id"], "holdout"], wanted[row["id"], "shadow"])
        if row["effect"]:
            true = effect.read(firsts.rows(row["id"], now))
            assert row["effect"]["treated"] == list(true.treated)
            assert row["effect"]["holdout"] == list(true.holdout)
            assert row["effect"]["interval"] == pytest.approx(list(true.interval))
            read += true.treated.persons
    assert read > 10


async def test_the_funnel_counts_present_journeys(client: Client, lived: Lived) -> None:
    await log_in(client)
    found = await until(client, "/api/funnel", lambda f: f["journeys"] > 0)
    journeys = [one.journey for one in lived.run.profiles.values() if not one.linked]
    assert found["customers"] == len(lived.run.profiles)
    assert (found["read"], found["journeys"]) == (len(lived.run.profiles), len(journeys))
    for stage in range(len(STAGES)):
        assert found["reached"][stage] == sum(journey.stage >= stage for journey in journeys)
        assert found["standing"][stage] == sum(journey.stage == stage for journey in journeys)
    begun = sum(any(journey.entered) for journey in journeys)
    assert sum(began for _, began, _ in found["cohorts"]) == begun > 0


async def test_the_models_figures_are_the_engines_own(client: Client, lived: Lived) -> None:
    await log_in(client)
    found = await until(
        client, "/api/models", lambda rows: sum(row["figures"]["n"] for row in rows) == len(lived.examples)
    )
    scored = 0
    for row in found:
        model = lived.run.learner.models[row["model"]]
        figures = model.metrics[row["target"]].figures()
        for name in ("n", "base_rate", "log_loss", "null_log_loss", "auc", "ece", "lift"):
            assert row["figures"][name] == pytest.approx(getattr(figures, name)), (row["target"], name)
        assert (row["version"], row["drifts"]) == (model.version, model.drifts)
        assert row["answers"] == ("model" if model.ready(row["target"]) else "rule")
        scored += bool(figures.n)
        assert sum(n for _, _, n in row["calibration"]) == figures.n
    assert scored > 3


async def test_figures_go_on_from_a_snapshot(lived: Lived) -> None:
    half = len(lived.examples) // 2
    board = Board(lived.place)
    app, store, redis = "half", board.store, board.redis
    store._app = app
    learner = lived.run.learner
    learned = Learned(busy().engine.model_specs(), b"")
    await redis.rpush(store.key(0, "wal"), *lived.examples[:half])
    assert await learned.look(store, redis, 1)
    assert not await learned.look(store, redis, 1)
    await redis.rpush(store.key(0, "wal"), *lived.examples[half:])
    assert await learned.look(store, redis, 1)
    assert {name: one.version for name, one in learned.models.items()} == {
        name: one.version for name, one in learner.models.items()
    }
    await redis.set(store.key(0, "models"), learner.snapshot())
    await redis.delete(store.key(0, "wal"))
    assert await learned.look(store, redis, 1)
    for name, model in learner.models.items():
        assert learned.models[name].metrics == model.metrics
        assert learned.models[name].drifts == model.drifts
    other = Learned(busy().engine.model_specs(), b"another key")
    await other.look(store, redis, 1)
    assert "RAPPORT_SNAPSHOT_KEY" in other.models["churn"].trouble
    await store.close()


async def test_a_customer_is_looked_up_without_its_id_in_an_address(client: Client, lived: Lived) -> None:
    headers = await log_in(client)
    customer = next(one for one in lived.run.profiles if one.startswith("u:") and not lived.run.profiles[one].erased_at)
    answer = await client.post("/api/customer", json={"customer": f" {customer} "}, headers=headers)
    assert (await answer.json())["found"]
    answer = await client.post("/api/time-line", json={"customer": customer}, headers=headers)
    found = json.loads((await answer.text()).splitlines()[-1])
    assert "event" in {entry[1] for entry in found["entries"]}
    assert found["entries"] == sorted(found["entries"], key=lambda entry: -entry[0])
    assert (await client.get(f"/api/customer?customer={customer}")).status == 405
    unknown = await (await client.post("/api/customer", json={"customer": customer + "9x"}, headers=headers)).json()
    assert unknown["found"] is False
    assert customer in unknown["like"]
    wrong = await client.post("/api/customer", json={"customer": "7"}, headers=headers)
    assert (wrong.status, "u: and a user id" in (await wrong.json())["error"]) == (400, True)


async def test_an_erasure_is_confirmed_and_reaches_the_raw_topics(client: Client, lived: Lived) -> None:
    headers = await log_in(client)
    customer = next(one for one in lived.run.profiles if one.startswith("u:"))
    await until(client, "/api/stream", lambda f: f["clocks"])
    unsure = {"customer": customer, "confirm": customer[:-1]}
    assert (await client.post("/api/erase", json=unsure, headers=headers)).status == 400
    assert not list(records(lived, "clickstream"))
    sure = {"customer": customer, "confirm": customer}
    answer = await client.post("/api/erase", json=sure, headers=headers)
    assert answer.status == 200
    [record] = records(lived, "clickstream")
    [event] = Intake().read(record.value or b"", record.timestamp, "clickstream[0]@0").events
    assert isinstance(event, ErasureRequested)
    assert (event.customer, event.occurred_at) == (customer, lived.run.partition.clock)
    assert event.id == (await answer.json())["request"]


async def test_what_is_no_request_is_refused(client: Client) -> None:
    headers = await log_in(client)
    for body in (b"", b"{", b"[]", b'{"customer": 7}', b'{"other": 1}', b"\xff"):
        assert (await client.post("/api/customer", data=body, headers=headers)).status == 400, body
    assert (await client.post("/api/customer", data=b"x" * 100_000, headers=headers)).status == 413


async def test_a_broker_and_a_store_that_are_away_are_told(lived: Lived) -> None:
    port = free_port()
    gone = Connection(
        KafkaConnection((f"127.0.0.1:{free_port()}",)), redis_from_environment({}, f"redis://127.0.0.1:{free_port()}/0")
    )
    app = ui.application(Installation(gone), Auth(TOKEN, asyncio.get_running_loop().time), site(port))
    async with TestClient(TestServer(app, port=port), cookie_jar=CookieJar(unsafe=True)) as client:
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


def test_memory_is_bounded() -> None:
    seen = Seen()
    action = msgspec.convert({"id": "a", "channel": "email"}, type=Any)
    one = {
        "id": "",
        "customer": "u:1",
        "campaign": "c",
        "topic": "offers",
        "action": action,
        "arm": "treated",
        "issued_at": START,
        "expires_at": START,
        "source": "e",
        "signal": "ordered",
        "effect": 0.1,
    }
    for batch in range(3):
        decisions = [(1, msgspec.convert({**one, "id": f"{batch}.{n}"}, Decision)) for n in range(RING // 2 + 1)]
        seen.take(Read(decisions, [], [], {f"{batch}.{n}": 1 for n in range(ARRIVALS)}))
    assert len(seen.ring) == len(seen._by_id) == RING
    assert len(seen._arrivals) == ARRIVALS
    assert seen.get("0.0") is None
    assert seen.get(f"2.{RING // 2}") is not None
    assert seen.totals["c"]["treated"] == 3 * (RING // 2 + 1)
