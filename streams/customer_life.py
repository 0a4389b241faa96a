"""One customer's life, from event files, from the folder of a replay, or from the running installation."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from msgspec import Struct

from models.policy.reading import Settings, read
from models.profile.profile import Profile
from models.profile.tombstone import is_tombstone
from schemas.identity import Linked

from . import run_folder
from .files import STDIO
from .line_files import Progress
from .replay import Options, Replay
from .run_folder import RunFolder
from .timeline import Entry, Timeline


class Life(Struct, kw_only=True):
    """What was found of a customer.

    Parameters
    ----------
    customer
        The id it is known by.
    profile
        As it is at the end; None where no state is at hand, or there is none.
    now
        Partition time at the end, milliseconds UTC.
    entries
        Its time line.
    settings
        The configuration that decided.
    notes
        What the time line cannot show, and how to see it.
    known
        Other customers' ids, to name those that are like an unknown one.
    """

    customer: str
    profile: Profile | None = None
    now: int = 0
    entries: list[Entry] = []
    settings: Settings = Settings()
    notes: list[str] = []
    known: Collection[str] = ()

    @property
    def found(self) -> bool:
        """Whether anything is known of the customer."""
        return bool(self.entries) or self.profile is not None


def replayed(customer: str, options: Options, progress: Progress | None = None) -> Life:
    """The life of a customer by running event files through the engine.

    Everybody's events are run, for models learn from all of them. The devices that became the customer are found by going
    over the files once before.

    Raises
    ------
    FileError
        Where a file cannot be read, or a customer known by its user id is looked for in standard input.
    SnapshotError, KeptModelError
        As ``Replay.run`` does.
    """
    notes = []
    devices: set[str] = set()
    if customer.startswith("u:"):
        if STDIO in options.files:
            notes.append("what its devices did before it was known is left out: standard input is read once")
        else:
            devices = _devices(customer, options)
    timeline = Timeline({customer, *devices})
    report = Replay(options, on_step=timeline.step).run(progress)
    if report.stopped:
        raise KeyboardInterrupt
    notes += [f"not read to its end: {error}" for error in report.sources.broken]
    profile = report.run.profiles.get(customer)
    known = [one for one, other in report.run.profiles.items() if not is_tombstone(other)] if profile is None else ()
    return Life(
        customer=customer,
        profile=profile,
        now=report.run.partition.clock,
        entries=timeline.entries,
        settings=options.settings,
        notes=notes,
        known=known,
    )


def _devices(user: str, options: Options) -> set[str]:
    """The devices whose first link is to a user."""
    links: dict[str, str] = {}
    sources = Replay(replace(options, out=None, state=None)).sources
    for event in sources.read():
        if isinstance(event, Linked):
            links.setdefault(event.customer, event.user)
    return {device for device, owner in links.items() if owner == user}


def of_folder(customer: str, folder: Path) -> Life:
    """What the folder of a replay says of a customer: decisions, goals, and what was suppressed.

    Raises
    ------
    FileError
        Where it holds no complete replay.
    """
    run = RunFolder(folder)
    entries: list[Entry] = []
    known: set[str] = set()
    for head, line in run.decisions():
        if head.customer == customer:
            if head.kind:
                entries.append(Timeline.goal(run_folder.conversion(line)))
            else:
                entries.append(Timeline.decision(run_folder.decision(line)))
        else:
            known.add(head.customer)
    for head, line in run.suppressed():
        if head.customer == customer:
            entries.append(Timeline.suppressed(run_folder.suppression(line)))
        else:
            known.add(head.customer)
    entries.sort(key=lambda one: one.at)
    notes = ["events, stages and scores are not in the folder of a replay: name the event files themselves to see them"]
    if not run.explained:
        notes.append("nor is what was suppressed: an older version wrote it")
    made = run.provenance
    settings = read(made.configuration, f"{folder}/run.json") if made is not None and made.configuration else Settings()
    return Life(customer=customer, entries=entries, settings=settings, notes=notes, known=() if entries else known)
