"""What each page of the dashboard is told, beside the engine's own figures, on the embedded broker and store."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from models.evaluation import effect
from models.evaluation.first_decisions import FirstDecisions
from models.profile.journey import STAGES
from schemas.decisions import Decision
from schemas.identity import ErasureRequested
from schemas.intake import Intake
from streams.embedded import Broker, Valkey
from streams.ui.board import Board
from streams.ui.learned import Learned
from streams.ui.seen import ARRIVALS, RING, Read, Seen
from tests.streams.dashboards import Client, Lived, log_in, served, until
from tests.support import START, busy


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    with Broker(tmp_path_factory.mktemp("broker")) as broker, Valkey(tmp_path_factory.mktemp("valkey")) as valkey:
        yield Lived(broker, valkey)


@pytest.fixture
async def client(lived: Lived) -> AsyncIterator[Client]:
    """A browser that has not logged in."""
    async with served(lived.place) as client:
        yield client


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
    found = await until(
        client, "/api/stream", lambda f: f["partitions"] and f["customers"] and f["letters"]["count"] == 3
    )
    by_topic = {row[1]: row for row in found["partitions"]}
    assert set(by_topic) == {"clickstream", "transactions", "feedback", "outcomes", "events", "learning"}
    stage, _, _, position, end, unread, *_ = by_topic["events"]
    assert (stage, position) == ("engine", None)
    assert unread == end == sum(1 for _ in lived.records("events"))
    assert "no worker has committed anything as rapport" in found["notes"][0]
    assert found["letters"]["reasons"] == [["not_json", 3, 9, "send JSON"]]
    assert found["letters"]["latest"][0][4] == "<b>x</b>"
    assert found["customers"] == len(lived.run.profiles)


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
    await until(client, "/api/stream", lambda f: f["partitions"])
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
    assert not list(lived.records("clickstream"))
    sure = {"customer": customer, "confirm": customer}
    answer = await client.post("/api/erase", json=sure, headers=headers)
    assert answer.status == 200
    [record] = lived.records("clickstream")
    [event] = Intake().read(record.value or b"", record.timestamp, "clickstream[0]@0").events
    assert isinstance(event, ErasureRequested)
    assert (event.customer, event.occurred_at) == (customer, lived.run.partition.clock)
    assert event.id == (await answer.json())["request"]


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
