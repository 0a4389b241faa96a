"""Everything that must be refused, case by case; run by itself it says how long a worker takes to end.

``python -m tests.live.refused`` starts a worker for each case, one after the other, and prints seconds from its start to its end.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from streams.refusals import GRANT
from tests.live.authority import Authority
from tests.live.place import CANARY, KAFKA_LACKING, REDIS_LACKING, USERS, Place, grant, password, redis_users
from tests.live.secured import EXPIRED, SecuredKafka, SecuredRedis

CLOCK = ("--clock", "event")
LOG_IN, CERTIFICATE, HOST = "refuses the log-in", "a certificate that is not trusted", "not valid for 'localhost'"
RENEW, NAME = "let its administrator renew it", "the host as the certificate does"
REFUSED = {
    "kafka password": (LOG_IN, "RAPPORT_KAFKA_PASSWORD_FILE"),
    "kafka user": (LOG_IN, "RAPPORT_KAFKA_USERNAME"),
    "kafka mechanism": (LOG_IN, "RAPPORT_KAFKA_MECHANISM"),
    "kafka authority": (CERTIFICATE, "RAPPORT_KAFKA_CA"),
    "kafka expired": ("has expired", RENEW),
    "kafka host": (HOST, NAME),
    "redis password": (LOG_IN, "RAPPORT_REDIS_PASSWORD_FILE"),
    "redis user": (LOG_IN, "RAPPORT_REDIS_USERNAME"),
    "redis authority": (CERTIFICATE, "RAPPORT_REDIS_CA"),
    "redis expired": ("has expired", RENEW),
    "redis host": (HOST, NAME),
    "no-offers": ("User:no-offers lacks WRITE on topic offers", GRANT),
    "no-events": ("lacks READ on topic events, WRITE on topic events", GRANT),
    "no-group": ("lacks READ on group rapport", GRANT),
    "no-transactions": ("TransactionalIdAuthorizationFailed", GRANT),
    "no-info": ("'info'", GRANT),
    "no-scripts": ("'evalsha'", GRANT),
    "no-writes": ("no permission", GRANT),
    "no-keys": ("no permission", GRANT),
}
"""Workers that must not start: what is found, and what to do about it."""


def changed(place: Place, case: str) -> dict[str, str]:
    """The environment of such a worker."""
    wrong = {
        "kafka password": {"RAPPORT_KAFKA_PASSWORD": f"{CANARY}!"},
        "kafka user": {"RAPPORT_KAFKA_USERNAME": "stranger"},
        "kafka mechanism": {"RAPPORT_KAFKA_MECHANISM": "PLAIN"},
        "kafka authority": {"RAPPORT_KAFKA_CA": str(place.other.ca)},
        "kafka expired": {"RAPPORT_KAFKA": place.kafka.expired},
        "kafka host": {"RAPPORT_KAFKA": f"localhost:{place.kafka.port}"},
        "redis password": {"RAPPORT_REDIS_PASSWORD": f"{CANARY}!"},
        "redis user": {"RAPPORT_REDIS_USERNAME": "stranger"},
        "redis authority": {"RAPPORT_REDIS_CA": str(place.other.ca)},
        "redis expired": {"RAPPORT_REDIS": place.expired.url},
        "redis host": {"RAPPORT_REDIS": f"rediss://localhost:{place.redis.port}"},
        **{user: {"RAPPORT_REDIS_USERNAME": user} for user in REDIS_LACKING},
    }
    if case in KAFKA_LACKING:
        return place.environment(case)
    return place.environment("worker", **wrong[case])


@contextlib.contextmanager
def installed(folder: Path) -> Iterator[Place]:
    """Kafka and Redis as the page says, and the topics."""
    own, other = Authority(folder / "own"), Authority(folder / "other", "another")
    users = redis_users()
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(SecuredKafka(own, {user: password(user) for user in USERS}))
        store = stack.enter_context(SecuredRedis(folder / "redis", own.sign("redis"), own.ca, users))
        old = stack.enter_context(SecuredRedis(folder / "old", own.sign("redis-old", EXPIRED), own.ca, users))
        grant(broker)
        found = Place(folder, broker, store, old, own, other)
        stack.callback(found.close)
        assert "14 topics created" in found.rapport("operator", "topics", "create", "--partitions", "1", *CLOCK)
        yield found


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder, installed(Path(folder)) as place:
        for case, (found, _) in REFUSED.items():
            started = time.monotonic()
            worker = place.start("worker", *CLOCK, environment=changed(place, case))
            _, err = worker.communicate(timeout=120)
            assert found in err.splitlines()[-1], err
            print(f"{case:20} {time.monotonic() - started:5.1f} s  {err.splitlines()[-1]}", flush=True)


if __name__ == "__main__":
    main()
