"""What a campaigns file would have sent on history: its decisions counted, nothing sent, and no effect made up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, NamedTuple

from msgspec.structs import replace

from models.evaluation import sample_size
from models.evaluation.difference import Interval
from models.evaluation.first_decisions import FirstDecisions
from models.evaluation.volume import Contacts, Daily, Volumes
from models.policy.campaigns import Campaign
from models.policy.reading import Settings
from schemas.base import DAY_MS, Event
from schemas.decisions import Decision
from schemas.intake import Intake, IntakeOptions

from .figures import figures
from .line_files import Progress
from .run import Run
from .sources import Sources

RELATIVE = 0.1
POWER = 0.8


@dataclass(frozen=True)
class Options:
    """What to backtest and how.

    Parameters
    ----------
    files
        Event files, ``-`` for standard input.
    unsorted_ms
        How far events may be out of order, milliseconds.
    as_live
        Campaigns in shadow mode decide as live ones.
    ignore_arrival
        Each event is taken as arrived when it occurred: for files whose arrival times are those of a backfill.
    often
        Contacts of one customer in seven days that are still usual.
    gain
        A further effect to plan for; None: none.
    alpha
        Chance of a false alarm, and one minus the level of the intervals.
    """

    files: tuple[str, ...]
    settings: Settings
    unsorted_ms: int = 0
    intake: IntakeOptions = field(default_factory=IntakeOptions)
    as_live: bool = False
    ignore_arrival: bool = False
    often: int = 2
    gain: float | None = None
    alpha: float = 0.05


class Size(NamedTuple):
    """What it takes to see one effect: persons for one look and for looks at will, and days at this history's pace.

    Each is None where no number of persons does it.
    """

    why: str  # assumed, relative, asked
    effect: float
    fixed: sample_size.Plan | None
    anytime: sample_size.Plan | None
    days_fixed: float | None
    days_anytime: float | None


class Planned(NamedTuple):
    """One campaign.

    Parameters
    ----------
    mode
        ``live``, ``shadow`` or ``off``, as it was run.
    sent, held_out, shadow
        Decisions a day.
    days
        Start of day (milliseconds UTC) -> sent.
    treated, holdout
        Persons by the arm of their first decision.
    open, excluded
        As in ``first_decisions.Rows``.
    persons, converted
        Persons whose attribution window is over, of both arms: none was treated in this history; how many reached the goal.
    """

    campaign: str
    mode: str
    goal: str
    window: str
    sent: Daily
    held_out: Daily
    shadow: Daily
    days: dict[int, int]
    treated: int
    holdout: int
    open: int
    excluded: dict[str, int]
    persons: int
    converted: int
    base_rate: float | None
    base_interval: Interval
    sizes: tuple[Size, ...]


@dataclass(frozen=True)
class Report:
    """What a backtest came to; ``figures`` is what a replay's ``metrics.json`` would hold."""

    figures: dict[str, Any]
    campaigns: tuple[Planned, ...]
    together: Daily
    contacts: Contacts
    sources: Sources
    stopped: bool

    @property
    def stale(self) -> int:
        """How often a candidate was stopped because it rested on events that arrived late."""
        return sum(reasons.get("stale", 0) for reasons in self.figures["suppressed"].values())


class Backtest:
    """Files through the engine under a campaigns file; decisions are counted as they arise."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.sources = Sources(options.files, Intake(options.intake), options.unsorted_ms)
        self._volumes = Volumes()
        self._firsts = FirstDecisions()

    def run(self, progress: Progress | None = None) -> Report:
        """Run all of it; Ctrl-C ends it early, with what was counted so far.

        Raises
        ------
        FileError
            Where a file cannot be read at all.
        """
        options = self.options
        settings = _as_live(options.settings) if options.as_live else options.settings
        run = Run(settings, self._decided, self._firsts.converted)
        self.sources.open()
        events: Iterator[Event] = self.sources.read(progress)
        if options.ignore_arrival:
            events = (replace(event, received_at=event.occurred_at) for event in events)
        stopped = False
        try:
            run.drain(events)
        except KeyboardInterrupt:
            stopped = True
        first_at, last_at = self.sources.first_at or 0, self.sources.last_at
        campaigns = settings.campaigns.all()
        ids = [campaign.config.id for campaign in campaigns]
        return Report(
            figures(run, self.sources, stopped),
            tuple(self._planned(campaign, first_at, last_at) for campaign in campaigns),
            self._volumes.daily(ids, "treated", first_at, last_at),
            self._volumes.contacts(options.often),
            self.sources,
            stopped,
        )

    def _decided(self, decision: Decision) -> None:
        self._volumes.decided(decision)
        self._firsts.decided(decision)

    def _planned(self, campaign: Campaign, first_at: int, last_at: int) -> Planned:
        config, volumes, alpha = campaign.config, self._volumes, self.options.alpha
        rows = self._firsts.rows(config.id, last_at)
        counted = [first for first in self._firsts.firsts(config.id) if not first.flag]
        converted, persons = sum(rows.converted), len(rows.persons)
        rate = converted / persons if persons else None
        effect = fmean(first.effect for first in counted) if counted else config.actions[0].prior_effect
        days = max(1.0, (last_at - first_at) / DAY_MS)
        return Planned(
            campaign=config.id,
            mode=config.mode,
            goal=config.goal.event,
            window=config.goal.window,
            sent=volumes.daily([config.id], "treated", first_at, last_at),
            held_out=volumes.daily([config.id], "holdout", first_at, last_at),
            shadow=volumes.daily([config.id], "shadow", first_at, last_at),
            days=volumes.by_day(config.id, "treated"),
            treated=sum(first.treated for first in counted),
            holdout=sum(not first.treated for first in counted),
            open=rows.open,
            excluded=dict(rows.excluded),
            persons=persons,
            converted=converted,
            base_rate=rate,
            base_interval=sample_size.wilson(converted, persons, alpha),
            sizes=tuple(self._sizes(rate, effect, config.holdout, len(counted) / days)) if rate is not None else (),
        )

    def _sizes(self, rate: float, effect: float, holdout: float, a_day: float) -> Iterator[Size]:
        wanted = [("assumed", effect), ("relative", RELATIVE * rate)]
        if self.options.gain is not None:
            wanted.append(("asked", self.options.gain))
        for why, gain in wanted:
            once = sample_size.fixed(rate, gain, holdout, self.options.alpha, POWER)
            always = sample_size.anytime(rate, gain, holdout, self.options.alpha, POWER)
            yield Size(
                why, gain, once, always, *(plan.persons / a_day if plan and a_day else None for plan in (once, always))
            )


def _as_live(settings: Settings) -> Settings:
    """The same with every shadow campaign live."""
    by_signal = {
        signal: tuple(
            replace(one, config=replace(one.config, mode="live")) if one.config.mode == "shadow" else one
            for one in found
        )
        for signal, found in settings.campaigns.by_signal.items()
    }
    return replace(settings, campaigns=replace(settings.campaigns, by_signal=by_signal))
