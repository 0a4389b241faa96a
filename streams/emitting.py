"""A step's effects as records: decisions, conversions, examples and messages, each with its place in the log."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from models.draft import Step
from models.learning.learner import Example
from schemas.base import Event
from schemas.codec import encode_conversion, encode_dead_letter, encode_decision, encode_event
from schemas.dead_letters import DeadLetter
from schemas.decisions import Conversion, Decision

from .outbox import Headers, Output

LARGEST = 800_000
VIA = "rapport-via"

_encoder = msgspec.msgpack.Encoder()
_example = msgspec.msgpack.Decoder(Example)


def encode_example(example: Example) -> bytes:
    """An example as bytes for the topic ``learning`` and the write-ahead log."""
    return _encoder.encode(example)


def decode_example(data: bytes) -> Example:
    """What ``encode_example`` made; raises ``msgspec.DecodeError`` where the bytes are none."""
    return _example.decode(data)


def cloud_event(name: str, kind: str, source: str, at: int) -> Headers:
    """The headers of a CloudEvent in binary mode, as the protocol binding for Kafka has them.

    Parameters
    ----------
    name
        Its id, unique to ``source``: what is sent again has the same.
    kind
        Its type, such as ``rapport.trigger.nudges``.
    at
        Milliseconds UTC.

    >>> cloud_event("t", "rapport.trigger.nudges", "rapport/events", 5)[-2:]
    (('ce_time', b'1970-01-01T00:00:00.005Z'), ('content-type', b'application/json'))
    """
    time = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", name.encode()),
        ("ce_type", kind.encode()),
        ("ce_source", source.encode()),
        ("ce_time", time.replace("+00:00", "Z").encode()),
        ("content-type", b"application/json"),
    )


def decided(decision: Decision, source: str) -> Headers:
    """The headers of a decision."""
    kind = "trigger" if decision.arm == "treated" else "decision"
    return cloud_event(decision.id, f"rapport.{kind}.{decision.topic}", source, decision.issued_at)


def converted(conversion: Conversion, source: str) -> Headers:
    """The headers of a goal reached: one of a decision and moment."""
    name = f"{conversion.decision}|{conversion.goal}|{conversion.occurred_at}"
    return cloud_event(name, "rapport.conversion", source, conversion.occurred_at)


def refused(letter: DeadLetter, source: str) -> Headers:
    """The headers of a dead letter: one of a record and the field that was unusable."""
    return cloud_event(f"{letter.origin}|{letter.field}", "rapport.dead-letter", source, letter.received_at)


class Emitter:
    """Collects the outputs of a batch.

    Parameters
    ----------
    prefix
        Of topic names.
    source
        Who decides: the CloudEvents source.
    examples
        Whether examples go to a topic; with inline learning they do not.
    """

    def __init__(self, prefix: str, source: str, examples: bool) -> None:
        self._prefix = prefix
        self._source = source
        self._examples = examples
        self.outputs: list[Output] = []
        self.arrivals: list[int] = []
        self.bytes = 0
        self._offset = -1
        self._n = 0

    def start(self, offset: int, n: int) -> None:
        """Outputs from now on belong to the record at ``offset``, of which ``n`` are out already."""
        if offset != self._offset:
            self._offset, self._n = offset, n

    @property
    def n(self) -> int:
        """Outputs of the present record so far, those of earlier commits included."""
        return self._n

    def step(self, step: Step, now: int, arrived: int) -> None:
        """All effects of a step that go to a topic.

        Parameters
        ----------
        arrived
            When its event arrived, or its timer was due, milliseconds UTC.
        """
        for decision in step.decisions:
            value, key = encode_decision(decision), decision.customer.encode()
            headers = decided(decision, self._source)
            if decision.arm == "treated":
                self._add(decision.topic, key, value, now, headers)
                self.arrivals.append(arrived)
            self._add("decisions", key, value, now, headers)
        for conversion in step.conversions:
            headers = converted(conversion, self._source)
            self._add("decisions", conversion.customer.encode(), encode_conversion(conversion), now, headers)
        for message in step.messages:
            self.event(message)
        if self._examples:
            for example in step.examples:
                self._add("learning", example.model.encode(), encode_example(example), now)

    def event(self, event: Event, partition: int = -1) -> None:
        """An event for the log."""
        self._add("events", event.customer.encode(), encode_event(event), event.occurred_at, (), partition)  # type: ignore[arg-type]  # of the union

    def dead(self, letter: DeadLetter, at: int) -> None:
        """A record that could not be read."""
        self._add("dead-letters", letter.origin.encode(), encode_dead_letter(letter), at, refused(letter, self._source))

    def _add(self, topic: str, key: bytes, value: bytes, at: int, headers: Headers = (), partition: int = -1) -> None:
        if len(value) > LARGEST:
            # a poison output would block its partition for ever
            letter = DeadLetter(
                origin=f"{topic}|{self._offset}|{self._n}",
                reason="too_large",
                field="$",
                found=f"an output of {len(value)} bytes",
                remedy="raise the limits of broker and engine, or report a bug",
                received_at=at,
                size=len(value),
            )
            topic, value, headers, partition = (
                "dead-letters",
                encode_dead_letter(letter),
                refused(letter, self._source),
                -1,
            )
        self.outputs.append(Output(self._offset, self._n, self._prefix + topic, key, value, at, headers, partition))
        self.bytes += len(value)
        self._n += 1
