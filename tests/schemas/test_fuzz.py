"""Any bytes: decoder and adapters answer with events or with one refusal that has a reason, soon, and of bounded size."""

import contextlib

from hypothesis import given

from schemas.codec import (
    decode_conversion,
    decode_dead_letter,
    decode_decision,
    decode_event,
    encode_dead_letter,
    encode_event,
)
from schemas.errors import REASONS, SchemaError
from schemas.intake import Intake, IntakeOptions
from schemas.routing import RAW_TOPICS, glance
from tests.fuzzing import bounded, fuzzed, lines, mutated

ARRIVAL = 1_714_557_600_000
RAW = lines("segment.jsonl", "hostile.jsonl", "events-v1.jsonl")
SEVERAL = lines("ga4.jsonl", "rudderstack.jsonl")
MOST_LETTERS = 26
OF_THE_LOG = lines("log.jsonl", "events-v1.jsonl")
LARGEST_LETTER = 1_000
ESCAPED = 6  # a byte of text may become six, as in \u001f
readers = (Intake(), Intake(IntakeOptions(reject_ahead=True, currency="EUR", traits=frozenset({"tier"}))))


@fuzzed(300)
@given(mutated(RAW))
def test_the_intake(raw: bytes) -> None:
    for reader in readers:
        with bounded():
            read = reader.read(raw, ARRIVAL, "clickstream[0]@7")
        assert bool(read.events) != (read.dead is not None)
        assert len(read.events) <= 4
        for event in read.events:
            data = encode_event(event)
            assert decode_event(data) == event
            assert len(data) <= ESCAPED * len(raw) + LARGEST_LETTER
        if read.dead is not None:
            assert read.dead.reason in REASONS
            assert read.dead.remedy
            assert len(encode_dead_letter(read.dead)) <= LARGEST_LETTER


@fuzzed(300)
@given(mutated(SEVERAL))
def test_records_that_hold_several(raw: bytes) -> None:
    for reader in readers:
        with bounded():
            read = reader.read(raw, ARRIVAL, "clickstream[0]@7")
        assert read.events or read.letters
        assert read.dead is None or not read.events
        ours = [event.id for event in read.events if event.id[:2] in ("g:", "o:")]
        assert len(set(ours)) == len(ours)
        for event in read.events:
            data = encode_event(event)
            assert decode_event(data) == event
            assert len(data) <= ESCAPED * len(raw) + LARGEST_LETTER
        assert len(read.letters) <= MOST_LETTERS
        for letter in read.letters:
            assert letter.reason in REASONS
            assert letter.remedy
            assert len(encode_dead_letter(letter)) <= LARGEST_LETTER


@fuzzed(300)
@given(mutated(RAW + SEVERAL))
def test_the_glance_of_the_player(raw: bytes) -> None:
    with bounded():
        seen = glance(raw)
    assert seen.topic in RAW_TOPICS


@fuzzed(300)
@given(mutated(OF_THE_LOG))
def test_the_readers_of_our_own_records(raw: bytes) -> None:
    for decode in (decode_event, decode_decision, decode_conversion, decode_dead_letter):
        with bounded(), contextlib.suppress(SchemaError):
            decode(raw)
