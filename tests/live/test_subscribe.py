"""docs/subscribe.md as it is printed: its Python and its kcat commands against a running installation."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from schemas.base import MINUTE_MS
from schemas.codec import decode_dead_letter, decode_event
from schemas.events import AnyEvent
from streams.player import Player
from tests.live.cluster import Installation
from tests.support import blocks

PAGE = (Path(__file__).parents[2] / "docs" / "subscribe.md").read_text()
ADDRESS = "127.0.0.1:9092"
AT = 1_714_557_600_000
CAMPAIGNS = """
[policy]
consent = "allow"
quiet_hours = {start = "23:00", end = "23:01"}
[[campaign]]
id = "cart"
signal = "cart_left"
topic = "nudges"
mode = "live"
holdout = 0.0
max_age = "30d"
when = ["cart_value >= 10"]
actions = [{id = "mail", channel = "email"}]
"""

Install = Callable[..., Installation]


def kcat(part: str) -> str:
    """The one command of the page that has this part."""
    (command,) = (
        line for block in blocks(PAGE, "sh") for line in block.splitlines() if "kcat" in line and part in line
    )
    return command


def cart_left(installation: Installation, customer: str = "7") -> None:
    """A body of GA4 puts something into a cart, and an hour and a half goes by."""
    items = [{"item_id": "T-100", "price": 25.5, "quantity": 2}]
    event = {"name": "add_to_cart", "params": {"currency": "EUR", "value": 51, "items": items}}
    nothing = {"name": "purchase", "params": {"currency": "EUR"}}
    body = {"client_id": "1.2", "user_id": customer, "timestamp_micros": AT * 1000, "events": [nothing, event]}
    with Player(installation.connection, prefix=installation.job.prefix) as player:
        player.send(json.dumps(body).encode())
        player.tick(AT + 90 * MINUTE_MS)


def reported(installation: Installation, name: str) -> AnyEvent:
    """The event that a report has become in the log."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for event in map(decode_event, installation.values("events")):
            if event.id == name:
                return event
        time.sleep(0.1)
    raise AssertionError(f"no {name} in the log\n{installation.logs()}")


def trigger(installation: Installation) -> dict[str, Any]:
    """The first trigger, once it is there."""
    until = time.monotonic() + 60
    while not (found := installation.values("nudges")):
        assert time.monotonic() < until, installation.logs()
        time.sleep(0.1)
    read: dict[str, Any] = json.loads(found[0])
    return read


@contextlib.contextmanager
def running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs until its end here, also where the test fails."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_the_pages_python_receives_a_trigger_and_reports_it(install: Install, tmp_path: Path) -> None:
    installation = install(campaigns=CAMPAIGNS)
    installation.start()
    cart_left(installation)
    (code,) = blocks(PAGE, "python")
    assert code.count('PREFIX = ""\n') == 1
    script = tmp_path / "messaging.py"
    script.write_text(code.replace('PREFIX = ""', f'PREFIX = "{installation.job.prefix}"'))
    command = [sys.executable, str(script), installation.job.kafka, "--played"]
    for expected in ("email to u:7: cart/mail because cart_value is 51 (>= 10)\n", ""):
        with running(command, tmp_path) as service:
            assert service.stdout is not None
            if expected:
                assert service.stdout.readline() == expected
                name = trigger(installation)["id"]
                event = reported(installation, f"{name}:outcome_reported")
                assert (event.customer, event.trigger, event.outcome) == ("u:7", name, "delivered")  # type: ignore[union-attr]
                again(installation)  # as its broker, or its own crash, may bring it
            else:
                cart_left(installation, "8")
                assert service.stdout.readline().startswith("email to u:8: ")
            service.terminate()
            assert service.stdout.read() == ""
    for record in installation.records("dead-letters"):
        letter = decode_dead_letter(record.value or b"")
        assert (letter.reason, letter.field) == ("missing", "$.events[0].params.transaction_id")
        assert dict(record.headers)["ce_type"] == b"rapport.dead-letter"
    assert len(installation.records("dead-letters")) == 2


def again(installation: Installation) -> None:
    """Write the first trigger once more, headers and all."""
    (record, *_) = installation.records("nudges")

    async def write() -> None:
        async with AIOKafkaProducer(**installation.connection.aiokafka()) as producer:
            headers = [(name, value or b"") for name, value in record.headers]
            await producer.send_and_wait(record.origin.topic, record.value, key=record.key, headers=headers)

    asyncio.run(write())


def test_the_pages_python_says_what_is_wrong_without_a_traceback(tmp_path: Path) -> None:
    (code,) = blocks(PAGE, "python")
    (tmp_path / "messaging.py").write_text(code)
    for arguments, said in ((["127.0.0.1:1"], "127.0.0.1:1: KafkaConnectionError; check"), ([], "usage: ")):
        command = [sys.executable, "messaging.py", *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
        assert ended.returncode == 1
        assert said in ended.stderr
        assert "Traceback" not in ended.stderr


def shell(command: str, installation: Installation, **names: str) -> str:
    """Run one of the page's commands, with this broker's address and this installation's topics."""
    command = command.replace(ADDRESS, installation.job.kafka)
    for topic in ("nudges", "offers", "outcomes"):
        command = re.sub(rf"(?<= ){topic}(?= |$)", installation.job.prefix + topic, command)
    for name, value in names.items():
        command = command.replace(name, value)
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


@pytest.mark.kafka
def test_the_pages_kcat_commands_look_and_report(install: Install, broker: Any) -> None:
    if not broker.transactions:
        pytest.skip("kcat cannot read the embedded broker")
    if shutil.which("kcat") is None:
        reason = "no kcat: apt install kcat"
        if os.environ.get("RAPPORT_REQUIRE_KAFKA") == "1":
            pytest.fail(f"RAPPORT_REQUIRE_KAFKA is 1, but {reason}", pytrace=False)
        pytest.skip(reason)
    installation = install(campaigns=CAMPAIGNS)
    installation.start()
    cart_left(installation)
    sent = trigger(installation)
    asyncio.run(aborted(installation))
    shown = shell(kcat("-C -t nudges"), installation)
    key, headers, body = re.split(r"  |\n", shown.strip(), maxsplit=2)
    assert (key, json.loads(body)) == ("u:7", sent)
    assert dict(pair.split("=", 1) for pair in headers.split(","))["ce_id"] == sent["id"]
    shell(kcat("-P -t outcomes"), installation, TRIGGER=sent["id"])
    event = reported(installation, "esp-4711")
    assert (event.customer, event.trigger, event.outcome) == ("u:7", sent["id"], "clicked")  # type: ignore[union-attr]
    group = kcat("-G my-team").replace("my-team", installation.job.prefix + "my-team")
    joined = shell(f"{group} -X auto.offset.reset=earliest -c 1 -q", installation)
    assert json.loads(joined) == sent


async def aborted(installation: Installation) -> None:
    """A transaction that a crash left undone: readers of what is committed never see it."""
    settings = installation.connection.aiokafka()
    async with AIOKafkaProducer(**settings, transactional_id=installation.job.prefix + "lost") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(installation.job.prefix + "nudges", b'{"never": "decided"}', key=b"u:7")
        await producer.abort_transaction()
