"""Safeguards that can be taken out, in tests only: each is a change of the source of one function or script.

A change whose text is no longer found fails, so that none of them can go stale in silence. Two ways in: a worker process
of the tests (``Job.without``), and ``pytest -p tests.live.faults.mutations`` with ``TEST_WITHOUT=NAME`` for tests in one process.
"""

from __future__ import annotations

import inspect
import os
import sys
import textwrap
from collections.abc import Callable
from typing import Any

from models import engine
from streams import broker, checkpoint, outbox, publishers, redis_scripts, store, transport

Change = Callable[[], None]


def _rewrite(owner: Any, name: str, *changes: tuple[str, str]) -> None:
    """Replace text in the source of a function or method."""
    function = getattr(owner, name)
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in changes:
        assert old in source, f"{name}: {old!r} is not there any more"
        source = source.replace(old, new)
    made: dict[str, Any] = {}
    exec(
        compile(source, f"<{name} without>", "exec"), sys.modules[function.__module__].__dict__, made
    )  # what it is for
    setattr(owner, name, made[name])


def _script(name: str, old: str, new: str = "") -> None:
    """Replace text in a script of the store."""
    source = getattr(redis_scripts, name)
    assert old in source, f"{name}: {old!r} is not there any more"
    setattr(redis_scripts, name, source.replace(old, new))


def _fence() -> None:
    _script("COMMIT", "if token ~= ARGV[1] then return 'FENCED' end")
    _script("PUBLISHED", "if token ~= ARGV[1] or not seq then", "if not seq then")
    _rewrite(store.MemoryStore, "commit", ("if not kept.token or kept.token != commit.token:", "if False:"))


def _sequence() -> None:
    _script("COMMIT", "if seq == tonumber(ARGV[2]) + 1 then return 'DONE' end")
    _script("COMMIT", "if seq ~= tonumber(ARGV[2]) then return 'ROLLED_BACK' end")
    _rewrite(store.MemoryStore, "commit", ("if seq != commit.seq:", "if False:"))


def _outbox() -> None:
    outbox.encode = lambda end, outputs: b""


def _filter() -> None:
    outbox.unpublished = lambda outputs, committed: list(outputs)


def _dedupe() -> None:
    _rewrite(engine.Engine, "_refused", ("if seen in draft.seen:", "if False:"))


def _acknowledgement() -> None:
    _rewrite(publishers._Publisher, "_send", ("await future", "pass"))


def _publish() -> None:
    _rewrite(checkpoint.EnginePartition, "_settled", ("await task", "pass"))


def _transaction() -> None:
    _rewrite(
        broker.Broker,
        "publisher",
        ("if not self.transactions:", "if True:"),
        ("lambda: self._sender(name)", "_nobody"),
    )
    broker._nobody = _nobody  # type: ignore[attr-defined]  # for the changed source


async def _nobody() -> str:
    return ""


def _read_committed() -> None:
    _rewrite(transport.ConsumerThread, "_create_worker_consumer", ('"read_committed"', '"read_uncommitted"'))


WITHOUT: dict[str, Change] = {
    "fence": _fence,
    "sequence": _sequence,
    "outbox": _outbox,
    "publish filter": _filter,
    "dedupe": _dedupe,
    "awaited acknowledgement": _acknowledgement,
    "awaited publish": _publish,
    "transaction": _transaction,
    "read_committed": _read_committed,
}


def remove(name: str) -> None:
    """Take a safeguard out of this process, for good."""
    WITHOUT[name]()


if name := os.environ.get("TEST_WITHOUT"):
    remove(name)
