"""The checker finds every kind of violation, and none where there is none."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks import checker, checker_log, checker_signals
from benchmarks.checker import Checker
from benchmarks.checker_log import Json

HOUR = 3_600_000
DAY = 24 * HOUR
NOON = 20_000 * DAY + 12 * HOUR

CONFIG: Json = {
    "policy": {
        "timezone": "UTC",
        "consent": "deny",
        "quiet_hours": {"start": "21:00", "end": "08:00"},
        "customer_caps": [{"most": 2, "within": "7d"}],
        "channel_caps": {"sms": [{"most": 1, "within": "14d"}]},
    },
    "campaign": [
        {
            "id": "cart",
            "mode": "live",
            "caps": [{"most": 1, "within": "2d"}],
            "holdout": 0.5,
            "budget_per_day": 1.0,
            "expires_after": "24h",
            "actions": [{"id": "mail", "channel": "email", "cost": 0.4}, {"id": "text", "channel": "sms", "cost": 0.1}],
        },
        {"id": "risk", "mode": "live", "holdout": 0.5, "actions": [{"id": "mail", "channel": "email"}]},
        {"id": "trial", "mode": "shadow", "actions": [{"id": "mail", "channel": "email"}]},
    ],
}


def call(number: int, at: int, kind: str = "track", user: str | None = "1", **more: Any) -> Json:
    time = datetime.fromtimestamp(at / 1000, UTC).isoformat()
    who = {} if user is None else {"userId": user}
    return {
        "type": kind,
        "messageId": f"m{number}",
        "anonymousId": "d1",
        **who,
        "timestamp": time,
        "sentAt": time,
        "receivedAt": time,
        **more,
    }


def consent(number: int, at: int, granted: bool, channel: str = "email", user: str | None = "1") -> Json:
    return call(number, at, user=user, event="Consent Changed", properties={"channel": channel, "granted": granted})


def decision(number: int, at: int, source: str, campaign: str = "cart", arm: str = "treated", **more: Any) -> Json:
    return {
        "id": f"t{number}",
        "customer": "u:1",
        "campaign": campaign,
        "action": {"id": "mail", "channel": "email"},
        "arm": arm,
        "issued_at": at,
        "expires_at": at + DAY,
        "source": source,
        **more,
    }


class World:
    """A log, the decisions and triggers of a run that keeps every rule; tests spoil it."""

    def __init__(self) -> None:
        self.log = [
            call(0, NOON, "identify", traits={"timezone": "Europe/Berlin", "marketing_consent": True}),
            consent(1, NOON + 1, True),
            consent(2, NOON + 2, True, "sms"),
            call(3, NOON + HOUR, event="Product Viewed", properties={}),
            call(4, NOON + 3 * DAY, event="Order Completed", properties={"trigger_id": "t0"}),
            call(5, NOON + 9 * DAY, event="Product Viewed", properties={}),
        ]
        self.decisions = [
            decision(0, NOON + HOUR, "m3"),
            decision(1, NOON + 2 * HOUR, f"u:1|cart|{NOON + 2 * HOUR}", "trial", "shadow"),
            decision(2, NOON + 3 * DAY, "m4"),
        ]
        self.triggers: list[Json] | None = None

    def violations(self) -> set[str]:
        sent = [d for d in self.decisions if d["arm"] == "treated"] if self.triggers is None else self.triggers
        report = Checker(CONFIG, self.decisions, sent).run(json.dumps(line).encode() for line in self.log)
        return set(report.violations)


def test_a_run_that_keeps_the_rules_passes() -> None:
    world = World()
    assert world.violations() == set()


def no_consent_given(world: World) -> None:
    world.log[1] = call(1, NOON + 1, event="Product Viewed", properties={})


def consent_withdrawn(world: World) -> None:
    world.log.insert(4, call(9, NOON + DAY, event="Unsubscribed", properties={"channel": "email"}))


def marked_as_spam(world: World) -> None:
    world.log.insert(4, call(9, NOON + DAY, event="Email Marked as Spam", properties={}))


def trait_withdraws(world: World) -> None:
    world.log.insert(4, call(9, NOON + DAY, "identify", traits={"marketing_consent": False}))


def repeat_does_not_grant_again(world: World) -> None:
    consent_withdrawn(world)
    world.log.insert(5, consent(1, NOON + 1, True))


def withdrawn_on_the_users_device(world: World) -> None:
    world.log.insert(4, consent(9, NOON + DAY, False, user=None))


def quiet_at_home(world: World) -> None:
    # 18:30 UTC is 20:30 in Berlin and 03:30 in Tokyo
    world.log[0]["traits"]["timezone"] = "Asia/Tokyo"
    at = NOON + 13 * HOUR // 2
    world.decisions[2] = decision(2, at, f"u:1|cart|{at}", "risk")


def over_the_campaigns_cap(world: World) -> None:
    at = NOON + 2 * DAY
    world.decisions.insert(2, decision(7, at, f"u:1|cart|{at}"))


def over_the_channels_cap(world: World) -> None:
    for one in (world.decisions[0], world.decisions[2]):
        one["action"] = {"id": "text", "channel": "sms"}


def over_the_customers_cap(world: World) -> None:
    at = NOON + 2 * DAY
    world.decisions.insert(2, decision(7, at, f"u:1|score|{at}", "risk", "holdout"))


def contacts_of_the_device_count(world: World) -> None:
    world.log[0] = call(0, NOON, event="Product Viewed", user=None, properties={})
    world.log[1], world.log[2] = consent(1, NOON + 1, True, user=None), consent(2, NOON + 2, True, user=None)
    world.log[3]["userId"] = None
    at = NOON + 2 * DAY
    world.log[4:] = [call(9, NOON + DAY, "alias", previousId="d1"), call(4, at, event="Order Completed", properties={})]
    world.decisions[0]["customer"] = world.decisions[1]["customer"] = "a:d1"
    world.decisions[1]["source"] = world.decisions[1]["source"].replace("u:1", "a:d1")
    world.decisions[2] = decision(2, at, "m4")


def over_the_budget(world: World) -> None:
    for number in (21, 22):
        world.log.insert(4, consent(number, NOON + HOUR, True, user=str(number)))
        at = NOON + 2 * HOUR + number
        world.decisions.insert(-1, decision(number, at, f"u:{number}|cart|{at}", customer=f"u:{number}"))


def expired_when_issued(world: World) -> None:
    world.decisions[0]["expires_at"] = world.decisions[0]["issued_at"]


def valid_for_too_long(world: World) -> None:
    world.decisions[0]["expires_at"] += 1


def an_id_twice(world: World) -> None:
    world.decisions[2]["id"] = "t0"


def a_holdout_is_sent(world: World) -> None:
    world.decisions[2]["arm"] = "holdout"
    world.triggers = [world.decisions[0], world.decisions[2]]


def a_holdout_changes_sides(world: World) -> None:
    world.decisions[2]["arm"] = "holdout"


def an_answer_to_a_holdout(world: World) -> None:
    world.decisions[0]["arm"] = world.decisions[2]["arm"] = "holdout"


def too_few_held_out(world: World) -> None:
    for number in range(100, 140):
        world.log.insert(4, consent(number, NOON + HOUR, True, user=str(number)))
        at = NOON + 2 * HOUR + number
        world.decisions.insert(-1, decision(number, at, f"u:{number}|score|{at}", "risk", customer=f"u:{number}"))


def a_trigger_is_lost(world: World) -> None:
    world.triggers = [world.decisions[0]]


def two_winners(world: World) -> None:
    world.decisions.insert(1, decision(7, NOON + HOUR, "m3", "risk"))


def shadow_is_sent(world: World) -> None:
    world.decisions[1]["arm"] = "treated"


def another_channel(world: World) -> None:
    world.decisions[0]["action"] = {"id": "mail", "channel": "sms"}


def out_of_nothing(world: World) -> None:
    world.decisions[2]["source"] = "m77"


def at_another_time(world: World) -> None:
    world.decisions[2]["issued_at"] += 1


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (no_consent_given, "consent"),
        (consent_withdrawn, "consent"),
        (marked_as_spam, "consent"),
        (trait_withdraws, "consent"),
        (repeat_does_not_grant_again, "consent"),
        (withdrawn_on_the_users_device, "consent"),
        (quiet_at_home, "quiet hours"),
        (over_the_campaigns_cap, "campaign cap"),
        (over_the_channels_cap, "channel cap"),
        (over_the_customers_cap, "customer cap"),
        (contacts_of_the_device_count, "campaign cap"),
        (over_the_budget, "budget"),
        (expired_when_issued, "expiry"),
        (valid_for_too_long, "expiry"),
        (an_id_twice, "unique id"),
        (a_holdout_is_sent, "holdout"),
        (a_holdout_changes_sides, "holdout"),
        (an_answer_to_a_holdout, "holdout"),
        (too_few_held_out, "holdout share"),
        (a_trigger_is_lost, "trigger lost"),
        (two_winners, "one winner"),
        (shadow_is_sent, "mode"),
        (another_channel, "action"),
        (out_of_nothing, "source"),
        (at_another_time, "clock"),
    ],
)
def test_each_violation_is_found(spoil: Callable[[World], None], kind: str) -> None:
    world = World()
    spoil(world)
    assert kind in world.violations()


@pytest.mark.parametrize("module", [checker, checker_log, checker_signals])
def test_it_imports_no_engine_code(module: ModuleType) -> None:
    tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += ["." * node.level + (node.module or "") for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.split(".")[0] if name[0] != "." else name for name in names} <= {
        *sys.stdlib_module_names,
        ".checker_log",
        ".checker_signals",
    }
