"""Laws of a replay: same input, same bytes, however it is packed, cut, merged, shuffled or poisoned."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import zstandard

from models.errors import SnapshotError
from models.policy.reading import Settings, read
from schemas.base import DAY_MS, HOUR_MS
from schemas.identity import Identified, Linked
from schemas.intake import Intake
from streams import saved
from streams.files import FileError
from streams.reorder import order, reordered
from streams.replay import Options, Replay, Report
from streams.results import DEAD_LETTERS, DECISIONS, METRICS, RESULTS, RUN, TRIGGERS
from tests.support import START, make

ROOT = Path(__file__).parents[2]
CAMPAIGNS = ROOT / "examples" / "campaigns.toml"
KEY = b"key"
# record -> why it is refused
POISON = {
    b'{"type":"track","userId":"u","event":"Order Completed","properties":{"total":NaN}}': "time",
    b'{"type":"track","userId":"u","event":"Order Completed","timestamp":"2025-09-02T00:00:00Z",'
    b'"properties":{"order_id":"1","total":Infinity}}': "missing",
    b'{"type":"track","userId":1e308,"event":"x","timestamp":"2025-09-02T00:00:00Z"}': "identity",
    b'{"type":"track","userId":"a\\u001b[31m","event":"x","timestamp":"2025-09-02T00:00:00Z"}': "identity",
    b"[" * 100_000 + b"]" * 100_000: "too_many_keys",
    b'{"a":' * 50 + b"1" + b"}" * 50: "too_deep",
    b'{"type":"page","userId":"' + b"x" * 5_000_000 + b'"}': "too_large",
    b'{"type":"page","userId":"1","userId":"2","timestamp":1}': "duplicate_key",
    b'{"type":"page","userId":"u","timestamp":1,"properties":{%s}}'
    % b",".join(b'"k%d":1' % n for n in range(3000)): "too_many_keys",
    b'{"type":"nope","userId":"1"}': "unknown_type",
    b'{"type":"page","userId":"jane@example.org"': "not_json",
    b"\xff\xfe": "encoding",
    b"null": "type",
}


def settings() -> Settings:
    return read(CAMPAIGNS.read_text(), str(CAMPAIGNS))


def run(files: Path | Sequence[Path], out: Path | None, **options: Any) -> Report:
    paths = [files] if isinstance(files, Path) else files
    given = {"settings": settings(), "configuration": CAMPAIGNS.read_text(), "out": out, "key": KEY, **options}
    return Replay(Options(files=tuple(map(str, paths)), **given)).run()


def results(out: Path, names: Sequence[str] = RESULTS) -> dict[str, bytes]:
    assert sorted(path.name for path in out.iterdir()) == sorted(RESULTS)
    return {name: (out / name).read_bytes() for name in names}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def write(path: Path, records: Sequence[bytes]) -> Path:
    path.write_bytes(b"".join(record + b"\n" for record in records))
    return path


def by_time(records: Sequence[bytes]) -> list[bytes]:
    """Records in the order of their events; no two records of these are of the same time."""
    intake = Intake()
    keyed = [(order(intake.read(record, None, "x:1").events[0]), record) for record in dict.fromkeys(records)]
    keyed.sort()
    assert len({key[0] for key, _ in keyed}) == len(keyed)
    return [record for _, record in keyed]


@pytest.fixture(scope="module")
def whole(shop_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the shop, replayed at once."""
    out = tmp_path_factory.mktemp("whole")
    report = run(shop_file, out, advance_ms=10 * DAY_MS)
    assert sum(len(lines(out / name)) for name in (TRIGGERS, DECISIONS)) > 10
    assert report.complete
    return out


def test_how_it_is_packed_and_the_hash_seed_change_nothing(shop_file: Path, whole: Path, tmp_path: Path) -> None:
    data = shop_file.read_bytes()
    packed = tmp_path / "shop.jsonl.gz", tmp_path / "shop.jsonl.zst"
    packed[0].write_bytes(gzip.compress(data))
    packed[1].write_bytes(zstandard.ZstdCompressor().compress(data))
    for path in packed:
        run(path, tmp_path / path.suffix, advance_ms=10 * DAY_MS)
        assert results(tmp_path / path.suffix) == results(whole)
    command: list[str | Path] = [
        Path(sys.executable).with_name("rapport"),
        "replay",
        "-",
        "-c",
        CAMPAIGNS,
        "--advance",
        "10d",
    ]
    out = tmp_path / "piped"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    with shop_file.open("rb") as stdin:
        subprocess.run([*command, "-o", out], stdin=stdin, env=environment, check=True, capture_output=True, timeout=60)
    assert results(out) == results(whole)


def test_refused_records_and_made_up_ids_do_not_depend_on_how_it_is_packed(tmp_path: Path) -> None:
    page = b'{"type":"page","anonymousId":"a%d","timestamp":"2025-09-02T00:00:00Z"}'
    plain = write(tmp_path / "e.jsonl", [*(page % n for n in range(5)), b"no json"])
    packed = tmp_path / "e.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    states = []
    for path in (plain, packed):
        report = run(path, tmp_path / path.suffix)
        states.append(report.run.snapshot())
        assert report.metrics["input"]["repairs"] == {"derived_id": 5}
    assert states[0] == states[1]
    assert results(tmp_path / ".gz") == results(tmp_path / ".jsonl")


@pytest.mark.parametrize("cut", [1, 700, 1900])
def test_a_run_that_goes_on_from_its_state_equals_one_run(
    cut: int, shop: list[bytes], shop_file: Path, whole: Path, tmp_path: Path
) -> None:
    first = run(write(tmp_path / "1.jsonl", shop[:cut]), tmp_path / "1")
    state = saved.snapshot(first.run, KEY)
    second = run(write(tmp_path / "2.jsonl", shop[cut:]), tmp_path / "2", state=state, advance_ms=10 * DAY_MS)
    at_once = run(shop_file, tmp_path / "0", advance_ms=10 * DAY_MS)
    for name in (TRIGGERS, DECISIONS):
        assert (tmp_path / "1" / name).read_bytes() + (tmp_path / "2" / name).read_bytes() == (
            whole / name
        ).read_bytes()
    assert saved.snapshot(second.run, KEY) == saved.snapshot(at_once.run, KEY)
    assert second.metrics["models"] == at_once.metrics["models"]


def test_bootstrap_builds_the_state_of_a_run_without_campaigns(shop_file: Path, tmp_path: Path) -> None:
    engine = Settings(settings().engine)
    quiet = run(shop_file, None, quiet=True)
    without = run(shop_file, tmp_path / "out", settings=engine)
    assert saved.snapshot(quiet.run, KEY) == saved.snapshot(without.run, KEY)
    assert quiet.metrics["decided"] == quiet.metrics["suppressed"] == {}


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ("horizon_days = 30", "horizon_days = 20", "engine.churn.horizon_days is 20.0, was 30.0"),
        ('reporting = "EUR"', 'reporting = "USD"', 'engine.money.reporting is "USD", was "EUR"'),
        (
            "[policy]",
            "[engine.models.churn.estimator]\nname = 'river.naive_bayes.GaussianNB'\n[policy]",
            "engine.models",
        ),
    ],
)
def test_a_state_of_other_engine_settings_is_refused(
    was: str, now: str, said: str, shop: list[bytes], tmp_path: Path
) -> None:
    state = saved.snapshot(run(write(tmp_path / "a.jsonl", shop[:50]), tmp_path / "1").run, KEY)
    other = read(CAMPAIGNS.read_text().replace(was, now, 1))
    with pytest.raises(SnapshotError, match=f"{said}.*or bootstrap again"):
        run(tmp_path / "a.jsonl", tmp_path / "2", state=state, settings=other)
    assert not (tmp_path / "2").exists()


def test_other_campaigns_may_take_over_a_state(shop: list[bytes], tmp_path: Path) -> None:
    first = run(write(tmp_path / "1.jsonl", shop[:1000]), tmp_path / "1")
    state = saved.snapshot(first.run, KEY)
    fewer = read(CAMPAIGNS.read_text().partition('[[campaign]]\nid = "churn-risk"')[0])
    report = run(write(tmp_path / "2.jsonl", shop[1000:]), tmp_path / "2", state=state, settings=fewer)
    assert set(report.metrics["decided"]) == {"cart-abandonment"}


@pytest.mark.parametrize("damage", ["cut", "flipped", "other key", "nothing", "no state"])
def test_a_state_that_is_not_whole_or_not_ours_is_refused(damage: str, shop: list[bytes], tmp_path: Path) -> None:
    state = saved.snapshot(run(write(tmp_path / "a.jsonl", shop[:50]), tmp_path / "1").run, KEY)
    middle = len(state) // 2
    damaged = {
        "cut": state[:middle],
        "flipped": state[:middle] + bytes([state[middle] ^ 1]) + state[middle + 1 :],
        "other key": saved.snapshot(run(tmp_path / "a.jsonl", tmp_path / "1").run, b"other"),
        "nothing": b"",
        "no state": b'{"a": 1}',
    }[damage]
    remedy = "check RAPPORT_SNAPSHOT_KEY" if damage in {"flipped", "other key"} else "bootstrap again"
    with pytest.raises(SnapshotError, match=remedy):
        run(tmp_path / "a.jsonl", tmp_path / "2", state=damaged)


def test_files_are_merged_by_time(shop: list[bytes], tmp_path: Path) -> None:
    records = by_time(shop)
    run(write(tmp_path / "all.jsonl", records), tmp_path / "all")
    random = Random(1)
    where = [random.randrange(3) for _ in records]
    files = [
        write(tmp_path / f"{n}.jsonl", [record for record, file in zip(records, where, strict=True) if file == n])
        for n in (2, 0, 1)
    ]
    report = run(files, tmp_path / "merged")
    assert results(tmp_path / "merged") == results(tmp_path / "all")
    assert report.metrics["input"]["records"] == len(records)


def test_unsorted_within_the_bound_equals_sorted(shop: list[bytes], tmp_path: Path) -> None:
    records = by_time(shop)
    run(write(tmp_path / "sorted.jsonl", records), tmp_path / "sorted")
    random, intake = Random(2), Intake()
    at = {record: intake.read(record, None, "x:1").events[0].occurred_at for record in records}
    shuffled = sorted(records, key=lambda record: at[record] + random.random() * 6 * HOUR_MS)
    assert shuffled != records
    report = run(write(tmp_path / "shuffled.jsonl", shuffled), tmp_path / "shuffled", unsorted_ms=6 * HOUR_MS)
    names = [name for name in RESULTS if name != RUN]  # which tells that the one was unsorted
    assert results(tmp_path / "shuffled", names) == results(tmp_path / "sorted", names)
    assert report.metrics["input"]["out_of_order"] == 0
    as_it_comes = run(tmp_path / "shuffled.jsonl", tmp_path / "plain")
    assert as_it_comes.metrics["input"]["out_of_order"] > 100


def test_the_bound_that_the_figures_name_is_enough(shop: list[bytes], tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", shop)
    furthest = run(file, tmp_path / "1").metrics["input"]["furthest_out_of_order_ms"]
    assert run(file, tmp_path / "2", unsorted_ms=furthest).metrics["input"]["out_of_order"] == 0
    assert run(file, tmp_path / "3", unsorted_ms=1000).metrics["input"]["out_of_order"] > 0


def test_the_link_of_an_identify_call_stays_before_what_it_links_to() -> None:
    call = b'{"type":"identify","userId":"7","anonymousId":"z","messageId":"m","timestamp":"2025-09-02T00:00:00Z"}'
    events = Intake().read(call, None, "x:1").events
    assert [type(event) for event in events] == [Linked, Identified]
    earlier = make(Identified, events[0].occurred_at - 1)
    assert list(reordered([*events, earlier], HOUR_MS)) == [earlier, *events]


@pytest.mark.parametrize("seed", [1, 2])
def test_bad_records_are_counted_one_by_one_and_change_nothing_else(
    seed: int, shop: list[bytes], shop_file: Path, tmp_path: Path
) -> None:
    good = run(shop_file, tmp_path / "good")
    random = Random(seed)
    bad = [random.choice(list(POISON)) for _ in range(30)] + list(POISON)
    mixed: list[bytes] = list(shop)
    for record in bad:
        mixed.insert(random.randrange(len(mixed) + 1), record)
    report = run(write(tmp_path / "mixed.jsonl", mixed), tmp_path / "mixed")
    assert results(tmp_path / "mixed", (TRIGGERS, DECISIONS)) == results(tmp_path / "good", (TRIGGERS, DECISIONS))
    assert report.run.snapshot(KEY) == good.run.snapshot(KEY)
    expected = [
        (f"{tmp_path}/mixed.jsonl:{n}", POISON[record], len(record))
        for n, record in enumerate(mixed, 1)
        if record in POISON
    ]
    letters = lines(tmp_path / "mixed" / DEAD_LETTERS)
    assert [(letter["origin"], letter["reason"], letter["size"]) for letter in letters] == expected
    given, clean = report.metrics["input"], good.metrics["input"]
    assert sum(given["dead_letters"].values()) == len(bad)
    assert given["records"] == len(mixed)
    assert {**given, "records": 0, "dead_letters": 0} == {**clean, "records": 0, "dead_letters": 0}
    assert "jane" not in (tmp_path / "mixed" / DEAD_LETTERS).read_text()


def test_what_came_before_a_file_broke_off_counts(shop: list[bytes], shop_file: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(shop_file.read_bytes())[:60_000])
    report = run(cut, tmp_path / "cut")
    read_ = report.metrics["input"]["records"]
    assert 100 < read_ < len(shop)
    part = run(write(tmp_path / "part.jsonl", shop[:read_]), tmp_path / "part")
    assert results(tmp_path / "cut", (TRIGGERS, DECISIONS)) == results(tmp_path / "part", (TRIGGERS, DECISIONS))
    assert report.run.snapshot(KEY) == part.run.snapshot(KEY)
    assert (report.complete, report.metrics["complete"], part.metrics["complete"]) == (False, False, True)
    assert "cut.jsonl.gz: found a truncated" in report.metrics["input"]["broken_files"][0]
    other = write(tmp_path / "other.jsonl", shop[:300])
    assert run([cut, other], tmp_path / "both").metrics["input"]["records"] == read_ + 300


def test_ctrl_c_keeps_the_results_so_far(shop_file: Path, whole: Path, tmp_path: Path) -> None:
    def impatient(done: int) -> None:
        raise KeyboardInterrupt

    report = Replay(Options(files=(str(shop_file),), settings=settings(), out=tmp_path / "o")).run(impatient)
    assert (report.stopped, report.complete, report.metrics["complete"]) == (True, False, False)
    found = results(tmp_path / "o")
    assert 100 < report.metrics["input"]["records"] < 1900
    assert whole.joinpath(DECISIONS).read_bytes().startswith(found[DECISIONS])
    assert json.loads(found[METRICS])["steps"] == report.metrics["steps"]


def test_figures_count_what_is_in_the_files(whole: Path) -> None:
    metrics = json.loads((whole / METRICS).read_text())
    told, triggers = lines(whole / DECISIONS), lines(whole / TRIGGERS)
    decided = [line for line in told if "arm" in line and "kind" not in line]
    reached = [line for line in told if line.get("kind") == "conversion"]
    for campaign, arms in metrics["decided"].items():
        for arm, n in arms.items():
            assert n == sum(line["campaign"] == campaign and line["arm"] == arm for line in decided)
    assert sum(sum(arms.values()) for arms in metrics["decided"].values()) == len(decided)
    assert sum(sum(arms.values()) for arms in metrics["converted"].values()) == len(reached)
    assert triggers == [line for line in decided if line["arm"] == "treated"]
    assert len(decided) + len(reached) == len(told)
    assert list(metrics["funnel"].values()) == sorted(metrics["funnel"].values(), reverse=True)


def test_time_that_goes_on_only_adds(shop_file: Path, whole: Path, tmp_path: Path) -> None:
    short = run(shop_file, tmp_path / "short")
    assert whole.joinpath(DECISIONS).read_bytes().startswith((tmp_path / "short" / DECISIONS).read_bytes())
    longer = json.loads((whole / METRICS).read_text())
    assert longer["steps"] > short.metrics["steps"]
    assert longer["models"]["engagement"]["n"] > short.metrics["models"]["engagement"]["n"]


def test_nothing_is_done_where_a_file_cannot_be_read_at_all(shop_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(shop_file, out)
    before = results(out)
    no_archive = tmp_path / "a.gz"
    no_archive.write_bytes(b"\x1f\x8b" + b"x" * 100)
    workbook = tmp_path / "a.jsonl"
    workbook.write_bytes(b"PK\x03\x04" + b"x" * 100)
    for path in (tmp_path / "none", tmp_path, no_archive, workbook):
        with pytest.raises(FileError, match=str(path)):
            run([shop_file, path], out)
    with pytest.raises(FileError, match=r"would overwrite.*-o FOLDER"):
        run([shop_file, out / DECISIONS], out)
    assert results(out) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_error_that_names_the_folder(shop_file: Path, tmp_path: Path) -> None:
    for name in (TRIGGERS, DECISIONS, DEAD_LETTERS):
        (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(FileError, match=r"No space left on device; name a folder"):
        run(shop_file, tmp_path)
    assert not (tmp_path / METRICS).exists()


def test_times_of_a_canonical_event_are_as_given(tmp_path: Path) -> None:
    event = b'{"type":"page_viewed","customer":"u:1","id":"1","occurred_at":%d}' % START
    metrics = run(write(tmp_path / "a.jsonl", [event, event]), tmp_path / "o").metrics
    assert (metrics["input"]["first_at"], metrics["input"]["last_at"], metrics["counts"]["duplicate"]) == (
        START,
        START,
        1,
    )
