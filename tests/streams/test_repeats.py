"""What a broker without transactions lets a sender write again is read once, however much came between."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from models.profile import profile as profiles
from models.profile.profile import SEEN_MAX
from schemas import clickstream as c
from schemas.base import Event
from schemas.codec import encode_event
from streams import topics
from streams.broker import Broker
from streams.connection import KafkaConnection
from streams.embedded import Broker as Server
from streams.outbox import Headers, Output
from streams.recording import recording
from streams.repeats import Repeats, place
from streams.settings import Limits
from streams.store import Position
from streams.topic_plan import TopicPlan
from tests.streams.test_protocol import PLENTY, TIGHT, World, history
from tests.support import START, make

MANY = [make(c.PageViewed, START + n, id=f"e{n}") for n in range(SEEN_MAX + 8)]


def stepped(
    log: Iterable[tuple[Event, Headers]], limits: Limits = PLENTY
) -> tuple[dict[str, bytes], dict[str, list[bytes]]]:
    """Profiles and outputs of a log of records with headers."""
    world = World()
    try:
        for event, headers in log:
            world.broker.append(encode_event(event), event.occurred_at, event.customer.encode(), headers)  # type: ignore[arg-type]  # of the union
        world.finish(limits)
        return world.store.partitions[0].profiles, {
            topic: [output.value for output in outputs] for topic, outputs in world.broker.sent.items()
        }
    finally:
        world.close()


def placed(events: Iterable[Event], first: int = 0, sender: str = "a") -> list[tuple[Event, Headers]]:
    return [(event, (place(sender, Position(first + number)),)) for number, event in enumerate(events)]


def test_a_repeat_counts_once_though_its_id_is_forgotten() -> None:
    once, _ = stepped(placed(MANY))
    again, _ = stepped([*placed(MANY), *placed(MANY)])
    assert again == once
    without, _ = stepped([(event, ()) for event in [*MANY, *MANY]])
    assert profiles.decode(without["u:1"]).activity.events > profiles.decode(once["u:1"]).activity.events


def test_each_sender_has_a_place_of_its_own() -> None:
    """The same places of another sender, such as a topic that was made anew, are no repeats."""
    half = len(MANY) // 2
    assert stepped([*placed(MANY[:half]), *placed(MANY[half:], sender="b")])[0] == stepped([(e, ()) for e in MANY])[0]


@pytest.mark.parametrize("repeated", [False, True])
def test_a_record_that_is_cut_in_several_commits_is_stepped_to_its_end(repeated: bool) -> None:
    log = placed(history(3))
    plain = stepped([(event, ()) for event in history(3)])
    assert plain[1]
    assert stepped([*log, *log[-20:]] if repeated else log, TIGHT) == plain


async def test_a_publisher_writes_places_and_large_outboxes_in_order(tmp_path: Path) -> None:
    """More than one batch goes to a partition; publishing again brings places that are known."""
    with Server(tmp_path) as server:
        connection = KafkaConnection((server.address,))
        topics.create(connection, TopicPlan(partitions=1, raw_partitions=1, clock="event"))
        broker = Broker(connection, "g", transactions=False)
        publisher = broker.publisher("clickstream-0")
        await publisher.start()
        outputs = [Output(n, 0, "events", b"u:1", b'"%d%s"' % (n, b"." * 200_000), START) for n in range(12)]
        tick = Output(-1, 0, "events", b"*", b'"tick"', START)
        for part in (outputs, [*outputs[6:], tick, tick]):
            await publisher.publish(part, {})
        await publisher.stop()
        await broker.close()
        repeats, seen = Repeats(), []
        async with AIOKafkaConsumer(**connection.aiokafka(), auto_offset_reset="earliest") as reader:
            reader.assign([TopicPartition("events", 0)])
            for _ in range(20):
                record = await reader.getone()
                if not repeats.known(record.headers):
                    repeats.read(record.headers)
                    seen.append(record.value)
        assert seen == [output.value for output in outputs] + [tick.value, tick.value]
        with recording(connection, "events") as found:
            assert list(found.lines()) == seen
