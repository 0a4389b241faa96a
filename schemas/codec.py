"""Bytes of the log: one JSON object per record, keys in a fixed order, fields at their defaults left out."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from .dead_letters import DeadLetter
from .decisions import Conversion, Decision, Suppressed
from .errors import SchemaError
from .events import AnyEvent
from .refusals import refusal

T = TypeVar("T")

_encoder = msgspec.json.Encoder(order="deterministic")
_event_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_decision_decoder = msgspec.json.Decoder(Decision)
_conversion_decoder = msgspec.json.Decoder(Conversion)
_dead_decoder = msgspec.json.Decoder(DeadLetter)


def encode_event(event: AnyEvent) -> bytes:
    """An event as bytes for the log; the same event always gives the same bytes.

    >>> from schemas.control import tick
    >>> decode_event(encode_event(tick(5))) == tick(5)
    True
    """
    return _encoder.encode(event)


def decode_event(data: bytes) -> AnyEvent:
    """An event of our own log, the engine's own records included; untrusted bytes go through ``Intake.read``.

    Raises
    ------
    SchemaError
        The bytes are no canonical event.
    """
    return _decoded(_event_decoder, data)


def encode_decision(decision: Decision) -> bytes:
    """A decision as bytes; the same decision always gives the same bytes."""
    return _encoder.encode(decision)


def decode_decision(data: bytes) -> Decision:
    """A decision from its bytes.

    Raises
    ------
    SchemaError
        The bytes are no decision.
    """
    return _decoded(_decision_decoder, data)


def encode_conversion(conversion: Conversion) -> bytes:
    """A conversion as bytes."""
    return _encoder.encode(conversion)


def decode_conversion(data: bytes) -> Conversion:
    """A conversion from its bytes.

    Raises
    ------
    SchemaError
        The bytes are no conversion.
    """
    return _decoded(_conversion_decoder, data)


def encode_suppressed(suppressed: Suppressed) -> bytes:
    """What was suppressed as bytes."""
    return _encoder.encode(suppressed)


def encode_dead_letter(letter: DeadLetter) -> bytes:
    """A dead letter as bytes."""
    return _encoder.encode(letter)


def decode_dead_letter(data: bytes) -> DeadLetter:
    """A dead letter from its bytes.

    Raises
    ------
    SchemaError
        The bytes are no dead letter.
    """
    return _decoded(_dead_decoder, data)


def _decoded(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    try:
        return decoder.decode(data)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise refusal(error) from None


__all__ = [
    "SchemaError",
    "decode_conversion",
    "decode_dead_letter",
    "decode_decision",
    "decode_event",
    "encode_conversion",
    "encode_dead_letter",
    "encode_decision",
    "encode_event",
    "encode_suppressed",
]
