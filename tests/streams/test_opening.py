"""Opening a partition costs the same however many customers it holds: state stays where it is."""

from __future__ import annotations

from pathlib import Path

from aiokafka import TopicPartition

from models.profile.profile import Profile, encode
from streams.checkpoint import EnginePartition
from streams.embedded import Valkey
from streams.environment import redis_from_environment
from streams.redis_store import RedisStore
from streams.settings import StreamSettings
from streams.store import Commit, Position
from tests.streams.fakes import FakeBroker


async def bytes_read(valkey: Valkey, customers: int) -> int:
    """What the store sends while a partition with so many customers and timers is opened."""
    client = redis_from_environment({}, valkey.url).client()
    store = RedisStore(client, f"app-{customers}")
    settings = StreamSettings(app=f"app-{customers}", raw=())
    broker = FakeBroker()
    tp = TopicPartition("events", 0)
    await EnginePartition(tp, settings, store, broker).open()
    taken = await store.take(0)
    identity = f"{(await broker.log(tp)).identity}, wall clock"
    who = [f"u:{number}" for number in range(customers)]
    commit = Commit(
        taken.token,
        0,
        Position(0),
        b"",
        identity,
        profiles={customer: encode(Profile(customer)) for customer in who},
        timers={(customer, "score"): 1_700_000_000_000 for customer in who},
    )
    await store.commit(0, commit)
    before = (await client.info("stats"))["total_net_output_bytes"]
    await EnginePartition(tp, settings, store, broker).open()
    after = (await client.info("stats"))["total_net_output_bytes"]
    await store.close()
    return int(after - before)


async def test_the_size_of_the_state_does_not_matter(tmp_path: Path) -> None:
    with Valkey(tmp_path) as valkey:
        few, many = await bytes_read(valkey, 10), await bytes_read(valkey, 20_000)
    assert many < few + 200  # longer numbers in the statistics themselves; 20,000 timers would be 400,000 bytes
