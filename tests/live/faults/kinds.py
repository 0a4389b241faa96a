"""The faults: each is injected once a call, and says from when on recovery counts."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.live.faults.field import SESSION_S, Field

Inject = Callable[[Field], float]
REACH_S = 120.0
SUSPENDED_S = 16.0
MIX_S = 4.0
CHURN_S = 10.0


class NotInjectedError(Exception):
    """The fault could not be brought about: that says nothing of the stream."""


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Parameters
    ----------
    inject
        Does it once and lifts it; returns since when (monotonic seconds) recovery counts.
    what
        In words, for the table.
    times
        How often in a run of its own.
    embedded
        Whether it is one on the embedded stack as well.
    bounded
        False where what is repeated is as long as the log, so that no time bounds it.
    """

    inject: Inject
    what: str
    times: int = 3
    embedded: bool = True
    bounded: bool = True


def _kill(point: str, most: int, halt: bool = False) -> Inject:
    def inject(field: Field) -> float:
        for _ in range(2):
            worker = field.start(point, field.random.randrange(1, most), halt=halt)
            if _reached(worker, halt):
                break
            worker.kill()  # no partition of its own ever came there
            worker.wait()
        else:
            raise NotInjectedError(f"no worker came to {point}\n{field.installation.logs()}")
        if halt:
            time.sleep(2 * SESSION_S)
            worker.send_signal(signal.SIGCONT)
            since = time.monotonic()
            time.sleep(2.0)  # time in which it could do harm
            worker.kill()
            worker.wait()
            return since
        return time.monotonic()

    return inject


def _reached(worker: subprocess.Popen[bytes], halt: bool) -> bool:
    until = time.monotonic() + REACH_S
    while time.monotonic() < until:
        if halt:
            state = _state(worker.pid)
            if state == "T":
                return True
        elif worker.poll() is not None:
            return worker.returncode == -signal.SIGKILL
        time.sleep(0.02)
    return False


def _state(pid: int) -> str:
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def _kill_member(field: Field) -> float:
    member = field.random.choice([one for one in field.members if one is not field.spare])
    field.excused.add(member.pid)
    member.kill()
    member.wait()
    since = time.monotonic()
    field.replace(member)
    return since


def _zombie(field: Field) -> float:
    member = field.random.choice(field.members)
    member.send_signal(signal.SIGSTOP)
    time.sleep(2.5 * SESSION_S)
    member.send_signal(signal.SIGCONT)
    return time.monotonic()


def _broker_suspended(field: Field) -> float:
    field.server.suspend()
    time.sleep(SUSPENDED_S)
    field.server.resume()
    return time.monotonic()


def _broker_suspended_while_starting(field: Field) -> float:
    guest = field.start()
    time.sleep(field.random.uniform(0.5, 3.0))
    since = _broker_suspended(field)
    field.joined(guest)
    field.installation.stop(guest)
    return since


def _broker_killed(field: Field) -> float:
    field.server.kill()
    time.sleep(1.0)
    field.server.start()
    return time.monotonic()


def _churn(field: Field) -> float:
    guest = field.start()
    field.joined(guest)
    time.sleep(CHURN_S)
    field.installation.stop(guest)
    since = time.monotonic()
    time.sleep(CHURN_S)
    return since


def _store_killed(field: Field) -> float:
    field.valkey.kill()
    time.sleep(field.random.uniform(0.2, 3.0))
    field.valkey.start()
    return time.monotonic()


def _store_suspended(field: Field) -> float:
    field.valkey.suspend()
    time.sleep(6.0)
    field.valkey.resume()
    return time.monotonic()


def _store_older(field: Field) -> float:
    """Back to a copy of some seconds before, as after a restore."""
    folder, copy = field.valkey.folder / "appendonlydir", field.valkey.folder / "older"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    time.sleep(field.random.uniform(2.0, 6.0))
    field.valkey.kill()
    shutil.rmtree(folder)
    copy.rename(folder)
    field.learner_may_go_back = True
    field.valkey.start()
    return time.monotonic()


def _store_back_one(field: Field) -> float:
    """Cut the append-only file right before its last commit, as a disk that lost the last write."""
    field.valkey.kill()
    file = max((field.valkey.folder / "appendonlydir").glob("*.incr.aof"), key=lambda one: int(one.name.split(".")[-3]))
    data = file.read_bytes()
    end = data.rfind(b"\r\nseq\r\n")
    start = data.rfind(b"*1\r\n$5\r\nMULTI\r\n", 0, max(0, end))
    if start < 0:
        field.valkey.start()
        raise NotInjectedError("no commit in the append-only file: it was rewritten a moment ago")
    with file.open("r+b") as out:
        out.truncate(start)
    field.notes["commits cut off the store"] += data.count(b"\r\nseq\r\n", start)
    field.learner_may_go_back = True
    field.valkey.start()
    return time.monotonic()


def _store_flushed(field: Field) -> float:
    field.learner_may_go_back = True
    field.read(field.installation.redis.flushall)
    return time.monotonic()


def _mix(kind: str, share: float) -> Inject:
    def inject(field: Field) -> float:
        field.load.share[kind] = share
        time.sleep(MIX_S)
        field.load.share.pop(kind)
        return time.monotonic()

    return inject


def _burst(kind: str, count: int) -> Inject:
    def inject(field: Field) -> float:
        field.load.burst(kind, count)
        time.sleep(count / field.load.rate + 0.2)
        return time.monotonic()

    return inject


def _clock(field: Field) -> float:
    """An hour forth in every worker, then two back: the wall clock as Python's ``time.time`` tells it."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        for member in field.members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member.pid, number)
        time.sleep(2.0)
    return time.monotonic()


FAULTS: dict[str, Fault] = {
    "kill": Fault(_kill_member, "kill -9 at any moment", 5),
    "kill-taken": Fault(_kill("taken", 2), "kill -9 after taking a partition over"),
    "kill-stepped": Fault(_kill("stepped", 20), "kill -9 after the step", 5),
    "kill-committed": Fault(_kill("committed", 20), "kill -9 after the store's commit", 5),
    "kill-sent": Fault(_kill("sent", 20), "kill -9 in the middle of the transaction (embedded: before the offset)", 5),
    "kill-offsets": Fault(_kill("offsets", 20), "kill -9 after the offset is in the transaction", 5),
    "kill-transaction": Fault(
        _kill("transaction", 20), "kill -9 after the transaction, before the store knows", 5, embedded=False
    ),
    "kill-published": Fault(_kill("published", 20), "kill -9 before the outbox is deleted", 5),
    "kill-snapshot": Fault(_kill("snapshot", 3), "kill -9 in the middle of a snapshot", embedded=False),
    "kill-snapped": Fault(_kill("snapped", 3), "kill -9 between snapshot and its announcement", embedded=False),
    "zombie": Fault(_zombie, "SIGSTOP for 2.5 sessions, then CONT"),
    "zombie-stepped": Fault(_kill("stepped", 20, halt=True), "suspended before a commit for 2 sessions, then CONT"),
    "zombie-committed": Fault(
        _kill("committed", 20, halt=True), "suspended before its outputs for 2 sessions, then CONT"
    ),
    "zombie-sent": Fault(_kill("sent", 20, halt=True), "suspended in a transaction for 2 sessions, then CONT"),
    "broker-suspended": Fault(_broker_suspended, "broker suspended for 16 s", 2),
    "broker-suspended-starting": Fault(
        _broker_suspended_while_starting, "broker suspended for 16 s while a worker starts", 2
    ),
    "broker-killed": Fault(_broker_killed, "broker kill -9 and restart", embedded=False),
    "churn": Fault(_churn, "a worker joins and leaves every 20 s", 2),
    "store-killed": Fault(_store_killed, "store kill -9 and restart", 5),
    "store-suspended": Fault(_store_suspended, "store suspended for 6 s"),
    "store-older": Fault(_store_older, "store restarted from a file some seconds older"),
    "store-back-one": Fault(_store_back_one, "store restarted without its last commit", 5),
    "store-flushed": Fault(_store_flushed, "FLUSHALL", 2, bounded=False),
    "poison": Fault(_mix("poison", 0.01), "1 % of the records unreadable, for 4 s"),
    "poison-burst": Fault(_burst("poison", 200), "200 unreadable records in a row"),
    "oversize": Fault(_burst("oversize", 3), "records of 300 kB"),
    "duplicates": Fault(_mix("duplicate", 0.1), "10 % of the records sent twice, for 4 s"),
    "late": Fault(_mix("late", 0.1), "10 % of the records up to 3 days late, for 4 s"),
    "future": Fault(_mix("future", 0.1), "10 % of the records up to 400 days ahead, for 4 s"),
    "clock": Fault(_clock, "the workers' wall clock an hour forth and back"),
}
