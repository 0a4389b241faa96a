"""Replay: event files through the engine in this process, decisions and figures into files."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import SnapshotError
from models.policy.reading import Settings
from schemas.dead_letters import DeadLetter
from schemas.decisions import Conversion, Decision, Suppressed
from schemas.intake import Intake, IntakeOptions

from . import run_provenance, saved
from .figures import figures
from .files import FileError
from .kept_models import KeptModelError
from .line_files import Progress
from .recorded import LogIntake, RecordedLog
from .repetition import Repetition
from .results import Outputs, apart
from .run import OnStep, Run
from .sources import Sources


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
        The one file is a recorded ``events`` log of one partition, of which this is known.
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
    log: RecordedLog | None = None
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

    @property
    def inexact(self) -> bool:
        """Whether this was the replay of a log that cannot give the stream's bytes."""
        return "log" in self.metrics and self.metrics["log"]["exact"] is False


class Replay:
    """Files through the engine; equal input and settings give equal bytes in all result files.

    Parameters
    ----------
    options
        What to run.
    on_step
        As of ``Run``.
    """

    def __init__(self, options: Options, on_step: OnStep | None = None) -> None:
        self.options = options
        self._on_step = on_step
        self._outputs: Outputs | None = None
        log = options.log
        intake = LogIntake(log) if log is not None else Intake(options.intake)
        self.sources = Sources(options.files, intake, options.unsorted_ms, on_dead=self._refused)
        self._repetition = Repetition(log, lambda: self.sources.records) if log is not None else None

    def run(self, progress: Progress | None = None) -> Report:
        """Run all of it. Ctrl-C ends it early, with the results so far.

        Raises
        ------
        FileError
            Where a file cannot be read at all, or the results cannot be written.
        SnapshotError
            Where ``options.state`` does not fit the settings.
        KeptModelError
            Where a model version of the log is broken, signed with another key, or does not fit the settings.
        """
        options, repetition = self.options, self._repetition
        run = Run(
            options.settings,
            self._decided,
            self._converted,
            quiet=options.quiet,
            deliver=options.log is None,
            sources=options.log.sources if options.log is not None else (),
            published=repetition.published(options.key) if repetition is not None else None,
            on_suppressed=self._held_back if options.out is not None else None,
            on_step=self._on_step,
        )
        if options.state is not None:
            saved.restore(run, options.state, options.key)
        self.sources.open()
        if options.out is not None:
            apart(options.files, options.out)
            self._outputs = Outputs(options.out, self._provenance())
        started = time.perf_counter()
        stopped = False
        try:
            run.drain(self.sources.read(progress))
            if options.advance_ms:
                run.drain((), until=run.partition.clock + options.advance_ms)
        except KeyboardInterrupt:
            stopped = True
        except SnapshotError as error:
            where = f"{options.files[0]}, record {self.sources.records}"
            remedy = "name the campaigns file that the workers have: -c FILE"
            raise KeptModelError(where, f"a model version of other settings ({error})", remedy) from error
        except FileError:
            if self._outputs is not None:
                with contextlib.suppress(OSError):  # the error under way says the same
                    self._outputs.close()
            raise
        seconds = time.perf_counter() - started
        metrics = figures(run, self.sources, stopped)
        if repetition is not None:
            metrics["log"] = repetition.figures(resumed=options.state is not None)
        if self._outputs is not None:
            self._outputs.finish(metrics)
        return Report(run, self.sources, seconds, metrics, stopped, options.unsorted_ms)

    def _provenance(self) -> run_provenance.Provenance:
        options, log = self.options, self.options.log
        return run_provenance.of(
            options.configuration,
            {
                "unsorted_ms": options.unsorted_ms,
                "advance_ms": options.advance_ms,
                "currency": options.intake.currency,
                "timezone": options.intake.timezone,
                "sources": list(log.sources) if log is not None else [],
                "models": log.models.digest(log.versions) if log is not None and log.models is not None else "",
                "state": run_provenance.digest(options.state) if options.state is not None else "",
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
