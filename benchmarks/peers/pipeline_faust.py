"""The engine called event by event in a stock Faust agent: profiles in a Faust table with its changelog topic, at least once.

Timers are kept in memory in order of time, and are lost at a restart; messages for other customers are stepped at once,
which one partition allows; learning is inline, and the models are kept nowhere.
"""

from __future__ import annotations

from typing import Any, cast

from benchmarks.peers.meter import Meter, Task
from benchmarks.peers.stock_faust import application, run
from models.profile.profile import Profile, decode, encode
from schemas.codec import encode_decision
from schemas.decisions import Decision
from schemas.intake import Intake
from streams.commands.examples import example_settings
from streams.memory import settle
from streams.run import Run

task = Task.told()
meter = Meter(task.count)
app = application(task)
table: Any = app.Table("profiles", key_type=bytes, value_type=bytes)
table.key_serializer = table.value_serializer = "raw"  # JSON without; its constructor takes none
outbound = app.topic(task.triggers, key_serializer="raw", value_serializer="raw")


class Profiles:
    """Profiles by customer, as bytes in the table."""

    def get(self, customer: str) -> Profile | None:
        """The profile of a customer; None where there is none."""
        data = table.get(customer.encode())
        return None if data is None else decode(data)

    def __setitem__(self, customer: str, profile: Profile) -> None:
        table[customer.encode()] = encode(profile)


@app.agent(app.topic(task.topic, value_serializer="raw"))
async def agent(stream: Any) -> None:
    """Step event by event; a trigger is sent before the next event."""
    decided: list[Decision] = []
    triggers = 0
    intake, engine = Intake(), Run(example_settings(), on_decision=decided.append)
    engine.profiles = cast(dict[str, Profile], Profiles())
    settle()
    async for value in stream:
        meter.received()
        engine.drain(intake.read(value, None, f"bench:{meter.done}").events)
        for decision in decided:
            if decision.arm == "treated":
                await outbound.send(key=decision.customer.encode(), value=encode_decision(decision))
                triggers += 1
        decided.clear()
        meter.done += 1
        if meter.done == meter.count:
            meter.end(steps=engine.steps, triggers=triggers)


if __name__ == "__main__":
    run(app)
