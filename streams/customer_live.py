"""One customer's life from the running installation: profile from the store, events and decisions from the topics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from kafka import TopicPartition  # type: ignore[import-untyped]  # it ships no types
from redis.exceptions import RedisError

from models.policy.reading import Settings
from models.profile import profile as profiles
from models.profile.profile import Profile
from models.profile.tombstone import named
from schemas.base import Event
from schemas.codec import decode_conversion, decode_decision, decode_event
from schemas.decisions import Conversion, Decision
from schemas.errors import SchemaError

from . import log_reader
from .clients import reader
from .connection import Connection
from .customer_life import Life
from .errors import BrokerError
from .publishers import partition_of
from .redis_store import RedisStore
from .refusals import store_error
from .repeats import Repeats
from .timeline import of_log
from .tombstones import pseudonyms
from .topic_plan import DECISIONS, EVENTS

KNOWN_MAX = 20_000
SCAN_COUNT = 1_000

Progress = Callable[[int, int], None]
"""Called with how many records of a topic are read, and how many there are."""


class Installation:
    """Where to look.

    Parameters
    ----------
    connection
        Broker and state store.
    app, prefix
        As of the workers.
    settings
        The configuration of the workers, as far as it is at hand: holdouts are told by it.
    key
        That signs snapshots: the erased are found by it.
    """

    def __init__(
        self,
        connection: Connection,
        app: str = "rapport",
        prefix: str = "",
        settings: Settings = Settings(),  # noqa: B008  # frozen
        key: bytes = b"",
    ) -> None:
        self.connection = connection
        self.app = app
        self.prefix = prefix
        self.settings = settings
        self.key = key


def live(customer: str, place: Installation, progress: Progress | None = None) -> Life:
    """All that the installation knows of a customer; nothing of it is changed.

    Raises
    ------
    BrokerError
        Where the broker is away, or has no log of that prefix.
    StreamError
        Where the state store is away.
    """
    notes = [
        "what was suppressed is on no topic: rapport record its partition, then name the log: rapport customer ID LOG --log"
    ]
    with reader(place.connection.kafka) as consumer:
        partitions = len(consumer.partitions_for_topic(place.prefix + EVENTS) or ())
        if not partitions:
            remedy = "check --prefix, or bring the installation up: rapport topics create"
            raise BrokerError(place.prefix + EVENTS, "no such topic", remedy)
        profile, known = asyncio.run(stored(customer, place, partitions))
        if profile is None:
            return Life(customer=customer, settings=place.settings, known=known)
        customers = {customer, *profile.origins}
        events, gone = _events(consumer, place.prefix + EVENTS, customers, progress)
        decided, _ = _read(consumer, place.prefix + DECISIONS, customers, progress)
        if gone:
            notes.append(f"retention took the beginning of the log of {gone} of its partitions")
    return Life(
        customer=customer,
        profile=profile,
        now=profile.clock,
        entries=of_log(events, _decoded(decided), profile),
        settings=place.settings,
        notes=notes,
    )


async def stored(customer: str, place: Installation, partitions: int) -> tuple[Profile | None, list[str]]:
    """The profile; where there is none, ids that there are.

    Parameters
    ----------
    partitions
        Of the log.

    Raises
    ------
    StreamError
        Where the state store is away.
    """
    client = place.connection.redis.client()
    store = RedisStore(client, place.app)
    try:
        partition = partition_of(customer.encode(), partitions)
        loaded = await store.load(partition, -1, 0, [customer], [pseudonyms(place.key)(customer)])
        data = loaded.profiles.get(customer)
        if data is not None:
            found = profiles.decode(data)
            return (named(found, customer) if found.erased_at and found.customer != customer else found), []
        known: list[str] = []
        for number in range(partitions):
            async for one, _ in client.hscan_iter(store.key(number, "profiles"), count=SCAN_COUNT):
                known.append(one.decode())
                if len(known) >= KNOWN_MAX:
                    return None, known
        return None, known
    except (RedisError, OSError) as error:
        raise store_error(error, place.connection.redis.address) from error
    finally:
        await store.close()


def _events(consumer: object, topic: str, customers: set[str], progress: Progress | None) -> tuple[list[Event], int]:
    values, gone = _read(consumer, topic, customers, progress)
    found: list[Event] = []
    for value in values:
        try:
            found.append(decode_event(value))
        except SchemaError:
            continue  # of a later version: the time line goes on without it
    return found, gone


def _read(consumer: object, topic: str, customers: set[str], progress: Progress | None) -> tuple[list[bytes], int]:
    """The values keyed by customers, and in how many of their partitions the beginning is gone."""
    keys = {customer.encode() for customer in customers}
    count = len(consumer.partitions_for_topic(topic) or ())  # type: ignore[attr-defined]  # kafka ships no types
    places = sorted({TopicPartition(topic, partition_of(key, count)) for key in keys}) if count else []
    reach = log_reader.extents(consumer, places) if places else {}
    total, done, gone = sum(one.most - one.start for one in reach.values()), 0, 0
    found: list[bytes] = []
    for place, extent in reach.items():
        gone += extent.start > 0
        repeats = Repeats()
        for record in log_reader.through(consumer, place, extent):
            done += 1
            if progress is not None and done % log_reader.AT_ONCE == 0:
                progress(done, total)
            if repeats.known(record.headers):
                continue
            repeats.read(record.headers)
            if record.key in keys and record.value:
                found.append(record.value)
    return found, gone


def _decoded(values: Iterable[bytes]) -> Iterator[Decision | Conversion]:
    for value in values:
        try:
            yield decode_conversion(value) if b'"kind":"conversion"' in value else decode_decision(value)
        except SchemaError:
            continue
