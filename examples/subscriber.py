"""A messaging service in one file: takes each trigger once, delivers it unless it has expired, reports what became of it.

Run it in Rapport's environment: ``.venv/bin/python examples/subscriber.py --kafka HOST:PORT``; ``--help`` lists the rest.
RAPPORT_KAFKA and the variables of docs/operations.md name broker and log-in. ``docs/subscribe.md`` has the same without
a line of Rapport's code.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.codec import decode_decision, encode_event
from schemas.decisions import Decision
from schemas.errors import printable
from schemas.outcomes import ContactSuppressed, Outcome, OutcomeReported
from streams.environment import kafka_from_environment
from streams.errors import StreamError
from streams.probe import probe

TOPICS = ("offers", "nudges", "recommendations", "leads", "replies", "segments")
REMEMBERED = 100_000
ANSWER_S = 5.0


def show(trigger: Decision) -> Outcome:
    """Deliver a trigger: here, on the screen. Send your e-mail instead; of ``segments``, mend your audience."""
    why = "; ".join(reason.text or f"{reason.feature} {reason.value:g}" for reason in trigger.reasons)
    line = f"{trigger.topic}: {trigger.campaign}/{trigger.action.id} by {trigger.channel} to {trigger.customer}"
    if trigger.membership:
        line = f"{trigger.topic}: {trigger.customer} {trigger.membership} {trigger.action.id} ({trigger.signal})"
    print(printable(f"{line}: {why}" if why else line, 500), flush=True)
    return "delivered"


def wall(trigger: Decision) -> int:
    """The time now, milliseconds UTC."""
    return time.time_ns() // 1_000_000  # noqa: TID251 - a service lives by the wall's clock


def played(trigger: Decision) -> int:
    """The time now, where recorded events are played: that of the trigger."""
    return trigger.issued_at


def expired(trigger: Decision, at: int) -> bool:
    """Whether it is too late to deliver; never for one who left an audience, who would stay in it for good."""
    return at >= trigger.expires_at and trigger.membership != "left"


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


def skip(trigger: Decision, reason: str, at: int) -> ContactSuppressed:
    """Say that a trigger was not delivered, and why."""
    name = blake2b(f"{trigger.id}|suppressed".encode(), digest_size=16).hexdigest()
    return ContactSuppressed(
        id=f"outcome:{name}",
        customer=trigger.customer,
        occurred_at=at,
        received_at=at,
        channel=trigger.channel,
        trigger=trigger.id,
        reason=reason,
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
                if trigger.id in done:
                    continue
                late = expired(trigger, at)
                event = skip(trigger, "expired", at) if late else report(trigger, deliver(trigger), at)
                done[trigger.id] = None
                key = trigger.customer[2:].encode()  # the key that the customer's other events have
                sent.append(await producer.send(prefix + "outcomes", encode_event(event), key=key, timestamp_ms=at))
            await asyncio.gather(*sent)
            if batches:
                await consumer.commit()  # only now: after a crash they come again, rather than never
            while len(done) > REMEMBERED:
                del done[next(iter(done))]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Show triggers as they come, each once, and report them as delivered.")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="the broker; RAPPORT_KAFKA without it")
    parser.add_argument("--prefix", default=os.environ.get("RAPPORT_PREFIX", ""), help="of the topics' names")
    parser.add_argument("--group", default="messaging", help="consumer group: those of one group share the work")
    parser.add_argument(
        "--clock",
        choices=("wall", "event"),
        default="wall",
        help="wall: it is now. event: recorded events are played, and it is as late as the trigger says",
    )
    return parser.parse_args()


def main() -> int:
    """Subscribe until Ctrl-C; 1 where the broker is away, 2 for wrong arguments."""
    given = _arguments()
    try:
        connection = kafka_from_environment(os.environ, given.kafka)
        probe(connection, ANSWER_S)
        now = played if given.clock == "event" else wall
        asyncio.run(subscribe(connection.aiokafka(), show, now, given.prefix, given.group))
    except KeyboardInterrupt:
        return 0
    except StreamError as error:
        print(f"subscriber: {error}", file=sys.stderr)
    except KafkaError as error:
        remedy = "check that rapport up or your brokers run, and --kafka HOST:PORT"
        print(f"subscriber: {type(error).__name__}; {remedy}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
