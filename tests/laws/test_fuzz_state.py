"""Any bytes where state is kept: snapshots, profiles, examples, outboxes and configurations are read or refused, soon.

Snapshots are changed behind their signature and signed anew: as who has the key, or where none is set, could.
"""

from __future__ import annotations

import contextlib
from functools import cache

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConfigError, ModelError, SnapshotError
from models.learning import snapshots
from models.learning.model import ModelSpec, OnlineModel
from models.learning.registry import EstimatorSpec
from models.policy.reading import read
from models.profile import profile as profiles
from streams import outbox, saved
from streams.emitting import decode_example, encode_example
from streams.outbox import Output
from streams.run import Run
from streams.store import Position
from tests.fuzzing import bounded, fuzzed, mutated
from tests.support import BUSY, Recorded, busy, stream

KEY = b"a key"
SPECS = {
    "explicit": ModelSpec(estimator=EstimatorSpec(name="river.linear_model.LogisticRegression")),
    "pickle": ModelSpec(estimator=EstimatorSpec(name="river.tree.HoeffdingTreeClassifier", params={"grace_period": 5})),
}
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)


@cache
def recorded() -> Recorded:
    """A run that has something of everything."""
    return Recorded(busy()).feed(stream(1, 600))


@cache
def taught(kind: str) -> snapshots.Sealed:
    """The snapshot of a model that has learned."""
    model = OnlineModel("m", SPECS[kind], ("t",))
    for n in range(40):
        model.learn({"a": n % 7 / 7, "b": n % 3 / 3}, n % 7 > 3)
        model.score("t", 0.4, 0.5, n % 2 == 0)
    return snapshots.unseal(model.snapshot(KEY), "m", KEY)


@pytest.mark.parametrize("kind", SPECS)
@fuzzed(40)
@given(data=st.data())
def test_snapshots(kind: str, data: st.DataObject) -> None:
    sealed = taught(kind)
    payload = data.draw(mutated([sealed.payload]))
    model = OnlineModel("m", SPECS[kind], ("t",))
    with bounded(), contextlib.suppress(SnapshotError):
        model.restore(snapshots.seal("m", sealed.version, sealed.kind, payload, KEY), KEY)
    with contextlib.suppress(ModelError):
        assert 0 <= model.predict({"a": 0.5, "b": 0.5}) <= 1


@cache
def whole() -> bytes:
    """The payload of a saved run."""
    return snapshots.unseal(saved.snapshot(recorded().run, KEY), saved.NAME, KEY).payload


@fuzzed(40)
@given(data=st.data())
def test_saved_states_of_a_run(data: st.DataObject) -> None:
    payload = data.draw(mutated([whole()]))
    run = Run(busy())
    with bounded(), contextlib.suppress(SnapshotError):
        saved.restore(run, snapshots.seal(saved.NAME, saved.FORMAT, "replay", payload, KEY), KEY)


@fuzzed(40)
@given(data=st.data())
def test_profiles(data: st.DataObject) -> None:
    seeds = [profiles.encode(profile) for profile in list(recorded().run.profiles.values())[:20]]
    with bounded(), contextlib.suppress(*UNREADABLE):
        profiles.decode(data.draw(mutated(seeds)))


@fuzzed(40)
@given(data=st.data())
def test_examples_and_outboxes(data: st.DataObject) -> None:
    examples = [encode_example(example) for example in recorded().examples[:20]]
    kept = outbox.encode(Position(5), [Output(4, n, "offers", b"u:1", b"{}", 0) for n in range(3)])
    raw = data.draw(mutated([*examples, kept]))
    for decode in (decode_example, outbox.decode):
        with bounded(), contextlib.suppress(*UNREADABLE):
            decode(raw)


@fuzzed(40)
@given(mutated([BUSY.encode()]))
def test_configurations(raw: bytes) -> None:
    text = raw.decode("utf-8", "replace")  # what is no UTF-8 never comes so far
    with bounded(), contextlib.suppress(ConfigError):
        read(text)
