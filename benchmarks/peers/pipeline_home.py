"""What a first script costs: a stock Faust agent with a table, and six River pipelines that predict and learn at each event.

Nothing of Rapport is in it, and it does far less: a profile of counts and times, 24 features, six targets (what the next
event is), no horizons, no timers, no campaigns but a threshold. Its steps are its events.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import msgspec
from river.compose import Pipeline
from river.linear_model import LogisticRegression
from river.preprocessing import StandardScaler

from benchmarks.peers.meter import Meter, Task
from benchmarks.peers.stock_faust import application, run

NAMES = ("Product Viewed", "Product Added", "Checkout Started", "Order Completed", "Email Opened", "Product Searched")
THRESHOLD = 0.9

task = Task.told()
meter = Meter(task.count)
app = application(task)
table = app.Table("customers", default=dict)
outbound = app.topic(task.triggers)
models = {name: Pipeline(StandardScaler(), LogisticRegression()) for name in NAMES}


def features(held: dict[str, float], now: float) -> dict[str, float]:
    """24 features of a customer: of each name how often, how long ago, and its share; and six of all together."""
    total = held.get("total", 0.0)
    made: dict[str, float] = {}
    for name in NAMES:
        count = held.get(name, 0.0)
        made[f"count {name}"] = math.log1p(count)
        made[f"since {name}"] = math.log1p(max(0.0, now - held.get(f"at {name}", now)))
        made[f"share {name}"] = count / total if total else 0.0
    made["total"] = math.log1p(total)
    made["since"] = math.log1p(max(0.0, now - held.get("at", now)))
    made["age"] = math.log1p(max(0.0, now - held.get("first", now)))
    made["spent"] = math.log1p(held.get("spent", 0.0))
    made["hour"] = math.sin(now / 86_400 * 2 * math.pi)
    made["day"] = math.sin(now / 604_800 * 2 * math.pi)
    return made


@app.agent(app.topic(task.topic, value_serializer="raw"))
async def agent(stream: Any) -> None:
    """Predict what this event is from what came before, learn what it was, and keep it."""
    triggers = 0
    async for value in stream:
        meter.received()
        event = msgspec.json.decode(value)
        customer = str(event.get("userId") or event.get("anonymousId"))
        name, now = event.get("event") or event.get("type"), seconds(event.get("timestamp"))
        held = table[customer]
        x = features(held, now)
        for target, model in models.items():
            p = model.predict_proba_one(x).get(True, 0.5)
            model.learn_one(x, name == target)
            if target == "Order Completed" and p > THRESHOLD:
                await outbound.send(key=customer, value={"customer": customer, "p": p})
                triggers += 1
        held["total"] = held.get("total", 0.0) + 1
        held["at"], held["first"] = now, held.get("first", now)
        held[name], held[f"at {name}"] = held.get(name, 0.0) + 1, now
        if name == "Order Completed":
            total = (event.get("properties") or {}).get("total")
            held["spent"] = held.get("spent", 0.0) + (total if isinstance(total, (int, float)) else 0.0)
        table[customer] = held
        meter.done += 1
        if meter.done == meter.count:
            meter.end(steps=meter.done, triggers=triggers)


def seconds(text: Any) -> float:
    """Seconds since 1970."""
    return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else 0.0


if __name__ == "__main__":
    run(app)
