"""The command line as its users meet it: what each command says, writes and ends with."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from models.policy.reading import read
from streams.cli import app
from streams.embedded import Valkey
from streams.environment import from_environment
from streams.errors import TopicError
from streams.settings import StreamSettings
from streams.worker import Worker

from .conftest import CAMPAIGNS, ROOT, Rapport

EXAMPLE = CAMPAIGNS.read_text()
BIN = Path(sys.executable).parent
PAGE = b'{"type":"page","userId":"%b","messageId":"m","timestamp":"2025-09-02T00:00:00Z"}'
RETAIL = b"""InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,85123A,HOLDER,6,2010-12-01 08:26,2.55,17850,United Kingdom
C536379,84406B,HANGER,-2,2010-12-01 09:41,2.75,14527,United Kingdom
536380,1,NOBODY,1,2010-12-01 09:42,1.00,,United Kingdom
"""


COMMANDS = [[str(command.name)] for command in app.registered_commands] + [["schemas", "export"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_of_every_command_shows_an_example(command: list[str], rapport: Rapport) -> None:
    ended = rapport(*command, "--help")
    assert ended.code == 0
    assert f"Example: rapport {' '.join(command)} " in " ".join(ended.out.split())


def test_the_first_screen_names_the_first_steps(rapport: Rapport) -> None:
    assert "rapport demo" in rapport("--help").out
    assert rapport("--version").out.startswith("rapport 0.")
    assert rapport("nonsense").code == 2


def test_a_replay_ends_with_a_summary(rapport: Rapport, shop_file: Path, tmp_path: Path) -> None:
    ended = rapport("replay", shop_file, "-c", CAMPAIGNS, "-o", tmp_path / "o", "--save", tmp_path / "state")
    metrics = json.loads((tmp_path / "o" / "metrics.json").read_text())
    assert (ended.code, ended.err) == (0, "")
    words = " ".join(ended.out.split())
    for said in (
        f"{metrics['input']['events']:,} events of {metrics['input']['customers']} customers, 2025-09-01 to 2025-09-20",
        f"awareness {metrics['funnel']['awareness']} interest {metrics['funnel']['interest']} ",
        "campaign triggers held out suppressed goals",
        f"cart-abandonment {metrics['decided']['cart-abandonment']['treated']} ",
        "churn-risk 0 0 0",
        f"consent {metrics['suppressed']['cart-abandonment']['consent']}",
        "target labels rate log loss null AUC",
        f"{metrics['counts']['duplicate']} repeats of an event",
        "--unsorted 8h puts them in order",
        f"written to {tmp_path}/o/: triggers.jsonl",
        f"written to {tmp_path}/state",
    ):
        assert said in words
    again = rapport("replay", "-", "-c", CAMPAIGNS, "-o", tmp_path / "p", stdin=shop_file.read_bytes())
    assert again.code == 0
    assert (tmp_path / "p" / "decisions.jsonl").read_bytes() == (tmp_path / "o" / "decisions.jsonl").read_bytes()


def test_bootstrap_then_replay(
    rapport: Rapport, shop: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, today, state = tmp_path / "history.jsonl", tmp_path / "today.jsonl", tmp_path / "state.bin"
    history.write_bytes(b"\n".join(shop[:1000]))
    today.write_bytes(b"\n".join(shop[1000:]))
    monkeypatch.setenv("RAPPORT_SNAPSHOT_KEY", "secret")
    built = rapport("bootstrap", history, "-c", CAMPAIGNS, "--save", state)
    assert (built.code, "Nothing is sent while bootstrapping" in built.out) == (0, True)
    replay = ("replay", today, "-c", CAMPAIGNS, "--state", state, "-o", tmp_path / "o")
    assert rapport(*replay).code == 0
    learned = json.loads((tmp_path / "o" / "metrics.json").read_text())["models"]["buys.1h"]["n"]
    assert rapport("replay", today, "-c", CAMPAIGNS, "-o", tmp_path / "o").code == 0
    alone = json.loads((tmp_path / "o" / "metrics.json").read_text())["models"]["buys.1h"]["n"]
    assert learned > alone > 0
    monkeypatch.setenv("RAPPORT_SNAPSHOT_KEY", "another")
    wrong = rapport(*replay)
    assert (wrong.code, wrong.out) == (1, "")
    assert (
        wrong.err == f"rapport: {state}: snapshot of a run: the signature does not match; check RAPPORT_SNAPSHOT_KEY\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("replay none.jsonl", 1, "none.jsonl: found no such file; check the path"),
        ("replay .", 1, ".: found a directory; name a file in it"),
        ("replay - -", 1, "standard input named twice"),
        ("replay a.jsonl -c none.toml", 1, "start from examples/campaigns.toml"),
        ("replay a.jsonl -c binary", 1, "binary: found no UTF-8 at byte 0; name a file of TOML"),
        ("replay a.jsonl -c .", 1, "Is a directory"),
        ("replay a.jsonl -o a.jsonl", 1, "a.jsonl: found a file, not a folder; name a folder that can be written"),
        ("replay a.jsonl -o a.jsonl/b", 1, "name a folder that can be written"),
        ("replay a.jsonl --save no/state", 1, "no/state: found no folder no that can be written"),
        ("replay a.jsonl --save .", 1, "found a folder; name a file"),
        ("replay a.jsonl --state none", 1, "name a file that bootstrap or --save wrote"),
        ("replay a.jsonl --state a.jsonl", 1, "no saved state"),
        ("replay a.jsonl --advance 30", 2, "'30' is no duration"),
        ("replay a.jsonl --unsorted '3 h'", 2, "'3 h' is no duration"),
        ("replay a.jsonl --currency Euro", 2, "'Euro' is no currency"),
        ("replay a.jsonl --timezone Mars", 1, "found Mars; set an IANA name"),
        ("replay", 2, "Missing argument"),
        ("import ecom none.csv", 1, "none.csv: found no such file"),
        ("import eshop a.jsonl --anonymous", 2, "--anonymous is for online-retail only"),
        ("import online-retail a.jsonl", 1, "a.jsonl"),
        ("simulate --days 0", 2, "--days"),
        ("simulate --truth -", 2, "cannot both go to standard output"),
        ("simulate --days 1 -o no/a.jsonl", 1, "no/a.jsonl: found No such file"),
        ("schemas export a.jsonl", 1, "name a folder that can be written"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_remedy(
    arguments: str, code: int, said: str, rapport: Rapport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_bytes(PAGE % b"7" + b"\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    ended = rapport(*shlex.split(arguments))
    assert ended.code == code
    assert said in " ".join(ended.err.replace("│", " ").split())
    assert ended.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "binary"]


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        (b"", 0, "No records: the input is empty."),
        (b"\n\n  \n", 0, "No records: the input is empty."),
        (b"\x00\x01\xff" * 50, 1, "No record could be read."),
        (b"a,b\n1,2\n", 1, "2 records refused (not_json)"),
        (PAGE % b"7" + b"\n{", 0, "1 record refused (not_json); the first, in.jsonl:2:"),
        (gzip.compress(os.urandom(90_000).hex().encode())[:50_000], 1, "found a truncated or damaged archive"),
    ],
)
def test_empty_and_broken_files(
    data: bytes, code: int, said: str, rapport: Rapport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_bytes(data)
    ended = rapport("replay", "in.jsonl", "--save", "state")
    assert (ended.code, said in ended.out + ended.err) == (code, True)


def test_a_file_that_breaks_off_is_said_and_leaves_no_state(rapport: Rapport, shop_file: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(shop_file.read_bytes())[:60_000])
    ended = rapport("replay", cut, "-o", tmp_path / "o", "--save", tmp_path / "state")
    assert ended.code == 1
    assert f"not read to its end: {cut}: found a truncated" in ended.out
    assert f"{tmp_path}/state not written: the run is not complete" in ended.out
    assert not (tmp_path / "state").exists()


def test_no_input_reaches_the_terminal_as_markup_or_control_code(
    rapport: Rapport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "[red]x\x1b[31m.jsonl"
    (tmp_path / name).write_bytes(PAGE % b"[red]x[/]" + b"\n" + PAGE % b"a\x1b[31m" + b"\n")
    ended = rapport("replay", name)
    assert ended.code == 0
    assert "the first, [red]x\\x1b[31m.jsonl:2:" in ended.out
    assert "\x1b" not in ended.out + ended.err
    missing = rapport("replay", "[bold]\x1b]0;title\x07")
    assert missing.err.startswith("rapport: [bold]\\x1b]0;title\\x07: found no such file")
    (tmp_path / "c.toml").write_text('[policy]\nconsent = "[b]\\u001b[31m"\n')
    assert (
        'consent: Invalid enum value \'[b]\\x1b[31m\'; use one of: "allow", "deny"' in rapport("validate", "c.toml").err
    )


@pytest.mark.parametrize(
    ("was", "now", "line", "said"),
    [
        (
            "global_holdout = 0.02",
            "global_holdot = 0.02",
            22,
            "unknown field `global_holdot`; remove it or correct its spelling",
        ),
        ('mode = "live"', 'mode = "on"', 27, "mode: Invalid enum value 'on'; use one of:"),
        ('signal = "churn_risk"', 'signal = "churning"', 42, "unknown signal 'churning'; use one of: joined"),
        ("spent >= 30", "spend >= 30", 45, "unknown fact 'spend'; use one of:"),
        ("spent >= 30", "spent => 30", 45, 'write "fact >= number"'),
        ('id = "churn-risk"', 'id = "cart-abandonment"', 41, "line 25 has this one"),
        ('expires_after = "48h"', 'expires_after = "2 days"', 51, "durations: 90m, 36h, 7d"),
        ("Europe/Berlin", "Europe/Berln", 17, "write an IANA name"),
        ('topic = "offers"\n', "", 40, "missing required field `topic`; add it"),
        ("holdout = 0.2\nbudget", "holdout = 95\nbudget", 49, "holdout: Expected `float` <= 0.9"),
        ("holdout = 0.1", "holdout = nan", 33, "holdout: Expected `float` >= 0.0"),
        ("budget_per_day = 50.0", "budget_per_day = 1e308", 50, "budget_per_day"),
        ('value = "order_value"', 'value = "ordervalue"', 46, "write a number or one of: cart_value"),
        ("most = 5", 'most = "five"', 20, "most: Expected `int`, got `str`"),
        ('start = "21:00"', 'start = "9pm"', 19, "times: 21:00"),
        ('id = "voucher"', 'id = "reminder"', 52, "give each action of a campaign its own id"),
        ("horizon_days = 30", "horizon_days = -1", 12, "horizon_days: Expected `float` >= 0.001"),
    ],
)
def test_validate_names_the_line_and_what_to_write(
    was: str, now: str, line: int, said: str, rapport: Rapport, tmp_path: Path
) -> None:
    assert was in EXAMPLE
    file = tmp_path / "c.toml"
    file.write_text(EXAMPLE.replace(was, now, 1))
    ended = rapport("validate", file)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"rapport: {file}:{line}: ")
    assert said in ended.err


@pytest.mark.parametrize("broken", ["mode = live", 'mode = "live', "mode", "= 1", '[campaign]\nid="x"\n[campaign]'])
def test_validate_shows_where_the_toml_is_broken(broken: str, rapport: Rapport, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(f"\n{broken}\n")
    ended = rapport("validate", tmp_path / "c.toml")
    assert ended.code == 1
    assert ended.err.startswith(f"rapport: {tmp_path / 'c.toml'}:")
    assert "texts need quotes, tables are [name]" in ended.err


def test_validate_shows_how_the_file_was_understood(rapport: Rapport, tmp_path: Path) -> None:
    ended = rapport("validate", CAMPAIGNS)
    assert ended.code == 0
    for said in (
        "cart-abandonment  live, on cart_left",
        "when     cart_value >= 20 and has_email == 1",
        "does     voucher by email, reminder by email",
        "goal     order within 3d, worth cart_value",
        "limits   holdout 20%, at most 1 in 30d, budget 50 a day",
        "is valid: 3 campaigns",
    ):
        assert said in ended.out
    file = tmp_path / "c.toml"
    file.write_text(EXAMPLE.replace('mode = "live"', 'mode = "shadow"', 1).replace("{ sms = [", "{ smss = ["))
    ended = rapport("validate", file)
    assert "note: cart-abandonment is in shadow mode" in ended.out
    assert "note: policy.channel_caps.smss caps a channel that no action uses" in ended.out
    file.write_text("")
    assert "note: no campaign" in rapport("validate", file).out


async def test_the_erased_must_be_remembered_for_as_long_as_the_topics_are(rapport: Rapport, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[engine]\nerasure_days = 30\n")
    ended = rapport("validate", file)
    said = "[engine] erasure_days: found 30; write 91 or more: the topic decisions keeps records that long"
    assert (ended.code, ended.err) == (1, f"rapport: {said}\n")
    worker = Worker(from_environment({}), StreamSettings(engine=read(file.read_text())))
    with pytest.raises(TopicError, match=re.escape(said)):
        await worker.run()


def test_import_then_replay(rapport: Rapport, tmp_path: Path) -> None:
    orders = tmp_path / "orders.jsonl.gz"
    ended = rapport("import", "online-retail", "-", "-o", orders, stdin=RETAIL)
    assert (ended.code, ended.out) == (0, "")
    assert "skipped, no_customer: 1 lines" in ended.err
    assert f"next: rapport replay {orders} -c examples/online-retail.toml" in ended.err
    replayed = rapport("replay", orders, "-c", ROOT / "examples" / "online-retail.toml", "-o", tmp_path / "o")
    assert (replayed.code, "2 events of 2 customers, 2010-12-01" in replayed.out) == (0, True)
    piped = rapport("import", "online-retail", "-", "--anonymous", stdin=RETAIL)
    assert len(piped.out.splitlines()) == 3


def test_simulate_writes_events_and_truth(rapport: Rapport, tmp_path: Path) -> None:
    ended = rapport(
        "simulate", "--customers", 30, "--days", 8, "-o", tmp_path / "s.jsonl", "--truth", tmp_path / "t.csv"
    )
    assert ended.code == 0
    assert f"{len((tmp_path / 's.jsonl').read_bytes().splitlines()):,} events of 8 days" in ended.err
    head, *rows = (tmp_path / "t.csv").read_text().splitlines()
    assert (head, len(rows) > 0) == ("customer,at_ms,horizon_days,p_silent", True)
    assert all(0 <= float(row.rpartition(",")[2]) <= 1 for row in rows)
    assert f"{len(rows)} true probabilities" in ended.err


def test_the_demo_ends_with_the_figures_and_what_to_try_next(rapport: Rapport) -> None:
    ended = rapport("demo", "--in-process", "--customers", 150, "--days", 14)
    assert ended.code == 0
    first, *rest = ended.out.splitlines()
    assert first.startswith("Simulated shop")
    assert any("cart-abandonment -> reminder by email  because cart_value is " in line for line in rest)
    for said in (
        "Funnel: journeys",
        "Triggers by campaign",
        "What to try next",
        "rapport validate examples/campaigns.toml",
    ):
        assert said in ended.out


def test_the_demo_brings_up_a_stream_and_takes_it_down(rapport: Rapport) -> None:
    ended = rapport("demo", "--customers", 300, "--days", 10, "--speed", 20)
    assert ended.code == 0
    assert "cart-abandonment -> reminder by email  because cart_value is " in ended.out
    assert "0 came twice" in ended.out
    assert "What to try next" in ended.out


def test_schemas_export(rapport: Rapport, tmp_path: Path) -> None:
    ended = rapport("schemas", "export", tmp_path / "s")
    assert (ended.code, f"{len(list((tmp_path / 's').glob('*.json')))} schemas written" in ended.out) == (0, True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_pipes(shop_file: Path, tmp_path: Path) -> None:
    """A pipeline works, a reader that leaves is no error and loses no result, and a full disk is one."""
    commands = (
        f"cat {shop_file} | rapport replay - -c {CAMPAIGNS} -o o --save state | true",
        "rapport simulate --customers 300 --days 10 | head -1",
        f"rapport validate {CAMPAIGNS} >/dev/full",
    )
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=tmp_path,
            env=environment,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        for command in commands
    ]
    (_, said), (events, silence), (_, complaint) = (process.communicate(timeout=60) for process in running)
    assert [process.returncode for process in running] == [0, 0, 1]
    assert said == ""
    assert (tmp_path / "state").stat().st_size > 1000
    assert json.loads((tmp_path / "o" / "metrics.json").read_text())["complete"]
    assert (events.count("\n"), silence) == (1, "")
    assert complaint == "rapport: standard output: found No space left on device; check its disk and permissions\n"


def test_a_terminal_sees_progress(shop_file: Path, tmp_path: Path) -> None:
    master, slave = os.openpty()
    command: list[str | Path] = [BIN / "rapport", "replay", shop_file, "-o", tmp_path / "o"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=slave, env={**os.environ, "TERM": "xterm"}
    ) as process:
        os.close(slave)
        seen = b""
        while chunk := _read(master):
            seen += chunk
        assert process.wait(60) == 0
    os.close(master)
    assert b"events/s" in seen
    assert b"left" in seen


def _read(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except OSError:  # the other end is closed
        return b""


def test_a_worker_without_its_servers_waits_says_so_once_and_ends_when_told(tmp_path: Path) -> None:
    """And its password is in nothing that it says."""
    env = {
        **os.environ,
        "RAPPORT_KAFKA_USERNAME": "somebody",
        "RAPPORT_KAFKA_PASSWORD": "hunter2-kafka",
        "RAPPORT_KAFKA_SECURITY": "SASL_PLAINTEXT",
        "RAPPORT_KAFKA_MECHANISM": "PLAIN",
        "RAPPORT_REDIS_PASSWORD": "hunter2-redis",
        "RAPPORT_SNAPSHOT_KEY": "hunter2-key",
    }
    command = [sys.executable, "-m", "streams", "worker", "--kafka", "127.0.0.1:1"]
    with Valkey(tmp_path) as valkey:
        for redis, waits in (
            ("redis://127.0.0.1:1/0", b"waits for the state store"),
            (valkey.url, b"waits for the broker"),
        ):
            if redis == valkey.url:
                del env["RAPPORT_REDIS_PASSWORD"]
            with subprocess.Popen(
                [*command, "--redis", redis], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            ) as worker:
                assert worker.stdout is not None
                said = b""
                while waits not in said:
                    line = worker.stdout.readline()
                    assert line, said
                    said += line
                assert b"hunter2" not in Path(f"/proc/{worker.pid}/cmdline").read_bytes()
                worker.terminate()
                rest, _ = worker.communicate(timeout=30)
            assert worker.returncode == 0, said + rest
            assert (said + rest).count(waits) == 1
            assert b"hunter2" not in said + rest
