"""A snapshot is taken back whole, by its own model, or not at all; and no bytes of it can run code."""

from __future__ import annotations

import copy
import functools
import os
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from river.linear_model import LogisticRegression
from river.optim import SGD

from models.config import EngineConfig
from models.errors import SnapshotError
from models.learning import snapshots
from models.learning.learner import Learner
from models.learning.model import Body, ModelSpec, OnlineModel
from models.learning.registry import EstimatorSpec
from models.learning.state import extract, fill
from streams.run import Run
from tests.support import OWN_MODEL, Recorded, busy, stream

KEY = b"a key"
LINEAR = EstimatorSpec(name="river.linear_model.LogisticRegression")
TREE = EstimatorSpec(name="river.tree.HoeffdingTreeClassifier", params={"grace_period": 5})


FOREST = EstimatorSpec(name="river.forest.ARFClassifier", params={"n_models": 2, "grace_period": 5})
OWN = EstimatorSpec(name=OWN_MODEL, allow=(OWN_MODEL,))


def model(name: str = "m", spec: EstimatorSpec = LINEAR, targets: tuple[str, ...] = ("t",)) -> OnlineModel:
    return OnlineModel(name, ModelSpec(estimator=spec), targets)


def taught(spec: EstimatorSpec = LINEAR, name: str = "m") -> OnlineModel:
    held = model(name, spec)
    for n in range(40):
        held.learn({"a": n % 7 / 7, "b": n % 3 / 3}, n % 7 > 3)
        held.score("t", 0.4, 0.5, n % 2 == 0)
    return held


@cache
def sealed_once(name: str | tuple[str, ...]) -> bytes:
    """The bytes of a pickle may differ from one time to the next, even where what they say does not."""
    return taught(next(spec for spec in (LINEAR, TREE, FOREST, OWN) if spec.name == name)).snapshot(KEY)


@pytest.mark.parametrize("spec", [LINEAR, TREE, FOREST, OWN], ids=["explicit", "pickle", "forest", "own"])
@hypothesis_settings(deadline=None, max_examples=40)
@given(st.data())
def test_changed_bytes_are_refused(spec: EstimatorSpec, data: st.DataObject) -> None:
    whole = sealed_once(spec.name)
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :]
    other = model(spec=spec)
    before = other.snapshot(KEY)
    with pytest.raises(SnapshotError):
        other.restore(changed, KEY)
    with pytest.raises(SnapshotError):
        other.restore(whole[:place], KEY)
    assert other.snapshot(KEY) == before


def test_a_snapshot_is_taken_by_its_own_model_only() -> None:
    whole = taught().snapshot(KEY)
    with pytest.raises(SnapshotError, match="offered as other"):
        model("other").restore(whole, KEY)
    with pytest.raises(SnapshotError, match="signature"):
        model().restore(whole, b"another key")
    with pytest.raises(SnapshotError, match="targets"):
        model(targets=("t", "u")).restore(whole, KEY)
    with pytest.raises(SnapshotError, match="configuration"):
        model(spec=TREE).restore(whole, KEY)
    adam = EstimatorSpec(name=LINEAR.name, params={"optimizer": {"class": "river.optim.Adam"}})
    with pytest.raises(SnapshotError, match="configuration"):
        model(spec=adam).restore(whole, KEY)


def test_another_format_is_refused() -> None:
    sealed = msgspec.msgpack.decode(taught().snapshot(KEY), type=snapshots.Sealed)
    newer = msgspec.structs.replace(sealed, format=snapshots.FORMAT + 1)
    signed = msgspec.structs.replace(newer, signature=snapshots._sign(newer, KEY))
    with pytest.raises(SnapshotError, match="format"):
        model().restore(msgspec.msgpack.encode(signed), KEY)


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x80", msgspec.msgpack.encode({"version": "x"})])
def test_a_signed_payload_of_another_shape_is_refused(payload: bytes) -> None:
    with pytest.raises(SnapshotError):
        model().restore(snapshots.seal("m", 1, "state", payload, KEY), KEY)


def test_a_learner_is_restored_whole_or_not_at_all() -> None:
    learner = Learner(EngineConfig().model_specs())
    held: dict[str, bytes] = msgspec.msgpack.decode(learner.snapshot(KEY))
    last = list(held)[-1]
    trained = Recorded(busy()).feed(stream(1, 800)).run.learner
    mixed = msgspec.msgpack.decode(trained.snapshot(KEY)) | {last: b"broken"}
    before = learner.snapshot(KEY)
    with pytest.raises(SnapshotError):
        learner.restore(msgspec.msgpack.encode(mixed), KEY)
    assert learner.snapshot(KEY) == before
    with pytest.raises(SnapshotError):
        learner.restore(msgspec.msgpack.encode({k: v for k, v in mixed.items() if k != last}), KEY)


def test_a_run_is_restored_whole_or_not_at_all() -> None:
    saved = Recorded(busy()).feed(stream(1, 600)).run.snapshot(KEY)
    state = msgspec.msgpack.decode(saved)
    fresh = Run(busy())
    before = fresh.snapshot(KEY)
    broken: list[list[Any]] = [
        [9, *state[1:]],
        [*state[:2], [["x"]], *state[3:]],
        [*state[:3], [b"\xc1"], *state[4:]],
        [*state[:4], b"", state[5]],
        [*state[:5], b"\xc1"],
        state[:4],
    ]
    for one in broken:
        with pytest.raises(SnapshotError):
            fresh.restore(msgspec.msgpack.encode(one), KEY)
        assert fresh.snapshot(KEY) == before
    for cut in (0, 1, len(saved) // 2, len(saved) - 1):
        with pytest.raises(SnapshotError):
            fresh.restore(saved[:cut], KEY)
        assert fresh.snapshot(KEY) == before
    fresh.restore(saved, KEY)
    assert fresh.snapshot(KEY) == saved


class Calls:
    """Pickles as a call of something with arguments."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def named(module: str, name: str, *arguments: bytes) -> bytes:
    """A pickle that calls ``module.name`` with texts; a dotted name is looked up attribute by attribute."""

    def text(value: bytes) -> bytes:
        return b"\x8c" + bytes([len(value)]) + value

    return (
        b"\x80\x05" + text(module.encode()) + text(name.encode()) + b"\x93(" + b"".join(map(text, arguments)) + b"tR."
    )


COMMAND = b"touch pwned"
GADGETS = [
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("subprocess", "getoutput"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "open"),
    ("builtins", "compile"),
    ("builtins", "__import__"),
    ("builtins", "type"),
    ("builtins", "vars"),
    ("builtins", "setattr"),
    ("builtins", "map"),
    ("importlib", "import_module"),
    ("operator", "attrgetter"),
    ("operator", "methodcaller"),
    ("pickle", "loads"),
    ("_pickle", "loads"),
    ("pip", "main"),
    ("collections", "namedtuple"),
    ("collections", "_sys.modules"),
    ("collections.abc", "sys.modules"),
    ("functools", "reduce"),
    ("functools", "partial.__class__"),
    ("copy", "copy.__globals__"),
    ("random", "_os.system"),
    ("random", "Random.__init__.__globals__"),
    ("numpy", "f2py.compile"),
    ("numpy.f2py", "compile"),
    ("numpy.testing._private.utils", "runstring"),
    ("numpy._core._internal", "ast.literal_eval"),
    ("numpy", "memmap"),
    ("numpy", "load"),
    ("numpy", "loadtxt"),
    ("numpy", "fromfile"),
    ("numpy", "vectorize"),
    ("numpy.lib._datasource", "DataSource"),
    ("sortedcontainers.sortedlist", "SortedKeyList"),
    ("models.learning.registry", "import_module"),
    ("models.learning.registry", "build"),
    ("models.learning.snapshots", "pickle.loads"),
    ("models.learning.snapshots", "load"),
    ("models.learning.snapshots", "_Unpickler"),
    ("models.learning.model", "OnlineModel"),
    ("models.policy.reading", "tomllib.loads"),
    ("models.policy.quiet", "ZoneInfo"),
    ("river.base.base", "inspect.os.system"),
    ("river.base.base", "inspect"),
    ("river.base.base", "sys"),
    ("river.base", "Base.clone"),
    ("river.datasets.base", "RemoteDataset"),
    ("river.datasets", "Phishing"),
    ("river.stream", "Cache"),
    ("river.stream.cache", "Cache"),
    ("river.stream.iter_csv", "iter_csv"),
    ("river.evaluate.progressive_validation", "progressive_val_score"),
    ("river.compat.river_to_sklearn", "convert_river_to_sklearn"),
    ("river.utils.pretty", "humanize_bytes"),
    ("river.linear_model.log_reg", "LogisticRegression.__init__.__globals__"),
    ("river.linear_model.log_reg", "base"),
    ("river.linear_model.log_reg", "optim.Adam"),
]


@pytest.mark.parametrize(("module", "name"), GADGETS, ids=[".".join(one) for one in GADGETS])
def test_no_gadget_is_found(module: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SnapshotError, match="not allowed"):
        snapshots.load(named(module, name, COMMAND))
    assert list(tmp_path.iterdir()) == []


ATTRIBUTES: list[tuple[object, str]] = [
    (LogisticRegression, "__init__"),
    (LogisticRegression, "__subclasses__"),
    (LogisticRegression(), "__reduce_ex__"),
    (LogisticRegression(), "optimizer"),
    (dict, "fromkeys"),
    ([], "append"),
    ("{0.__class__}", "format"),
    (pickle.Unpickler, "load"),
]


@pytest.mark.parametrize(("owner", "name"), ATTRIBUTES, ids=[name for _, name in ATTRIBUTES])
def test_getattr_reaches_methods_of_river_only(owner: object, name: str) -> None:
    with pytest.raises(SnapshotError, match="not allowed"):
        snapshots.load(pickle.dumps(Calls(getattr, owner, name), protocol=5))


@pytest.mark.parametrize(
    "instance",
    [LogisticRegression, Body, snapshots.load, pickle.loads, os.system],
    ids=["a class", "our class", "our function", "loads", "system"],
)
def test_no_class_or_function_is_changed(instance: Any) -> None:
    """BUILD with a slot state sets attributes of whatever lies on the stack, a class included."""
    state = pickle.dumps((None, {"predict_proba_one": dict}), protocol=5)[2:-1]
    frameless = pickle.dumps(instance, protocol=3)[2:-1]
    state = pickle.dumps((None, {"predict_proba_one": dict}), protocol=3)[2:-1]
    with pytest.raises(SnapshotError, match="not allowed"):
        snapshots.load(b"\x80\x03" + frameless + state + b"b.")
    assert callable(LogisticRegression.predict_proba_one)
    assert not isinstance(LogisticRegression.predict_proba_one, type)


FRAMELESS = pickle.dumps((None, {"predict_proba_one": dict}), protocol=3)[2:-1]
CLASS = pickle.dumps(LogisticRegression, protocol=3)[2:-1]
METHOD = pickle.dumps(Calls(getattr, LogisticRegression(), "learn_one"), protocol=3)[2:-1]
CHANGES = {
    "and is used": CLASS + FRAMELESS + b"b" + pickle.dumps(LogisticRegression(), protocol=3)[2:-1],
    "and breaks off": CLASS + FRAMELESS + b"b" + b"N\x82\x01",
    "twice": CLASS + FRAMELESS + b"b" + FRAMELESS + b"b",
    "of a method": METHOD + pickle.dumps({"wrapped": 1}, protocol=3)[2:-1] + b"b",
    "of a partial": pickle.dumps(functools.partial, protocol=3)[2:-1] + pickle.dumps((None, {"x": 1}))[2:-1] + b"b",
    "of deepcopy": pickle.dumps(copy.deepcopy, protocol=3)[2:-1] + pickle.dumps({"x": 1}, protocol=3)[2:-1] + b"b",
    "of its defaults": pickle.dumps(copy.deepcopy, protocol=3)[2:-1]
    + pickle.dumps((None, {"__defaults__": (1, 2)}), protocol=3)[2:-1]
    + b"b",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_pickle_changes_is_put_back(change: bytes) -> None:
    watched: tuple[Any, ...] = (LogisticRegression, LogisticRegression.learn_one, functools.partial, copy.deepcopy)
    before = [dict(vars(one)) for one in watched]
    with pytest.raises(SnapshotError):
        snapshots.load(b"\x80\x03" + change + b".")
    assert [dict(vars(one)) for one in watched] == before
    assert copy.deepcopy.__defaults__ == (None, [])
    assert copy.deepcopy([1]) == [1]


def test_a_class_of_ones_own_is_read_only_where_it_is_allowed() -> None:
    """Under the name of its definition, which is longer than the one that it is offered under."""
    held = model(spec=OWN)._estimator
    assert type(held).__module__ != OWN_MODEL.rpartition(".")[0]
    assert type(snapshots.load(snapshots.dump(held), OWN.allow)) is type(held)
    with pytest.raises(SnapshotError, match="not allowed"):
        snapshots.load(snapshots.dump(held))
    with pytest.raises(SnapshotError, match="not allowed"):
        snapshots.load(named("own_model.bayes", "log", COMMAND), OWN.allow)


def test_a_snapshot_of_another_revision_of_its_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    held = taught(OWN)
    whole = held.snapshot(KEY)
    model(spec=OWN).restore(whole, KEY)
    monkeypatch.setattr(type(held._estimator), "revision", 2)
    with pytest.raises(SnapshotError, match="configuration"):
        model(spec=OWN).restore(whole, KEY)


def test_a_snapshot_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "LARGEST", 1000)
    with pytest.raises(SnapshotError, match="bound the model"):
        taught(FOREST).snapshot(KEY)


def test_a_model_that_is_full_learns_no_more_and_is_scored_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(held: OnlineModel, first: int, last: int) -> list[float]:
        answers = []
        for n in range(first, last):
            x = {"a": n % 7 / 7, "b": n % 3 / 3}
            answers.append(held.predict(x))
            held.score("t", answers[-1], 0.5, n % 7 > 3)
            held.learn(x, n % 7 > 3)
        return answers

    monkeypatch.setattr("models.learning.model.FULL", 40_000)
    whole, cut = model(spec=FOREST), model(spec=FOREST)
    answers = run(whole, 0, 1600)
    assert whole.full
    assert whole.metrics["t"].n == 1600
    assert answers[-21:] == answers[-42:-21], "it learns no more"
    first = run(cut, 0, 700)
    again = model(spec=FOREST)
    again.restore(cut.snapshot(KEY), KEY)
    assert first + run(again, 700, 1600) == answers
    assert again.full


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x05.", b"\x80\x05\x82\x01.", b"\x80\x05Pname\n.", b"garbage"])
def test_a_broken_pickle_is_refused(data: bytes) -> None:
    with pytest.raises(SnapshotError):
        snapshots.load(data)


def test_a_signed_pickle_of_another_class_is_refused() -> None:
    """The key may leak; what is loaded must still be the estimator that is configured."""
    held = taught(TREE)
    sealed = msgspec.msgpack.decode(held.snapshot(KEY), type=snapshots.Sealed)
    body = msgspec.msgpack.decode(sealed.payload, type=Body)
    foreigners: tuple[object, ...] = (LogisticRegression(), {}, SGD())
    for foreign in foreigners:
        swapped = msgspec.structs.replace(body, estimator=snapshots.dump(foreign))
        forged = snapshots.seal("m", 1, "pickle", msgspec.msgpack.encode(swapped), KEY)
        with pytest.raises(SnapshotError, match="holds a"):
            model(spec=TREE).restore(forged, KEY)


FORGED_STATES: list[Any] = [
    {"object": {"__class__": {"object": {"predict_proba_one": 5}}}},
    {"object": {"__init__": {"object": {"__globals__": {"keyed": [["os", {"object": {"name": 5}}]]}}}}},
    {"object": {"predict_proba_one": 5}},
    {"object": {"learn_one": {"keyed": []}}},
    {"object": {"optimizer": {"object": {"step": 1}}}},
    {"object": {"optimizer": {"native": b"x"}}},
    {"object": {"intercept": {"object": {"x": 1}}}},
    {"object": {"intercept": {"same": 99}}},
    {"object": {"intercept": {"call": "os.system"}}},
    {"object": {"intercept": {"vector": 1, "tuple": 2}}},
    {"native": b"x"},
    {"same": 0},
]


@pytest.mark.parametrize("state", FORGED_STATES, ids=[str(state)[:50] for state in FORGED_STATES])
def test_a_forged_state_is_refused_and_changes_no_class(state: Any) -> None:
    methods = dict(vars(LogisticRegression))
    with pytest.raises(SnapshotError):
        fill(LogisticRegression(), state)
    assert dict(vars(LogisticRegression)) == methods
    assert isinstance(os.name, str)


def test_a_forged_native_state_is_refused() -> None:
    body = msgspec.msgpack.decode(
        msgspec.msgpack.decode(taught().snapshot(KEY), type=snapshots.Sealed).payload, type=Body
    )
    for native in (b"", b"\xff" * 40):
        alarms = {"t": {"object": {"_helper": {"native": native}}}}
        forged = msgspec.msgpack.encode(msgspec.structs.replace(body, alarms=alarms))
        held = model()
        before = held.snapshot(KEY)
        with pytest.raises(SnapshotError):
            held.restore(snapshots.seal("m", 1, "state", forged, KEY), KEY)
        assert held.snapshot(KEY) == before


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.integers(0, 60), st.sampled_from(["SGD", "Adam", "Momentum", "AdaGrad", "RMSProp", "FTRLProximal", "AdaMax"]))
def test_explicit_state_is_whole(count: int, optimizer: str) -> None:
    spec = EstimatorSpec(
        name=("river.preprocessing.StandardScaler", "river.linear_model.LogisticRegression"),
        params={"optimizer": {"class": f"river.optim.{optimizer}"}},
    )
    one = model(spec=spec)._estimator
    for n in range(count):
        one.learn_one({"a": n % 7 / 7, "b": float(n % 3)}, n % 5 > 2)
    state = extract(one, model(spec=spec)._estimator)
    other = fill(model(spec=spec)._estimator, msgspec.msgpack.decode(msgspec.msgpack.encode(state)))
    for n in range(5):
        x = {"a": n / 5, "b": 1.0, "new": 2.0}
        assert other.predict_proba_one(x) == one.predict_proba_one(x)
        one.learn_one(x, n % 2 == 0)
        other.learn_one(x, n % 2 == 0)
