"""What a worker may do on the cluster, asked before it starts: a missing permission would show only when it is needed.

An output topic that may not be written to, for instance, shows at the first trigger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kafka.errors import GroupAuthorizationFailedError, KafkaError  # type: ignore[import-untyped]  # it ships no types

from . import clients
from .connection import KafkaConnection
from .errors import AccessError
from .refusals import GRANT
from .settings import StreamSettings
from .topic_plan import DEAD_LETTERS, EVENTS, LEARNING, OUTBOUND

READ, WRITE = "READ", "WRITE"
_DENIED = 29


def needed(settings: StreamSettings, role: str) -> dict[str, set[str]]:
    """The operations on each topic that a role needs.

    >>> needed(StreamSettings(prefix="eu-"), "learner")
    {'eu-learning': {'READ'}, 'eu-events': {'WRITE'}}
    """
    found: dict[str, set[str]] = {}

    def need(operation: str, names: Iterable[str]) -> None:
        for name in names:
            found.setdefault(settings.topic(name), set()).add(operation)

    if role in ("all", "intake"):
        need(READ, settings.raw)
        need(WRITE, (EVENTS, DEAD_LETTERS))
    if role in ("all", "engine"):
        need(READ, (EVENTS,))
        need(WRITE, (EVENTS, *OUTBOUND))
        if settings.learning != "inline":
            need(WRITE, (LEARNING,))
    if role in ("all", "learner") and settings.learning != "inline":
        need(READ, (LEARNING,))
        need(WRITE, (EVENTS,))
    return found


def check(connection: KafkaConnection, needs: Mapping[str, set[str]], group: str) -> None:
    """Return where all is granted, or the broker does not tell; a topic that does not exist is no matter of permissions.

    Parameters
    ----------
    needs
        As ``needed`` gives them.
    group
        The consumer group, which a worker joins.

    Raises
    ------
    AccessError
        Naming what is to be granted.
    BrokerError
        Where no broker answers in time.
    """
    with clients.admin(connection) as admin:
        topics = {entry["name"]: entry for entry in admin.describe_topics(list(needs))}
        lacking = [
            f"{operation} on topic {name}"
            for name, operations in needs.items()
            for operation in sorted(operations - granted(topics.get(name, {}), operations))
        ]
        if not _member(admin, group):
            lacking.append(f"READ on group {group}")
    if lacking:
        user = f"User:{connection.username}" if connection.sasl else "this user"
        raise AccessError(connection.address, f"that {user} lacks {', '.join(lacking)}", GRANT)


def granted(topic: Mapping[str, object], asked: set[str]) -> set[str]:
    """Of the operations asked for, those that the broker's answer allows.

    >>> granted({"authorized_operations": ["READ"]}, {"READ", "WRITE"}), granted({"error_code": 29}, {"READ"})
    ({'READ'}, set())
    >>> granted({"authorized_operations": []}, {"READ"})
    {'READ'}
    """
    if topic.get("error_code") == _DENIED:
        return set()
    told = topic.get("authorized_operations")
    return asked & set(told) if isinstance(told, list) and told else asked


def _member(admin: object, group: str) -> bool:
    try:
        found = admin.describe_groups([group])[group]  # type: ignore[attr-defined]  # kafka-python is not typed
    except GroupAuthorizationFailedError:
        return False
    except (KafkaError, ValueError):  # its coordinator is not there yet, or tells what the client does not know
        return True
    return bool(granted(found, {READ}))
