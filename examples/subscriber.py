"""A messaging service in one file: takes each trigger once, delivers it unless it has expired, reports what became of it.

Run it with ``python examples/subscriber.py``; RAPPORT_KAFKA names the broker, RAPPORT_PREFIX the topics' prefix.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from schemas.codec import decode_decision, encode_event
from schemas.decisions import Decision
from schemas.outcomes import Outcome, OutcomeReported
from streams.environment import kafka_from_environment

TOPICS = ("offers", "nudges", "recommendations", "leads", "replies")
REMEMBERED = 100_000


def show(trigger: Decision) -> Outcome:
    """Deliver a trigger: here, on the screen. Send your e-mail instead."""
    why = "; ".join(reason.text or f"{reason.feature} {reason.value:g}" for reason in trigger.reasons)
    print(f"{trigger.topic}: {trigger.campaign}/{trigger.action.id} by {trigger.channel} to {trigger.customer}: {why}")
    return "delivered"


def wall(trigger: Decision) -> int:
    """The time now, milliseconds UTC. While recorded events are played, ``trigger.issued_at`` is the time instead."""
    return time.time_ns() // 1_000_000  # noqa: TID251 - a service lives by the wall's clock


def report(trigger: Decision, outcome: Outcome, at: int) -> OutcomeReported:
    """What became of a trigger. Its id is made of both, so the engine counts a report that is repeated once."""
    name = blake2b(f"{trigger.id}|{outcome}".encode(), digest_size=16).hexdigest()
    return OutcomeReported(
        id=f"outcome:{name}",
        customer=trigger.customer,
        occurred_at=at,
        received_at=at,
        channel=trigger.channel,
        outcome=outcome,
        trigger=trigger.id,
        campaign=trigger.campaign,
    )


async def subscribe(
    kafka: dict[str, Any],
    deliver: Callable[[Decision], Outcome] = show,
    now: Callable[[Decision], int] = wall,
    prefix: str = "",
    group: str = "messaging",
) -> None:
    """Serve triggers until cancelled; ``kafka`` is what aiokafka's clients take."""
    done: dict[str, None] = {}  # a dict keeps the order in which they came
    consumer = AIOKafkaConsumer(
        *(prefix + topic for topic in TOPICS),
        **kafka,
        group_id=prefix + group,
        isolation_level="read_committed",  # what a crashed worker began to write is never seen
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(**kafka, acks="all")
    async with consumer, producer:
        while True:
            batches = await consumer.getmany(timeout_ms=500)
            sent = []
            for record in (record for batch in batches.values() for record in batch):
                trigger = decode_decision(record.value)
                at = now(trigger)
                if trigger.id in done or at >= trigger.expires_at:
                    continue
                event = report(trigger, deliver(trigger), at)
                done[trigger.id] = None
                key = trigger.customer[2:].encode()  # the key that the customer's other events have
                sent.append(await producer.send(prefix + "outcomes", encode_event(event), key=key, timestamp_ms=at))
            await asyncio.gather(*sent)
            if batches:
                await consumer.commit()  # only now: after a crash they come again, rather than never
            while len(done) > REMEMBERED:
                del done[next(iter(done))]


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        connection = kafka_from_environment(os.environ)
        asyncio.run(subscribe(connection.aiokafka(), prefix=os.environ.get("RAPPORT_PREFIX", "")))
