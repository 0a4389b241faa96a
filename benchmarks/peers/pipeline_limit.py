"""The bare limit: a confluent-kafka loop around the engine. Profiles in memory, nothing kept, nothing guaranteed."""

from __future__ import annotations

from confluent_kafka import Consumer, Producer

from benchmarks.peers.meter import Meter, Task
from schemas.codec import encode_decision
from schemas.decisions import Decision
from schemas.intake import Intake
from streams.commands.examples import example_settings
from streams.memory import settle
from streams.run import Run


def main() -> None:
    """Step record by record; triggers are produced, and not waited for."""
    task = Task.told()
    meter, triggers = Meter(task.count), 0
    producer = Producer({"bootstrap.servers": task.broker})

    def decided(decision: Decision) -> None:
        nonlocal triggers
        if decision.arm == "treated":
            producer.produce(task.triggers, encode_decision(decision), decision.customer)
            triggers += 1

    intake, run = Intake(), Run(example_settings(), on_decision=decided)
    consumer = Consumer({"bootstrap.servers": task.broker, "group.id": task.group, "auto.offset.reset": "earliest"})
    consumer.subscribe([task.topic])
    settle()
    while meter.done < meter.count:
        for message in consumer.consume(500, 0.5):
            meter.received()
            if (error := message.error()) is not None:
                raise RuntimeError(str(error))
            run.drain(intake.read(message.value() or b"", None, f"bench:{message.offset()}").events)
            meter.done += 1
        producer.poll(0)
    meter.tell(steps=run.steps, triggers=triggers)
    producer.flush(30)


if __name__ == "__main__":
    main()
