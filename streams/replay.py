"""Replay: event files through the engine in this process, decisions and figures into files."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

from models.policy.reading import Settings
from models.profile.journey import STAGES
from models.targets import BY_NAME
from schemas.codec import encode_decision, encode_suppressed
from schemas.dead_letters import DeadLetter
from schemas.decisions import Conversion, Decision, Suppressed
from schemas.intake import Intake, IntakeOptions

from . import provenance, saved
from .files import STDIO, FileError
from .recorded import LogIntake
from .run import Run
from .sources import Progress, Sources

TRIGGERS, DECISIONS, SUPPRESSED = "triggers.jsonl", "decisions.jsonl", "suppressed.jsonl"
DEAD_LETTERS, METRICS, RUN = "dead-letters.jsonl", "metrics.json", provenance.RUN
RESULTS = (TRIGGERS, DECISIONS, SUPPRESSED, DEAD_LETTERS, METRICS, RUN)
FORMAT = 1


@dataclass(frozen=True)
class Options:
    """What to replay and how.

    Parameters
    ----------
    files
        Event files, ``-`` for standard input.
    out
        Folder for the results; None writes none.
    unsorted_ms
        How far events may be out of order, milliseconds.
    advance_ms
        After the last event, let time go on so far: later timers fire.
    quiet
        Send nothing: build profiles and models only.
    state, key
        What ``saved.snapshot`` gave, to go on from, and the key it was signed with.
    log
        The one file is a recorded ``events`` log of one partition.
    sources
        With ``log``: what partition time waits for, as of ``Partition``.
    configuration
        The text that the settings were read from; ``run.json`` keeps it.
    """

    files: tuple[str, ...]
    settings: Settings = field(default_factory=Settings)
    out: Path | None = None
    unsorted_ms: int = 0
    advance_ms: int = 0
    quiet: bool = False
    intake: IntakeOptions = field(default_factory=IntakeOptions)
    state: bytes | None = None
    key: bytes = b""
    log: bool = False
    sources: tuple[str, ...] = ()
    configuration: str = ""


@dataclass(frozen=True)
class Report:
    """What a replay came to.

    Parameters
    ----------
    seconds
        How long it took, without start and summary.
    metrics
        What ``metrics.json`` holds.
    stopped
        Somebody pressed Ctrl-C: it holds for the events up to then.
    unsorted_ms
        How far events were allowed to be out of order, milliseconds.
    """

    run: Run
    sources: Sources
    seconds: float
    metrics: dict[str, Any]
    stopped: bool = False
    unsorted_ms: int = 0

    @property
    def complete(self) -> bool:
        """Whether every file was read to its end."""
        return not self.stopped and not self.sources.broken


class _Outputs:
    """The result files, opened together; ``metrics.json`` of an earlier run goes, and comes last."""

    def __init__(self, folder: Path, run: provenance.Provenance) -> None:
        self._folder = folder
        with self._said():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / METRICS).unlink(missing_ok=True)
            (folder / RUN).write_bytes(provenance.encode(run))
            files = [(folder / name).open("wb") for name in (TRIGGERS, DECISIONS, SUPPRESSED, DEAD_LETTERS)]
        self._triggers, self._decisions, self._suppressed, self._dead = files

    def decision(self, decision: Decision) -> None:
        line = encode_decision(decision)
        self._line(self._decisions, line)
        if decision.arm == "treated":
            self._line(self._triggers, line)

    def conversion(self, conversion: Conversion) -> None:
        self._line(self._decisions, msgspec.json.encode(conversion))

    def suppressed(self, suppressed: Suppressed) -> None:
        self._line(self._suppressed, encode_suppressed(suppressed))

    def dead(self, letter: DeadLetter) -> None:
        self._line(self._dead, msgspec.json.encode(letter))

    def finish(self, metrics: dict[str, Any]) -> None:
        """Everything is on disk when this returns."""
        with self._said():
            self.close()
            text = msgspec.json.format(msgspec.json.encode(metrics), indent=2)
            (self._folder / METRICS).write_bytes(text + b"\n")

    def close(self) -> None:
        """Close the files; raises ``OSError`` where what is left in their buffers cannot be written."""
        with contextlib.ExitStack() as stack:
            for file in (self._triggers, self._decisions, self._suppressed, self._dead):
                stack.callback(file.close)

    def _line(self, file: IO[bytes], line: bytes) -> None:
        try:
            file.write(line + b"\n")
        except OSError as error:
            raise self._unwritable(error) from error

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> FileError:
        found = "a file, not a folder" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        return FileError(str(self._folder), found or str(error), "name a folder that can be written: -o FOLDER")


class Replay:
    """Files through the engine; equal input and settings give equal bytes in all result files."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._outputs: _Outputs | None = None
        intake = LogIntake() if options.log else Intake(options.intake)
        self.sources = Sources(options.files, intake, options.unsorted_ms, on_dead=self._refused)

    def run(self, progress: Progress | None = None) -> Report:
        """Run all of it. Ctrl-C ends it early, with the results so far.

        Raises
        ------
        FileError
            Where a file cannot be read at all, or the results cannot be written.
        SnapshotError
            Where ``options.state`` does not fit the settings.
        """
        options = self.options
        run = Run(
            options.settings,
            self._decided,
            self._converted,
            quiet=options.quiet,
            deliver=not options.log,
            sources=options.sources,
            on_suppressed=self._held_back if options.out is not None else None,
        )
        if options.state is not None:
            saved.restore(run, options.state, options.key)
        self.sources.open()
        if options.out is not None:
            _apart(options.files, options.out)
            self._outputs = _Outputs(options.out, self._provenance())
        started = time.perf_counter()
        stopped = False
        try:
            run.drain(self.sources.read(progress))
            if options.advance_ms:
                run.drain((), until=run.partition.clock + options.advance_ms)
        except KeyboardInterrupt:
            stopped = True
        except FileError:
            if self._outputs is not None:
                with contextlib.suppress(OSError):  # the error under way says the same
                    self._outputs.close()
            raise
        seconds = time.perf_counter() - started
        metrics = figures(run, self.sources, stopped)
        if self._outputs is not None:
            self._outputs.finish(metrics)
        return Report(run, self.sources, seconds, metrics, stopped, options.unsorted_ms)

    def _provenance(self) -> provenance.Provenance:
        options = self.options
        return provenance.of(
            options.configuration,
            {
                "unsorted_ms": options.unsorted_ms,
                "advance_ms": options.advance_ms,
                "currency": options.intake.currency,
                "timezone": options.intake.timezone,
                "log": options.log,
                "sources": list(options.sources),
                "state": provenance.digest(options.state) if options.state is not None else "",
            },
        )

    def _decided(self, decision: Decision) -> None:
        if self._outputs is not None:
            self._outputs.decision(decision)

    def _converted(self, conversion: Conversion) -> None:
        if self._outputs is not None:
            self._outputs.conversion(conversion)

    def _held_back(self, suppressed: Suppressed) -> None:
        if self._outputs is not None:
            self._outputs.suppressed(suppressed)

    def _refused(self, letter: DeadLetter) -> None:
        if self._outputs is not None:
            self._outputs.dead(letter)


def _apart(files: tuple[str, ...], out: Path) -> None:
    """No result may be written over an input."""
    for name in RESULTS:
        result = out / name
        for file in files:
            if file != STDIO and result.exists() and result.samefile(file):
                raise FileError(file, "an input that a result would overwrite", "name another folder: -o FOLDER")


def figures(run: Run, sources: Sources, stopped: bool = False) -> dict[str, Any]:
    """All counts and model figures of a run; nothing in it depends on the machine or the hour."""
    counts = run.counts
    models = {
        target: {
            "model": model.name,
            "in_use": model.ready(target),
            "learned": model.version,
            "drifts": model.drifts,
            "rollbacks": model.rollbacks,
            **msgspec.to_builtins(metrics.figures()),
            "calibration": metrics.calibration(),
        }
        for model in run.learner.models.values()
        for target, metrics in model.metrics.items()
        if metrics.n
    }
    return {
        "format": FORMAT,
        "complete": not stopped and not sources.broken,
        "input": {
            "records": sources.records,
            "events": sources.events,
            "first_at": sources.first_at,
            "last_at": sources.last_at if sources.events else None,
            "customers": len(run.profiles),
            "broken_files": [str(error) for error in sources.broken],
            "dead_letters": dict(sorted(sources.dead.items())),
            "repairs": dict(sorted(sources.notes.items())),
            "out_of_order": sources.behind,
            "furthest_out_of_order_ms": sources.furthest_behind_ms,
        },
        "steps": run.steps,
        "counts": dict(sorted((name, n) for name, n in counts.items() if "|" not in name)),
        "funnel": {stage: counts[f"stage|{index}"] for index, stage in enumerate(STAGES)},
        "left": {kind: counts[f"left|{kind}"] for kind in ("browse", "cart", "checkout")},
        "decided": _nested(counts, "decided"),
        "suppressed": _nested(counts, "suppressed"),
        "converted": _nested(counts, "converted"),
        "outcomes": {name.split("|")[1]: n for name, n in sorted(counts.items()) if name.startswith("outcome|")},
        "unhandled": {name.split("|")[1]: n for name, n in sorted(counts.items()) if name.startswith("unhandled|")},
        "models": {target: models[target] for target in BY_NAME if target in models},
    }


def _nested(counts: dict[str, int], what: str) -> dict[str, dict[str, int]]:
    """Counts named ``what|campaign|key`` as campaign -> key -> count."""
    nested: dict[str, dict[str, int]] = {}
    for name, n in sorted(_of(counts, what)):
        _, campaign, key = name.split("|", 2)
        nested.setdefault(campaign, {})[key] = n
    return nested


def _of(counts: dict[str, int], what: str) -> Iterator[tuple[str, int]]:
    return ((name, n) for name, n in counts.items() if name.startswith(f"{what}|"))
