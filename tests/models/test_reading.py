"""The configuration: what is written is what counts, and what is wrong is named with its line and a remedy."""

from __future__ import annotations

import contextlib
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import EngineConfig, days_ms, minutes_ms
from models.errors import ConfigError
from models.policy.campaigns import SIGNALS
from models.policy.conditions import FACTS, parse
from models.policy.durations import duration_ms
from models.policy.reading import read
from models.randomness import derived_id, hash64, stable_id, uniform
from models.targets import TARGETS
from schemas.base import DAY_MS, HOUR_MS
from tests.support import BUSY

GOOD = """\
# what the shop does
[engine]
seed = 5
scoring_days = 3.5

[engine.churn]
horizon_days = 20

[engine.models.churn]
min_labels = 50
[engine.models.churn.estimator]
name = "river.linear_model.LogisticRegression"
params = {l2 = 0.01}

[policy]
timezone = "Europe/Paris"
consent = "allow"
quiet_hours = {start = "21:00", end = "08:00"}
customer_caps = [{most = 2, within = "7d"}]

[policy.channel_caps]
email = [{most = 1, within = "24h"}]

[[campaign]]
id = "cart"
signal = "cart_left"
topic = "nudges"
when = ["cart_value >= 20", "churn.late < 0.5"]
caps = [{most = 1, within = "3d"}]
actions = [{id = "mail", channel = "email", cost = 0.02}]

[[campaign]]
id = "thanks"
signal = "ordered"
topic = "offers"
mode = "live"

[campaign.goal]
event = "visit"
window = "36h"

[[campaign.actions]]
id = "push"
channel = "push"

[[campaign.actions]]
id = "mail"
channel = "email"
prior_effect = 0.3
"""


def line_of(found: str, text: str = GOOD) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if found in line)


def test_what_is_written_counts() -> None:
    settings = read(GOOD)
    assert (settings.engine.seed, settings.engine.scoring_days, settings.engine.churn.horizon_days) == (5, 3.5, 20)
    assert settings.engine.models["churn"].min_labels == 50
    cart, thanks = settings.campaigns.all()
    assert (cart.config.mode, thanks.config.mode) == ("shadow", "live"), "nothing is sent unless told"
    assert (cart.caps, cart.window_ms, cart.expires_ms) == (((1, 3 * DAY_MS),), 7 * DAY_MS, DAY_MS)
    assert (thanks.window_ms, thanks.max_age_ms) == (36 * HOUR_MS, HOUR_MS)
    assert [action.id for action in thanks.config.actions] == ["push", "mail"]
    assert settings.campaigns.customer_caps == ((2, 7 * DAY_MS),)
    assert settings.campaigns.channel_caps == {"email": ((1, DAY_MS),)}


def test_an_empty_file_is_a_whole_configuration() -> None:
    settings = read("")
    assert settings.engine == EngineConfig()
    assert settings.campaigns.all() == ()
    assert settings.campaigns.policy.consent == "deny"


# what stands there -> what is written instead -> where the error must point, and what it must say
BROKEN: list[tuple[str, str, str, str]] = [
    ("seed = 5", 'seed = "five"', "seed", "Expected `int`"),
    ("scoring_days = 3.5", "scoring_days = 0", "scoring_days", "0.001"),
    ("scoring_days = 3.5", "scoring_days = nan", "scoring_days", "0.001"),
    ("scoring_days = 3.5", "scoring_dayz = 3", "scoring_dayz", "spelling"),
    ("horizon_days = 20", "horizon_days = -1", "horizon_days", "horizon_days"),
    ("horizon_days = 20", 'activity = "some"', "activity", '"any", "orders"'),
    ("min_labels = 50", "min_labels = 0", "min_labels", "min_labels"),
    ("min_labels = 50", "weights = {quiet = nan}", "weights", "-100"),
    ("min_labels = 50", "prior = 1.0", "prior", "prior"),
    ("min_labels = 50", 'features = ["quiet", "loud"]', "loud", "unknown feature"),
    ("min_labels = 50", "weights = {loud = 1.0}", "loud", "unknown feature"),
    (
        "linear_model.LogisticRegression",
        "linear_model.LogisticRegresion",
        "[engine.models.churn.estimator]",
        "spelling",
    ),
    ("[policy]\n", '[engine.models."churn.cadence"]\nmin_labels = 0\n[policy]\n', "min_labels = 0", "min_labels"),
    ('timezone = "Europe/Paris"', 'timezone = "Mars/Olympus"', "Mars", "IANA"),
    ('consent = "allow"', 'consent = "maybe"', "maybe", '"allow", "deny"'),
    ('{start = "21:00"', '{start = "9pm"', "9pm", "21:00"),
    ('{start = "21:00", end', '{start = "21:00", then = "wait", end', "wait", '"defer", "drop"'),
    ("{most = 2", "{most = 0", "most = 0", "most"),
    ("{most = 2", "{most = 41", "most = 41", "most"),
    ('within = "7d"', 'within = "a week"', "a week", "90m"),
    ('within = "24h"', "within = 24", "within = 24", "within"),
    ('id = "cart"', 'id = "Cart left"', "Cart left", "id"),
    ('signal = "cart_left"', 'signal = "cart_gone"', "cart_gone", "cart_left, checkout_left"),
    ('topic = "nudges"', 'topic = "nags"', "nags", '"nudges"'),
    ('topic = "nudges"\n', "", "[[campaign]]", "topic"),
    ('id = "cart"', 'id = "cart\\n"', "cart", "id"),
    ('within = "7d"', 'within = "7d\\n"', "7d", "90m"),
    (', "churn.late < 0.5"]', ',\n  # and\n  "churn.never < 0.5",\n]', "churn.never", "unknown fact"),
    (
        'actions = [{id = "mail", channel',
        'actions = [\n  {id = "a", channel = "b"},\n  {id = 5, channel',
        "id = 5",
        "str",
    ),
    ("params = {l2 = 0.01}", "param = {l2 = 0.01}", "param =", "spelling"),
    ("params = {l2 = 0.01}", "allow = [5]", "allow", "Expected `str`"),
    ("cart_value >= 20", "cart_worth >= 20", "cart_worth", "unknown fact"),
    ("cart_value >= 20", "cart_value => 20", "=>", "fact >= number"),
    ("cart_value >= 20", "cart_value >= nan", "nan", "fact >= number"),
    ("churn.late < 0.5", "churn.never < 0.5", "churn.never", "churn.early"),
    ('{most = 1, within = "3d"}', '{most = 1, within = "3w"}', "3w", "90m"),
    ("cost = 0.02", "cost = -1", "cost = -1", "cost"),
    ("cost = 0.02", "cost = inf", "cost = inf", "cost"),
    ("cost = 0.02", "costs = 1", "costs = 1", "spelling"),
    ('id = "thanks"', 'id = "cart"', "@second", "another id"),
    ('id = "thanks"\n', 'id = "thanks"\nvalue = "cart_worth"\n', "cart_worth", "write a number"),
    ('id = "thanks"\n', 'id = "thanks"\nholdout = 0.95\n', "holdout", "holdout"),
    ('mode = "live"', 'mode = "on"', '"on"', '"live"'),
    ('event = "visit"', 'event = "party"', "party", '"visit"'),
    ('window = "36h"', 'window = "soon"', "soon", "90m"),
    ("prior_effect = 0.3", "prior_effect = 3", "prior_effect", "prior_effect"),
    ('id = "mail"\nchannel = "email"\nprior', 'id = "push"\nchannel = "email"\nprior', "@actions", "its own id"),
]


@pytest.mark.parametrize(("old", "new", "found", "remedy"), BROKEN, ids=[one[1][:40] for one in BROKEN])
def test_an_error_names_its_line_and_the_remedy(old: str, new: str, found: str, remedy: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    if found == "@second":
        line = [n for n, one in enumerate(text.splitlines(), 1) if one == new][-1]
    elif found == "@actions":
        line = line_of("[[campaign.actions]]", text)
    else:
        line = line_of(found, text)
    with pytest.raises(ConfigError) as raised:
        read(text, "shop.toml")
    assert raised.value.where == f"shop.toml:{line}", str(raised.value)
    assert remedy in str(raised.value)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("river.linear_model.LogisticRegresion", "spelling"),
        ("os.system", "under river"),
        ("river.linear_model.LinearRegression", "binary classifier"),
    ],
)
def test_an_estimator_that_cannot_be_built_is_told_at_the_start(name: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        read(GOOD.replace("river.linear_model.LogisticRegression", name))


def test_a_model_that_nothing_uses_is_told() -> None:
    text = GOOD.replace("engine.models.churn", "engine.models.chrun")
    with pytest.raises(ConfigError, match=r"toml:9: unknown model 'chrun'.*churn.cadence"):
        read(text)


@pytest.mark.parametrize("text", ["[engine", "a = b", "[policy]\n[policy]", "\x00", 'x = "'])
def test_what_is_no_toml_is_told(text: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(text)
    with pytest.raises(ConfigError, match="correct the TOML"):
        read(text)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_our_words(text: str) -> None:
    for whole in (text, GOOD.replace('"cart_left"', text), GOOD.replace("seed = 5", text)):
        with contextlib.suppress(ConfigError):
            read(whole)


def test_a_campaign_on_every_signal_is_read() -> None:
    assert {campaign.config.signal for campaign in read(BUSY).campaigns.all()} <= set(SIGNALS)
    for signal in SIGNALS:
        assert read(GOOD.replace('"ordered"', f'"{signal}"')).campaigns.by_signal[signal]


@pytest.mark.parametrize("fact", [*FACTS, *(target.name for target in TARGETS)])
def test_every_fact_can_stand_in_a_condition(fact: str) -> None:
    condition = parse(f" {fact}>=-1.5 ", "here")
    assert (condition.fact, condition.comparison, condition.number) == (fact, ">=", -1.5)


comparisons = st.sampled_from([">=", "<=", ">", "<", "==", "!="])


@given(comparisons, st.integers(-999, 999), st.integers(-999, 999))
def test_conditions_compare_as_written(comparison: str, number: int, value: int) -> None:
    expected = {
        ">=": value >= number,
        "<=": value <= number,
        ">": value > number,
        "<": value < number,
        "==": value == number,
        "!=": value != number,
    }[comparison]
    assert parse(f"orders {comparison} {number}", "here").holds(float(value)) is expected


@given(st.integers(0, 999_999), st.sampled_from("smhd"))
def test_durations_are_what_they_say(number: int, unit: str) -> None:
    assert duration_ms(f"{number}{unit}") == number * {"s": 1000, "m": 60_000, "h": HOUR_MS, "d": DAY_MS}[unit]


@pytest.mark.parametrize("text", ["", "7", "d7", "7 d", "7w", "-7d", "7d\n", "1000000d", "\u0667d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        duration_ms(text)


def test_days_and_minutes_in_milliseconds() -> None:
    assert (days_ms(1.5), minutes_ms(0.5)) == (36 * HOUR_MS, 30_000)


def test_derived_numbers_are_uniform_and_independent() -> None:
    drawn = [uniform(1, f"u:{n}", "holdout") for n in range(5000)]
    assert all(0 <= x < 1 for x in drawn)
    assert sum(drawn) / len(drawn) == pytest.approx(0.5, abs=0.017)
    for share in (0.1, 0.5, 0.9):
        assert sum(x < share for x in drawn) / len(drawn) == pytest.approx(share, abs=0.03)
    other = [uniform(1, f"u:{n}", "another end") for n in range(5000)]
    both = sum(a < 0.5 and b < 0.5 for a, b in zip(drawn, other, strict=True))
    assert both / len(drawn) == pytest.approx(0.25, abs=0.03)
    assert len({uniform(seed, "u:1", "holdout") for seed in range(100)}) == 100


def test_ids_are_stable() -> None:
    """They are in logs and profiles: a change of hash would let every repeat through."""
    assert hash64("a") == 4681665781835383343
    assert stable_id("u:7", "win-back", "e1") == stable_id("u:7", "win-back", "e1")
    assert stable_id("a", "bc") != stable_id("ab", "c")
    assert derived_id("x" * 128, ">u:1") != derived_id("x" * 128, ">u:2")
