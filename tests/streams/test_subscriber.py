"""The sample messaging service: each trigger once, none that has expired, and a report that the engine reads."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from examples.subscriber import TOPICS, report, subscribe
from schemas.codec import encode_decision, encode_event
from schemas.decisions import Action, Decision, Reason
from schemas.intake import Intake
from schemas.outcomes import Outcome, OutcomeReported
from streams.connection import KafkaConnection
from streams.embedded import Broker


def trigger(name: str, expires_at: int = 9_000) -> Decision:
    return Decision(
        id=name,
        customer="u:7",
        campaign="cart",
        topic="nudges",
        action=Action(id="mail", channel="email"),
        arm="treated",
        issued_at=5_000,
        expires_at=expires_at,
        source="e",
        signal="cart_left",
        effect=0.1,
        reasons=(Reason(feature="cart_value", value=20),),
    )


async def test_triggers_are_delivered_once_and_reported(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        kafka = KafkaConnection((broker.address,)).aiokafka()
        admin = AIOKafkaAdminClient(**kafka)
        await admin.start()
        await admin.create_topics([NewTopic(topic, 1, 1) for topic in (*TOPICS, "outcomes")])
        await admin.close()
        delivered: list[str] = []

        def deliver(given: Decision) -> Outcome:
            delivered.append(given.id)
            return "clicked"

        service = asyncio.create_task(subscribe(kafka, deliver, lambda given: given.issued_at))
        consumer = AIOKafkaConsumer("outcomes", **kafka, auto_offset_reset="earliest")
        producer = AIOKafkaProducer(**kafka)
        async with producer, consumer:
            for given in (trigger("a"), trigger("a"), trigger("late", 5_000), trigger("b")):
                await producer.send_and_wait(given.topic, encode_decision(given), key=b"u:7")
            found = [await asyncio.wait_for(consumer.getone(), 20) for _ in range(2)]
        service.cancel()
        with suppress(asyncio.CancelledError):
            await service
    assert delivered == ["a", "b"]
    assert [record.value for record in found] == [encode_event(report(trigger(n), "clicked", 5_000)) for n in "ab"]
    assert [(record.key, record.timestamp) for record in found] == [(b"7", 5_000)] * 2
    read = Intake().read(found[0].value or b"", 5_000, "outcomes[0]@0")
    (event,) = read.events
    assert isinstance(event, OutcomeReported)
    assert (event.customer, event.trigger, event.outcome, event.channel) == ("u:7", "a", "clicked", "email")
    assert event.id != report(trigger("a"), "opened", 5_000).id
