"""One suite for every store: what the delivery protocol asks of it, in this process and in a real Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from models.randomness import hash64
from streams.embedded import Valkey
from streams.redis_store import RedisStore, StoreError
from streams.store import PURGED, Commit, Keep, MemoryStore, Meta, Position, Snapshot, Store, Tombstone, Verdict

OK, DONE, FENCED, ROLLED_BACK = Verdict.OK, Verdict.DONE, Verdict.FENCED, Verdict.ROLLED_BACK
FAR = 9_999_999_999_999
ODD = (
    "u:ü 1",
    "a:| |",
    "u:日本語",
    "u:\U0001f600",
    "u:\uffff",
    "u:a",
    "u:a b",
    "u:a\tb",
    "u:{x}",
    "u:%s'\"",
    "u:1,2",
    "u:",
)

_apps = (f"app-{number}" for number in count())


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
async def client(valkey: Valkey) -> AsyncIterator[Redis]:
    connected = Redis.from_url(valkey.url)
    yield connected
    await connected.aclose()


@pytest.fixture
def kept(client: Redis) -> RedisStore:
    """A store in Valkey that no other test has written to."""
    return RedisStore(client, next(_apps))


@pytest.fixture(params=["memory", "valkey"])
async def store(request: pytest.FixtureRequest, valkey: Valkey) -> AsyncIterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else RedisStore(Redis.from_url(valkey.url), next(_apps))
    yield made
    await made.close()


def batch(token: str, seq: int, **fields: Any) -> Commit:
    """A commit that ends at ten records a batch."""
    return Commit(token, seq, fields.pop("pos", Position(10 * (seq + 1))), b"state", "events:1", **fields)


async def committed(store: Store, **fields: Any) -> str:
    """The token under which the first commit of a partition was stored."""
    token = (await store.take(0)).token
    assert await store.commit(0, batch(token, 0, **fields)) is OK
    return token


async def test_an_untouched_partition_has_nothing(store: Store) -> None:
    taken = await store.take(0)
    assert taken.token
    assert taken[1:] == (None, b"")
    assert await store.load(0, FAR, 10, ["u:1"]) == ([], False, None, {})
    assert await store.learned(0) == (None, [])
    assert (await store.take(0)).meta is None, "nor does taking it leave any"


async def test_take_fences_older_tokens(store: Store) -> None:
    older = (await store.take(0)).token
    newer = (await store.take(0)).token
    assert older != newer
    assert await store.commit(0, batch(older, 0, profiles={"u:1": b"old"})) is FENCED
    assert (await store.load(0, FAR, 10, ["u:1"])).profiles == {}
    assert await store.commit(0, batch(newer, 0, profiles={"u:1": b"new"})) is OK
    assert await store.commit(0, batch(older, 1)) is FENCED
    assert (await store.load(0, FAR, 10, ["u:1"])).profiles == {"u:1": b"new"}


async def test_who_has_not_taken_is_fenced(store: Store) -> None:
    assert await store.commit(0, batch("", 0)) is FENCED
    assert await store.commit(0, batch("guessed", 0)) is FENCED
    await store.published(0, "", 0, Position(1))
    assert not await store.save_model("", "buys", -1, Snapshot(1, 1, b""), Keep(3))
    assert (await store.take(0)).meta is None


async def test_partitions_know_nothing_of_each_other(store: Store) -> None:
    token = await committed(store, profiles={"u:1": b"here"}, timers={("u:1", "cart"): 5}, examples=[b"e"])
    other = (await store.take(1)).token
    assert await store.commit(1, batch(token, 0)) is FENCED
    assert await store.load(1, FAR, 10, ["u:1"]) == ([], False, None, {})
    assert await store.learned(1) == (None, [])
    assert await store.commit(1, batch(other, 0)) is OK
    assert await store.commit(0, batch(token, 1)) is OK, "taking another partition fences nobody here"


async def test_a_commit_is_read_back(store: Store) -> None:
    await committed(store, pos=Position(7, 3), outbox=b"out\0box", profiles={"u:1": b"p"}, examples=[b"1", b"2"])
    taken = await store.take(0)
    assert taken.meta == Meta(1, Position(7, 3), None, b"state", "events:1")
    assert taken.outbox == b"out\0box"
    assert await store.learned(0) == (None, [b"1", b"2"])


async def test_the_same_commit_again_is_done_and_changes_nothing(store: Store) -> None:
    token = (await store.take(0)).token
    first = batch(token, 0, timers={("u:1", "cart"): 5}, outbox=b"out", examples=[b"1"])
    assert [await store.commit(0, first) for _ in range(3)] == [OK, DONE, DONE]
    assert await store.learned(0) == (None, [b"1"])
    assert await store.commit(0, batch(token, 1)) is OK
    assert await store.commit(0, first) is ROLLED_BACK, "two behind is no lost reply"


@pytest.mark.parametrize("seq", [1, 2, 17])
async def test_a_commit_ahead_of_the_store_was_rolled_back(store: Store, seq: int) -> None:
    token = (await store.take(0)).token
    assert await store.commit(0, batch(token, seq, profiles={"u:1": b"p"}, examples=[b"e"])) is ROLLED_BACK
    assert await store.load(0, FAR, 10, ["u:1"]) == ([], False, None, {})
    assert (await store.take(0)).meta is None


async def test_a_taken_partition_goes_on_counting(store: Store) -> None:
    await committed(store)
    token, meta, _ = await store.take(0)
    assert meta is not None
    assert await store.commit(0, batch(token, meta.seq)) is OK
    assert (await store.take(0)).meta == Meta(2, Position(20), None, b"state", "events:1")


async def test_profiles_are_any_bytes(store: Store) -> None:
    every = bytes(range(256))
    profiles = {"u:1": every, "u:2": b"\0", "u:3": b"\r\n$3\r\n", "u:4": b"\xff\xfe", "u:5": every * 1000}
    await committed(store, profiles=profiles)
    assert (await store.load(0, 0, 10, [*profiles, "u:6"])).profiles == profiles


async def test_a_commit_replaces_only_what_it_names(store: Store) -> None:
    token = await committed(store, profiles={"u:1": b"1", "u:2": b"2"}, timers={("u:1", "a"): 5, ("u:2", "a"): 6})
    assert await store.commit(0, batch(token, 1, profiles={"u:2": b"3"}, timers={("u:2", "b"): 7})) is OK
    loaded = await store.load(0, FAR, 10, [])
    assert loaded.timers == [(5, "u:1", "a"), (6, "u:2", "a"), (7, "u:2", "b")]
    assert loaded.profiles == {"u:1": b"1", "u:2": b"3"}


async def test_a_commit_forgets_customers(store: Store) -> None:
    token = await committed(store, profiles={"u:1": b"1", "u:2": b"2"}, timers={("u:1", "a"): 5})
    forgotten: dict[str, bytes | None] = {"u:1": None, "u:3": None}
    assert await store.commit(0, batch(token, 1, profiles=forgotten, timers={("u:1", "a"): 0})) is OK
    assert await store.load(0, FAR, 10, ["u:1", "u:2", "u:3"]) == ([], False, None, {"u:2": b"2"})


async def test_a_tombstone_is_found_by_its_name_where_there_is_no_profile(store: Store) -> None:
    stones = {b"\x00\xffone": Tombstone(b"\x00tomb", 50), b"two": Tombstone(b"2", 60)}
    await committed(store, profiles={"u:2": b"alive"}, timers={("u:2", "a"): 5}, tombstones=stones, clock=49)
    names = [b"\x00\xffone", b"two", b"three", b"two"]
    asked = ["u:1", "u:2", "u:3", "u:1 again"]
    found = {"u:1": b"\x00tomb", "u:2": b"alive", "u:1 again": b"2"}
    assert (await store.load(0, 0, 10, asked, names)).profiles == found
    assert (await store.load(0, 0, 10, asked)).profiles == {"u:2": b"alive"}
    assert (await store.load(0, FAR, 10, ["u:1"], [names[0]])).profiles == {"u:1": b"\x00tomb", "u:2": b"alive"}
    assert (await store.load(1, 0, 10, asked, names)).profiles == {}


async def test_a_tombstone_is_moved_and_goes(store: Store) -> None:
    token = await committed(store, tombstones={b"one": Tombstone(b"1", 50), b"two": Tombstone(b"2", 50)})
    moved = {b"one": Tombstone(b"later", 90), b"two": None, b"never": None}
    assert await store.commit(0, batch(token, 1, tombstones=moved, clock=60)) is OK
    assert (await store.load(0, 0, 9, ["u:1", "u:2"], [b"one", b"two"])).profiles == {"u:1": b"later"}
    assert await store.commit(0, batch(token, 2, clock=89)) is OK
    assert (await store.load(0, 0, 9, ["u:1"], [b"one"])).profiles == {"u:1": b"later"}
    assert await store.commit(0, batch(token, 3, clock=90)) is OK
    assert (await store.load(0, 0, 9, ["u:1"], [b"one"])).profiles == {}


async def test_one_commit_removes_so_many_tombstones_and_no_more(store: Store) -> None:
    names = [b"%05d" % number for number in range(2 * PURGED + 2)]
    stones = {name: Tombstone(name, 10 + number // 2) for number, name in enumerate(names)}
    asked = [name.decode() for name in names]
    token = await committed(store, tombstones=stones)
    left = names
    for seq in (1, 2, 3):
        assert (await store.load(0, 0, 1, asked, names)).profiles == {name.decode(): name for name in left}
        assert await store.commit(0, batch(token, seq, clock=10 + PURGED - 1)) is OK
        left = left[PURGED:] if seq < 3 else left
    assert left == names[-2:], "whose time is not over yet"
    assert (await store.load(0, 0, 1, asked, names)).profiles == {name.decode(): name for name in left}


async def test_odd_customers(store: Store) -> None:
    timers = {(customer, kind): 5 for customer in ODD for kind in ("cart", "browse")}
    await committed(store, profiles={customer: customer.encode() for customer in ODD}, timers=timers)
    loaded = await store.load(0, 5, 100, [])
    assert loaded.timers == sorted((due, *key) for key, due in timers.items())
    assert loaded.profiles == {customer: customer.encode() for customer in ODD}


async def test_timers_are_set_moved_and_removed(store: Store) -> None:
    token = await committed(store, timers={("u:1", "cart"): 5, ("u:1", "browse"): 6, ("u:2", "cart"): 7})
    changed = {("u:1", "cart"): 8, ("u:1", "browse"): 0, ("u:3", "cart"): 0, ("u:4", "cart"): 1_700_000_000_001}
    assert await store.commit(0, batch(token, 1, timers=changed)) is OK
    assert (await store.load(0, FAR, 10, [])).timers == [
        (7, "u:2", "cart"),
        (8, "u:1", "cart"),
        (1_700_000_000_001, "u:4", "cart"),
    ]


async def test_timers_come_by_due_then_customer_then_kind(store: Store) -> None:
    timers = [(2, "u:a", "x"), (1, "u:b", "y"), (1, "u:b", "x"), (1, "u:a b", "z"), (1, "u:a", "z"), (1, "u:aa", "a")]
    await committed(store, timers={(customer, kind): due for due, customer, kind in timers})
    assert (await store.load(0, FAR, 10, [])).timers == sorted(timers)


@pytest.mark.parametrize(
    ("until", "limit", "timers", "more", "next_due"),
    [
        (0, 9, 0, False, 1),
        (1, 9, 1, False, 3),
        (2, 9, 1, False, 3),
        (3, 9, 3, False, 4),
        (3, 3, 3, False, 4),
        (3, 2, 2, True, 4),
        (3, 1, 1, True, 4),
        (4, 9, 4, False, None),
        (4, 4, 4, False, None),
        (4, 3, 3, True, None),
    ],
)
async def test_what_is_due(store: Store, until: int, limit: int, timers: int, more: bool, next_due: int | None) -> None:
    due = [(1, "u:1", "a"), (3, "u:1", "b"), (3, "u:2", "a"), (4, "u:3", "a")]
    profiles = {f"u:{n}": b"%d" % n for n in range(6)}
    await committed(store, profiles=profiles, timers={(customer, kind): at for at, customer, kind in due})
    loaded = await store.load(0, until, limit, ["u:5", "u:5", "u:9"])
    assert loaded[:3] == (due[:timers], more, next_due)
    wanted = {"u:5", *(customer for _, customer, _ in due[:timers])}
    assert loaded.profiles == {customer: profiles[customer] for customer in wanted}


async def test_large_commits_and_loads(store: Store) -> None:
    """More than a script can unpack at once."""
    timers = {(f"u:{n % 3000}", f"kind-{n // 3000}"): 1 + n % 7 for n in range(5000)}
    profiles = {f"u:{n}": b"%d" % n for n in range(3000)}
    examples = [b"%d" % n for n in range(4000)]
    token = await committed(store, profiles=profiles, timers=timers, examples=examples)
    loaded = await store.load(0, 7, 5000, [f"u:{n}" for n in range(9000)])
    assert loaded.timers == sorted((due, *key) for key, due in timers.items())
    assert (loaded.more, loaded.next_due) == (False, None)
    assert loaded.profiles == profiles
    assert (await store.load(0, 7, 4999, [])).more
    assert await store.learned(0) == (None, examples)
    assert await store.commit(0, batch(token, 1, timers=dict.fromkeys(timers, 0))) is OK
    assert (await store.load(0, FAR, 1, [])).timers == []


async def test_an_outbox_is_kept_until_it_is_published(store: Store) -> None:
    token = await committed(store, outbox=b"out")
    taken = await store.take(0)
    assert taken.outbox == b"out"
    await store.published(0, token, 1, Position(9))
    assert (await store.take(0)).outbox == b"out", "who is fenced forgets nothing"
    token = (await store.take(0)).token
    await store.published(0, token, 1, Position(10))
    taken = await store.take(0)
    assert taken.outbox == b""
    assert taken.meta == Meta(1, Position(10), Position(10), b"state", "events:1")


async def test_published_leaves_the_outbox_of_a_later_commit(store: Store) -> None:
    token = await committed(store, outbox=b"first")
    assert await store.commit(0, batch(token, 1, outbox=b"second")) is OK
    await store.published(0, token, 1, Position(10))
    taken = await store.take(0)
    assert taken.outbox == b"second"
    assert taken.meta is not None
    assert taken.meta.pub == Position(10)


async def test_a_commit_without_outputs_empties_the_outbox(store: Store) -> None:
    token = await committed(store, outbox=b"first")
    assert await store.commit(0, batch(token, 1)) is OK
    assert (await store.take(0)).outbox == b""


async def test_what_is_published_stays_known(store: Store) -> None:
    token = await committed(store, outbox=b"first", pos=Position(4, 100_000))
    await store.published(0, token, 1, Position(4, 100_000))
    for pub in (Position(4, 99_999), Position(3, 200_000), Position(0)):
        await store.published(0, token, 1, pub)
    assert await store.commit(0, batch(token, 1)) is OK
    taken = await store.take(0)
    assert taken.meta == Meta(2, Position(20), Position(4, 100_000), b"state", "events:1")
    await store.published(0, taken.token, 2, Position(4, 100_001))
    last = (await store.take(0)).meta
    assert last is not None
    assert last.pub == Position(4, 100_001)


async def test_nothing_is_published_of_a_partition_without_commits(store: Store) -> None:
    token = (await store.take(0)).token
    await store.published(0, token, 0, Position(9))
    assert await store.commit(0, batch(token, 0)) is OK
    meta = (await store.take(0)).meta
    assert meta is not None
    assert meta.pub is None


async def test_a_snapshot_empties_the_log_of_examples(store: Store) -> None:
    token = await committed(store, examples=[b"1", b"\0"])
    assert await store.commit(0, batch(token, 1, examples=[b"3"])) is OK
    assert await store.learned(0) == (None, [b"1", b"\0", b"3"])
    assert await store.commit(0, batch(token, 2, models=b"models\0\xff")) is OK
    assert await store.learned(0) == (b"models\0\xff", [])
    assert await store.commit(0, batch(token, 3, examples=[b"4"])) is OK
    assert await store.learned(0) == (b"models\0\xff", [b"4"])
    assert await store.commit(0, batch(token, 4, models=b"later", examples=[b"5"])) is OK
    assert await store.learned(0) == (b"later", [b"5"]), "examples of that commit come behind its snapshot"


async def test_models_are_kept_by_version(store: Store) -> None:
    token = await store.take_model("buys")
    assert await store.model("buys") is None
    before = -1
    for version in range(1, 7):
        snapshot = Snapshot(version, 10 * version, b"data,%d,\0\xff" % version)
        assert await store.save_model(token, "buys", before, snapshot, Keep(3))
        before = snapshot.offset
    assert await store.save_model(await store.take_model("churn"), "churn", -1, Snapshot(1, 0, b""), Keep(3))
    assert await store.model("buys") == Snapshot(6, 60, b"data,6,\0\xff")
    assert await store.model("buys", 40) == Snapshot(4, 40, b"data,4,\0\xff")
    assert await store.model("buys", 30) is None, "only so many are kept"
    assert await store.model("buys", 4) is None
    assert await store.model("churn") == Snapshot(1, 0, b"")


async def test_a_version_needs_its_predecessor(store: Store) -> None:
    token = await store.take_model("buys")
    assert not await store.save_model(token, "buys", 0, Snapshot(1, 10, b"1"), Keep(3))
    assert await store.save_model(token, "buys", -1, Snapshot(1, 10, b"1"), Keep(3))
    for before in (-1, 0, 9, 11):
        assert not await store.save_model(token, "buys", before, Snapshot(2, 20, b"2"), Keep(3))
    assert await store.model("buys") == Snapshot(1, 10, b"1")
    assert await store.save_model(token, "buys", 10, Snapshot(2, 20, b"2"), Keep(3))


async def test_a_version_is_stored_once_where_the_answer_was_lost(store: Store) -> None:
    token = await store.take_model("buys")
    for _ in range(2):
        assert await store.save_model(token, "buys", -1, Snapshot(10, 10, b"1"), Keep(3))
    assert not await store.save_model(token, "buys", -1, Snapshot(10, 10, b"other"), Keep(3))
    assert await store.save_model(token, "buys", 10, Snapshot(20, 20, b"2"), Keep(3))
    assert not await store.save_model(token, "buys", -1, Snapshot(10, 10, b"1"), Keep(3))
    assert not await store.save_model(await store.take_model("churn"), "buys", 10, Snapshot(20, 20, b"2"), Keep(3))


async def test_taking_the_models_fences_older_learners(store: Store) -> None:
    older = await store.take_model("buys")
    newer = await store.take_model("buys")
    assert not await store.save_model(older, "buys", -1, Snapshot(1, 10, b"old"), Keep(3))
    assert await store.save_model(newer, "buys", -1, Snapshot(1, 10, b"new"), Keep(3))
    assert await store.model("buys") == Snapshot(1, 10, b"new")


async def test_the_kill_switch(store: Store) -> None:
    assert not await store.killed()
    for on in (True, True, False, False, True):
        await store.kill(on)
        assert await store.killed() is on


# Valkey alone ---------------------------------------------------------------------------------------------------------

KINDS = ("meta", "outbox", "profiles", "timers", "wal", "models", "tombstones", "kept-until")


async def everything(store: RedisStore, client: Redis) -> dict[str, bytes | None]:
    """All keys of partition 0 as the server dumps them."""
    return {name: await client.dump(store.key(0, name)) for name in KINDS}


@pytest.mark.parametrize("name", KINDS[1:])
@pytest.mark.parametrize("models", [None, b"later"])
async def test_a_key_of_another_type_stops_a_commit_before_it_writes(
    kept: RedisStore, client: Redis, name: str, models: bytes | None
) -> None:
    token = await committed(
        kept,
        profiles={"u:1": b"1"},
        timers={("u:1", "a"): 5},
        outbox=b"out",
        examples=[b"e"],
        models=b"m",
        tombstones={b"t": Tombstone(b"1", 9)},
    )
    key = kept.key(0, name)
    await client.delete(key)
    if name in ("outbox", "models"):
        await client.sadd(key, "wrong")
    else:
        await client.set(key, "wrong")
    before = await everything(kept, client)
    changes: dict[str, Any] = {"profiles": {"u:1": None}, "timers": {("u:1", "a"): 6, ("u:2", "a"): 0}}
    changes |= {"tombstones": {b"u": Tombstone(b"2", 8)}, "clock": 10}
    with pytest.raises(ResponseError, match=name):
        await kept.commit(0, batch(token, 1, outbox=b"next", examples=[b"f"], models=models, **changes))
    assert await everything(kept, client) == before


async def test_meta_of_another_type_stops_everything(kept: RedisStore, client: Redis) -> None:
    token = await committed(kept)
    await client.delete(kept.key(0, "meta"))
    await client.set(kept.key(0, "meta"), "wrong")
    before = await everything(kept, client)
    with pytest.raises(ResponseError):
        await kept.commit(0, batch(token, 1, profiles={"u:1": b"2"}))
    with pytest.raises(ResponseError):
        await kept.take(0)
    with pytest.raises(ResponseError):
        await kept.published(0, token, 1, Position(10))
    assert await everything(kept, client) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"timers": {("u:1", "a"): 5, ("u:2", "a"): "soon"}},
        {"tombstones": {b"t": Tombstone(b"", 5), b"u": Tombstone(b"", "soon")}},  # type: ignore[arg-type]  # on purpose
        {"clock": "noon"},
    ],
)
async def test_a_commit_with_a_due_that_is_no_number_writes_nothing(
    kept: RedisStore, client: Redis, wrong: dict[str, Any]
) -> None:
    token = await committed(kept)
    before = await everything(kept, client)
    with pytest.raises(ResponseError, match="no number"):
        await kept.commit(0, batch(token, 1, profiles={"u:1": b"2"}, **wrong))
    assert await everything(kept, client) == before


async def test_flushall_fences(kept: RedisStore, client: Redis) -> None:
    token = await committed(kept)
    models = await kept.take_model("buys")
    await client.flushall()
    assert await kept.commit(0, batch(token, 1)) is FENCED
    assert await kept.commit(0, batch(token, 0)) is FENCED
    await kept.published(0, token, 1, Position(10))
    assert not await kept.save_model(models, "buys", -1, Snapshot(1, 1, b""), Keep(3))
    assert await client.dbsize() == 0
    assert (await kept.take(0)).meta is None


async def test_an_older_copy_is_noticed(kept: RedisStore, client: Redis) -> None:
    token = (await kept.take(0)).token
    copies = []
    for seq in range(4):
        copies.append(await everything(kept, client))
        assert await kept.commit(0, batch(token, seq, profiles={"u:1": b"%d" % seq}, timers={("u:1", "a"): 9})) is OK
    for copy in copies[:3]:
        for name, dumped in copy.items():
            if dumped is None:
                await client.delete(kept.key(0, name))
            else:
                await client.restore(kept.key(0, name), 0, dumped, replace=True)
        assert await kept.commit(0, batch(token, 4)) is ROLLED_BACK
        assert await everything(kept, client) == copy
    taken = await kept.take(0)
    assert taken.meta == Meta(2, Position(20), None, b"state", "events:1")
    assert await kept.commit(0, batch(taken.token, 2)) is OK


async def test_all_keys_of_a_partition_share_a_slot(kept: RedisStore, client: Redis) -> None:
    stones = {b"t": Tombstone(b"1", 9)}
    kinds: dict[str, Any] = {"profiles": {"u:1": b""}, "timers": {("u:1", "a"): 5}, "tombstones": stones}
    await committed(kept, outbox=b"o", examples=[b"e"], models=b"m", **kinds)
    keys = [kept.key(0, name) for name in KINDS]
    assert await client.exists(*keys) == len(keys)
    assert len({key[key.index("{") : key.index("}")] for key in keys}) == 1


@dataclass(frozen=True)
class _Said:
    """A client whose server says what it is told to."""

    said: dict[str, dict[str, Any]]

    async def info(self, section: str) -> dict[str, Any]:
        return self.said[section]

    def register_script(self, script: str) -> None:
        """Nothing runs here."""


async def test_check_likes_the_embedded_server(kept: RedisStore) -> None:
    assert await kept.check() == []


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random", "volatile-lfu"])
async def test_check_refuses_a_server_that_evicts(kept: RedisStore, client: Redis, policy: str) -> None:
    await client.config_set("maxmemory-policy", policy)
    await client.config_set("maxmemory", "1gb")
    try:
        with pytest.raises(StoreError, match=f"{policy}.*noeviction"):
            await kept.check()
        await client.config_set("maxmemory-policy", "noeviction")
        assert await kept.check() == []
    finally:
        await client.config_set("maxmemory", "0")
        await client.config_set("maxmemory-policy", "noeviction")


async def test_check_says_what_is_not_durable() -> None:
    client: Any = _Said({"memory": {"maxmemory": 0}, "persistence": {"aof_enabled": 0}})
    (note,) = await RedisStore(client).check()
    assert "append-only" in note


# Both at once ---------------------------------------------------------------------------------------------------------

Ask = Callable[[Store, dict[str, str]], Awaitable[object]]

workers = st.sampled_from("AB")
customers = st.sampled_from(["u:1", "u:2", "a:1", *ODD])
kinds = st.sampled_from(["cart", "browse"])
data = st.binary(max_size=4)
positions = st.builds(Position, st.integers(0, 5), st.integers(0, 3))
STONES = (b"", b"s", b"\xff\0", b"1")
stones = st.builds(Tombstone, data, st.integers(0, 6))
timer_changes = st.dictionaries(st.tuples(customers, kinds), st.integers(0, 6), max_size=4)


def take(worker: str) -> Ask:
    async def ask(store: Store, tokens: dict[str, str]) -> object:
        tokens[worker], meta, outbox = await store.take(0)
        return meta, outbox

    return ask


def load(until: int, limit: int, wanted: list[str], erased: bool = False) -> Ask:
    names = [STONES[hash64(customer) % len(STONES)] for customer in wanted] if erased else []
    return lambda store, tokens: store.load(0, until, limit, wanted, names)


def commit(worker: str, change: Commit) -> Ask:
    async def ask(store: Store, tokens: dict[str, str]) -> object:
        made = replace(change, token=tokens.get(worker, ""))
        return [await store.commit(0, made) for _ in range(1 + (change.pos.n == 3))]

    return ask


def published(worker: str, seq: int, pub: Position) -> Ask:
    return lambda store, tokens: store.published(0, tokens.get(worker, ""), seq, pub)


def take_models(worker: str) -> Ask:
    async def ask(store: Store, tokens: dict[str, str]) -> object:
        tokens[f"models {worker}"] = await store.take_model("buys")
        return None

    return ask


def save_model(worker: str, before: int, snapshot: Snapshot, keep: Keep) -> Ask:
    return lambda store, tokens: store.save_model(tokens.get(f"models {worker}", ""), "buys", before, snapshot, keep)


commits = st.builds(
    Commit,
    st.just(""),
    st.integers(0, 4),
    positions,
    data,
    st.sampled_from(["events:1", "events:2"]),
    st.dictionaries(customers, st.none() | data, max_size=3),
    timer_changes,
    data,
    st.lists(data, max_size=2),
    st.none() | st.binary(min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(STONES), st.none() | stones, max_size=3),
    st.integers(0, 5),
)
asks = st.one_of(
    st.builds(take, workers),
    st.builds(load, st.integers(-1, 7), st.integers(1, 4), st.lists(customers, max_size=3), st.booleans()),
    st.builds(commit, workers, commits),
    st.builds(commit, workers, commits),
    st.builds(published, workers, st.integers(0, 4), positions),
    st.just(lambda store, tokens: store.learned(0)),
    st.builds(take_models, workers),
    st.builds(
        save_model,
        workers,
        st.integers(-1, 2),
        st.builds(Snapshot, st.integers(0, 3), st.integers(0, 2), data),
        st.builds(Keep, st.integers(1, 3), st.integers(0, 6)),
    ),
    st.builds(lambda offset: lambda store, tokens: store.model("buys", offset), st.none() | st.integers(0, 3)),
    st.builds(lambda on: lambda store, tokens: store.kill(on), st.booleans()),
    st.just(lambda store, tokens: store.killed()),
)


async def answers(store: Store, asked: list[Ask]) -> list[object]:
    tokens: dict[str, str] = {}
    last: list[Ask] = [take("Z"), load(FAR, 99, list(ODD), True), lambda store, tokens: store.learned(0)]
    return [await ask(store, tokens) for ask in (*asked, *last)]


@hypothesis_settings(max_examples=80)
@given(st.lists(asks, max_size=25))
def test_both_stores_give_the_same_answers(valkey: Valkey, asked: list[Ask]) -> None:
    async def both() -> tuple[list[object], list[object]]:
        real = RedisStore(Redis.from_url(valkey.url), next(_apps))
        try:
            return await answers(MemoryStore(), asked), await answers(real, asked)
        finally:
            await real.close()

    ours, theirs = asyncio.run(both())
    assert ours == theirs
