"""Replay: event files through the engine in this process, decisions and figures into files."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

from models.policy.reading import Settings
from models.targets import BY_NAME
from schemas.codec import encode_decision
from schemas.dead_letters import DeadLetter
from schemas.decisions import Conversion, Decision
from schemas.intake import Intake, IntakeOptions

from .files import FileError
from .run import Run
from .sources import Progress, Sources

TRIGGERS, DECISIONS, DEAD_LETTERS, METRICS = "triggers.jsonl", "decisions.jsonl", "dead-letters.jsonl", "metrics.json"


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


@dataclass(frozen=True)
class Report:
    """What a replay came to: the figures that go into ``metrics.json``, and how long it took."""

    run: Run
    sources: Sources
    seconds: float
    metrics: dict[str, Any]


class _Outputs:
    """The result files, opened together."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._triggers = stack.enter_context((folder / TRIGGERS).open("wb"))
            self._decisions = stack.enter_context((folder / DECISIONS).open("wb"))
            self._dead = stack.enter_context((folder / DEAD_LETTERS).open("wb"))
        except OSError as error:
            raise FileError(str(folder), error.strerror or str(error), "name a folder that can be written: -o FOLDER") from error

    def decision(self, decision: Decision) -> None:
        line = encode_decision(decision)
        self._line(self._decisions, line)
        if decision.arm == "treated":
            self._line(self._triggers, line)

    def conversion(self, conversion: Conversion) -> None:
        self._line(self._decisions, msgspec.json.encode(conversion))

    def dead(self, letter: DeadLetter) -> None:
        self._line(self._dead, msgspec.json.encode(letter))

    @staticmethod
    def _line(file: IO[bytes], line: bytes) -> None:
        file.write(line)
        file.write(b"\n")


class Replay:
    """Files through the engine; equal input and settings give equal bytes in all result files."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._dead: Callable[[DeadLetter], None] | None = None
        self.sources = Sources(options.files, Intake(options.intake), options.unsorted_ms, on_dead=self._refused)

    def run(self, progress: Progress | None = None) -> Report:
        """Run all of it.

        Raises
        ------
        FileError
            Where a file cannot be read, or the results cannot be written.
        SnapshotError
            Where ``options.state`` does not fit the settings.
        """
        options = self.options
        with contextlib.ExitStack() as stack:
            outputs = _Outputs(options.out, stack) if options.out is not None else None
            if outputs is not None:
                self._dead = outputs.dead
            run = Run(
                options.settings,
                on_decision=outputs.decision if outputs else None,
                on_conversion=outputs.conversion if outputs else None,
                quiet=options.quiet,
            )
            if options.state is not None:
                run.restore(options.state, options.key)
            started = time.perf_counter()
            run.drain(self.sources.read(progress))
            if options.advance_ms:
                run.drain((), until=run.partition.clock + options.advance_ms)
            seconds = time.perf_counter() - started
            metrics = figures(run, self.sources)
            if options.out is not None:
                text = msgspec.json.format(msgspec.json.encode(metrics), indent=2)
                (options.out / METRICS).write_bytes(text + b"\n")
        return Report(run, self.sources, seconds, metrics)

    def _refused(self, letter: DeadLetter) -> None:
        if self._dead is not None:
            self._dead(letter)


def figures(run: Run, sources: Sources) -> dict[str, Any]:
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
        "input": {
            "records": sources.records,
            "events": sources.events,
            "first_at": sources.first_at,
            "last_at": sources.last_at,
            "customers": len(run.profiles),
            "dead_letters": dict(sorted(sources.dead.items())),
            "repairs": dict(sorted(sources.notes.items())),
            "out_of_order": sources.behind,
            "furthest_out_of_order_ms": sources.furthest_behind_ms,
        },
        "steps": run.steps,
        "counts": dict(sorted((name, n) for name, n in counts.items() if "|" not in name)),
        "funnel": [counts[f"stage|{stage}"] for stage in range(6)],
        "left": {kind: counts[f"left|{kind}"] for kind in ("browse", "cart", "checkout")},
        "decided": _nested(counts, "decided"),
        "suppressed": _nested(counts, "suppressed"),
        "converted": _nested(counts, "converted"),
        "outcomes": {name.split("|")[1]: n for name, n in sorted(counts.items()) if name.startswith("outcome|")},
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
