"""The sample messaging service: each trigger once, none that has expired, and a report that the engine reads."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from examples.subscriber import TOPICS, expired, report, skip, subscribe
from schemas.codec import encode_decision, encode_event
from schemas.decisions import Action, Decision, Reason
from schemas.intake import Intake
from schemas.outcomes import ContactSuppressed, Outcome, OutcomeReported
from streams.connection import KafkaConnection
from streams.embedded import Broker
from streams.ports import free_port

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "subscriber.py"


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
            found = [await asyncio.wait_for(consumer.getone(), 20) for _ in range(3)]
        service.cancel()
        with suppress(asyncio.CancelledError):
            await service
    assert delivered == ["a", "b"]
    assert [record.value for record in found] == [
        encode_event(report(trigger("a"), "clicked", 5_000)),
        encode_event(skip(trigger("late"), "expired", 5_000)),
        encode_event(report(trigger("b"), "clicked", 5_000)),
    ]
    assert [(record.key, record.timestamp) for record in found] == [(b"7", 5_000)] * 3
    read = Intake().read(found[0].value or b"", 5_000, "outcomes[0]@0")
    (event,) = read.events
    assert isinstance(event, OutcomeReported)
    assert (event.customer, event.trigger, event.outcome, event.channel) == ("u:7", "a", "clicked", "email")
    assert event.id != report(trigger("a"), "opened", 5_000).id
    (skipped,) = Intake().read(found[1].value or b"", 5_000, "outcomes[0]@1").events
    assert isinstance(skipped, ContactSuppressed)
    assert (skipped.customer, skipped.trigger, skipped.reason) == ("u:7", "late", "expired")


def test_one_who_left_an_audience_is_told_however_late() -> None:
    left = msgspec.structs.replace(trigger("x"), topic="segments", membership="left")
    assert expired(trigger("x"), 9_000)
    assert not expired(left, 9_000)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "127.0.0.1:{port}",
            "found no broker that answers within 5 s (Connection refused); start one, or name another",
        ),
        ("broker", "--kafka: found broker; write host:port"),
    ],
)
def test_a_broker_that_is_away_or_misnamed_is_said_in_one_line(address: str, said: str) -> None:
    command = [sys.executable, str(SCRIPT), "--kafka", address.format(port=free_port("nobody"))]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


def lines(process: subprocess.Popen[str], most: int = 40) -> Iterator[str]:
    assert process.stdout is not None
    for _, line in zip(range(most), process.stdout, strict=False):
        yield line


@pytest.mark.live
def test_what_up_prints_shows_triggers_as_it_is_typed(tmp_path: Path) -> None:
    """The commands that ``rapport up`` prints: a file is played, and the subscriber shows what comes out."""
    rapport = str(Path(sys.executable).with_name("rapport"))
    shop = tmp_path / "shop.jsonl.gz"
    subprocess.run([rapport, "simulate", "-o", shop, "--days", "10", "--customers", "200"], check=True, timeout=120)
    with started([rapport, "up", "--folder", str(tmp_path / "stack")]) as stack:
        said = ""
        for line in lines(stack):
            said += line
            if line.startswith("Ctrl-C"):
                break
        play = shlex.split(_shown(said, "play a file into it:").replace("FILE", str(shop)).replace("600x", "max"))
        subprocess.run([rapport, *play[1:], "--advance", "1d"], check=True, timeout=120)
        with started(shlex.split(_shown(said, "see what comes out:"))) as service:
            shown = next(lines(service))
    assert re.fullmatch(r"nudges: cart-abandonment/reminder by email to u:\d+: .+\n", shown)


def _shown(said: str, label: str) -> str:
    return said.partition(label)[2].partition("\n")[0].strip()
