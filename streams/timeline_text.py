"""A customer's time line, and what is known of the customer now, as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from models.policy import conditions
from models.policy.campaigns import Campaigns
from models.policy.gates import held_out, held_out_of_all
from models.policy.reading import Settings
from models.profile.journey import STAGES
from models.profile.profile import Profile
from models.profile.tombstone import is_tombstone
from schemas.base import Event
from schemas.decisions import Conversion, Decision, Suppressed
from schemas.money import Item, Money

from .diff_text import many, moment
from .stopped import stopped
from .timeline import Entry

MARGIN = " " * 10
_COMMON = frozenset(Event.__struct_fields__)
_VALUE_MAX = 60
_ITEMS_MAX = 3


def head(profile: Profile, settings: Settings, now: int) -> Iterator[str]:
    """What is known of a customer at ``now``, milliseconds UTC."""
    if is_tombstone(profile):
        yield f"{profile.customer}  erased {moment(profile.erased_at)}: nothing else is kept"
        yield from _consent(profile, settings.campaigns)
        return
    if profile.linked:
        yield f"{profile.customer}  became {profile.linked}: its life goes on there"
        return
    orders, active = profile.orders, profile.activity
    stage = STAGES[profile.journey.stage] if profile.journey.stage >= 0 else "no stage"
    yield f"{profile.customer}  {stage}, {many(active.events, 'event')} from {moment(active.first_at)} to {moment(active.at)}"
    if orders.count:
        spent = f"{orders.total_micros / 1e6:,.2f} spent, the last {moment(orders.last_at)}"
        yield _field("orders", f"{orders.count:,}, {spent}{_refunds(profile)}")
    yield from _consent(profile, settings.campaigns)
    if profile.scores:
        yield _field("scores", ", ".join(f"{one.name} {one.p:.2f} ({_by(one.version)})" for one in profile.scores))
    engagement = conditions.value("engagement_score", profile, now, {})
    if engagement is not None:
        yield _field("engagement", f"{engagement:.0f} of 100")
    yield from _withheld(profile, settings)
    if profile.timers:
        due = sorted((due, kind) for kind, due in profile.timers)
        yield _field("waits for", ", ".join(f"{_timer(kind)} {moment(at)}" for at, kind in due))
    if profile.origins:
        yield _field("devices", ", ".join(profile.origins))
    if profile.mixed:
        yield _field("mixed", "two contacted histories became one: left out of effects")


def lines(entries: Iterable[Entry], asked: str) -> Iterator[str]:
    """The time line: a heading for each day (UTC), a line for each entry, more where there are reasons.

    Parameters
    ----------
    asked
        The customer asked for; entries of its devices carry their own names.
    """
    day = ""
    for together in _moments(_runs(entries)):
        one, times, last = together[0]
        when = datetime.fromtimestamp(one.at / 1000, UTC)
        if (today := when.strftime("%Y-%m-%d")) != day:
            yield from ("", today) if day else (today,)
            day = today
        whose = "" if one.customer == asked else f"{one.customer}  "
        first, *others = _scores([told.first for told in together]) if one.kind == "score" else _text(one)
        more = f"  ({times} times, the last {moment(last)})" if times > 1 else ""
        yield f"{when:%H:%M:%S}  {one.kind:<10}  {whose}{first}{more}"
        for other in others:
            yield f"{MARGIN}{'':<10}  {other}"


def words(one: Entry) -> list[str]:
    """An entry in words: a line, and further ones where there are reasons.

    >>> words(Entry(at=0, kind="stage", customer="u:1", what="intent", note="interest"))
    ['interest -> intent']
    """
    return _scores([one]) if one.kind == "score" else _text(one)


class _Told(NamedTuple):
    """An entry, how often the same was so, and when for the last time."""

    first: Entry
    times: int
    last: int


def _moments(told: Iterable[_Told]) -> Iterator[list[_Told]]:
    """Scores of one moment together, all else by itself."""
    return (list(run) for _, run in groupby(told, _moment_of))


def _moment_of(told: _Told) -> object:
    one = told.first
    return (one.at, one.customer) if one.kind == "score" else told


def _scores(entries: list[Entry]) -> list[str]:
    """Scores in a line, each answerer named once, behind its own."""
    by = groupby(entries, lambda one: one.version)
    return ["; ".join(f"{', '.join(f'{s.what} {s.p:.2f}' for s in run)} ({_by(version or 0)})" for version, run in by)]


def _runs(entries: Iterable[Entry]) -> Iterator[_Told]:
    """Entries, with a campaign stopped again by the same told once."""
    runs: dict[int, list[Entry]] = {}
    open_runs: dict[tuple[str, str], tuple[tuple[str, str, str], int]] = {}
    for number, one in enumerate(entries):
        runs[number] = [one]
        if isinstance(one.record, Decision):
            open_runs.pop((one.customer, one.what), None)
        elif isinstance(row := one.record, Suppressed):
            why = (row.reason, row.rule, row.action)
            known = open_runs.get((one.customer, one.what))
            if known is not None and known[0] == why:
                runs[known[1]].append(runs.pop(number)[0])
            else:
                open_runs[one.customer, one.what] = (why, number)
    for run in runs.values():
        yield _Told(run[0], len(run), run[-1].at)


def _text(one: Entry) -> list[str]:
    record = one.record
    if isinstance(record, Decision):
        return _decision(record)
    if isinstance(record, Suppressed):
        action = f" {record.action}" if record.action else ""
        until = f", looked at again {moment(record.until)}" if record.until else ""
        return [f"{record.campaign}{action} ({record.signal}): {stopped(record)}{until}"]
    if isinstance(record, Conversion):
        value = f", {record.value:,.2f}" if record.value else ""
        return [f"{record.goal} within the window of {record.campaign} ({record.arm}){value}"]
    if one.kind == "stage":
        return [f"{one.note} -> {one.what}" if one.note else one.what]
    if one.kind == "linked":
        return [f"{'became' if one.note == 'to' else 'took in'} {one.what}"]
    if one.kind == "timer":
        return [_timer(one.what)]
    if one.kind == "erased":
        return ["all that was known before is gone"]
    note = f"  ({one.note})" if one.note else ""
    return [f"{one.what}{_fields(record)}{note}"]


def _decision(one: Decision) -> list[str]:
    action = one.action
    if one.membership == "left":
        return [f"{one.campaign} ({one.arm}): left the audience {action.id}: {one.signal}"]
    verb = f"entered the audience {action.id}" if one.membership else f"{action.id} by {action.channel} on {one.topic}"
    parts = [verb, f"offer {action.offer}" if action.offer else "", f"expires {moment(one.expires_at)}"]
    found = [f"{one.campaign} ({one.arm}): {', '.join(part for part in parts if part)}"]
    if one.reasons:
        found.append("because " + "; ".join(reason.text or reason.feature for reason in one.reasons))
    others = [f"{o.campaign} {o.action}, gain {o.gain:.4g}" for o in one.eligible[1:]]
    if others:
        found.append(f"instead of {'; '.join(others)} (its own gain {one.gain:.4g})")
    if one.suppressed:
        found.append("stopped " + "; ".join(f"{name}: {why}" for name, why in one.suppressed.items()))
    if one.flag:
        found.append(f"left out of effects: {one.flag}")
    return found


def _fields(record: Any) -> str:
    if not isinstance(record, Event):
        return ""
    pairs = [(name, getattr(record, name)) for name in record.__struct_fields__ if name not in _COMMON]
    defaults = dict(zip(record.__struct_fields__[::-1], record.__struct_defaults__[::-1], strict=False))
    shown = [f"{name} {_value(value)}" for name, value in pairs if value != defaults.get(name, ...) and value != {}]
    channel = f"  [{record.channel}]" if record.channel != "web" else ""
    return ("  " + ", ".join(shown) if shown else "") + channel


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Money):
        return f"{value.amount} {value.currency}"
    if isinstance(value, Item):
        return f"{value.quantity} x {value.product}" if value.quantity != 1 else value.product
    if isinstance(value, tuple):
        rest = len(value) - _ITEMS_MAX
        return " + ".join(map(_value, value[:_ITEMS_MAX])) + (f" + {rest} more" if rest > 0 else "")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_value(one)}" for name, one in value.items()) + "}"
    if isinstance(value, float | Decimal):
        return f"{value:.12g}"
    text = str(value)
    return text if len(text) <= _VALUE_MAX else text[: _VALUE_MAX - 3] + "..."


def _consent(profile: Profile, campaigns: Campaigns) -> Iterator[str]:
    said = [f"{'all' if scope == '*' else scope} {'yes' if yes else 'no'}" for scope, yes in profile.contact.consents]
    if not profile.contact.profiling:
        said.append("no profiling")
    yield _field("consent", ", ".join(said) or f"never asked (policy: {campaigns.policy.consent})")


def _withheld(profile: Profile, settings: Settings) -> Iterator[str]:
    seed, policy, person = settings.engine.seed, settings.campaigns.policy, profile.customer
    if held_out_of_all(seed, person, policy):
        yield _field("holdout", "of all campaigns (global holdout)")
        return
    held = [c.config.id for c in settings.campaigns.all() if held_out(seed, person, c, policy)]
    if held:
        yield _field("holdout", ", ".join(held))


def _refunds(profile: Profile) -> str:
    return f", {many(profile.orders.refunds, 'refund')}" if profile.orders.refunds else ""


def _by(version: int) -> str:
    return "rule" if version < 0 else f"model of {many(version, 'label')}"


def _timer(kind: str) -> str:
    """A timer's kind without the moment it began."""
    return kind.partition("@")[0].replace(":", " ").replace("defer ", "return to ").replace("leave ", "end of stay in ")


def _field(name: str, text: str) -> str:
    return f"{name:<10}  {text}"
