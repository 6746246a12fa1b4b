# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The runs of a study: each in a process of its own, so that none can end the others.

A study makes `Run`s, refuses mistakes with `check`, and takes one `Outcome` after another from
`run_all`. What is known of a run lies in its folder, so the same study started again repeats
nothing: what has ended stays, what was interrupted goes on, what failed is tried again. Started
twice at once on one folder (one a GPU, say), two studies share the runs between them. What a folder
holds must be what is asked for: a run under other settings is refused, not passed off as this one.
"""

import contextlib
import dataclasses
import fcntl
import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from vit_jax import config as config_lib
from vit_jax import exits
from vit_jax.errors import UserError
from vit_jax.training import sinks, workdir

RECORD, OUTPUT = "study.json", "output.txt"

# What a run can be. The first two have ended: they would end the same way again.
FINISHED, DIVERGED = "finished", "diverged"
NEW, INTERRUPTED, FAILED = "new", "interrupted", "failed"
ELSEWHERE, WAITS = "runs elsewhere", "waits"
ENDED = (FINISHED, DIVERGED)

_POLL_SECONDS = 0.5
_WAIT_SECONDS = 2.0
_NOTE_SECONDS = 10.0  # what a killed study forgets of the time that a run has taken
_LOOKS = 5

Say = Callable[[str], None]
Stopping = Callable[[], bool]


class StoppedError(Exception):
    """The study was asked to stop (SIGTERM); the run that was going on has saved."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One `vit-jax train`.

    Attributes:
        name: what tables and progress lines call it.
        folder: its workdir.
        recipe: "FILE[:ARGS]".
        overrides: "--config.section.field=value" each.
        labels: what tells it from the study's other runs, like {"seed": "0"}.
    """

    name: str
    folder: pathlib.Path
    recipe: str
    overrides: tuple[str, ...] = ()
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def config(self) -> ConfigDict:
        """The validated configuration; raises UserError, naming the run."""
        try:
            config = config_lib.load(self.recipe, self.overrides)
            config_lib.validate(config)
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from None
        return config

    def command(self) -> list[str]:
        """Returns the command that starts it, or goes on with it."""
        start = [sys.executable, "-m", "vit_jax", "train"]
        return [*start, f"--config={self.recipe}", f"--workdir={self.folder}", *self.overrides]


Prepare = Callable[[Run], str]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How far a run has come.

    Attributes:
        run: which.
        state: FINISHED, DIVERGED, NEW, INTERRUPTED, FAILED, ELSEWHERE or WAITS (for another run).
        results: "train", "validation", "test" -> the last line of metrics of that split.
        seconds: of all its starts together.
        reason: why it failed, or what it waits for, in one line.
    """

    run: Run
    state: str
    results: Mapping[str, Mapping[str, Any]]
    seconds: float = 0.0
    reason: str = ""

    def metric(self, split: str, name: str) -> float | None:
        """Returns a number after the last step; None if the run did not end well or lacks it."""
        if self.state != FINISHED:
            return None
        return self.results.get(split, {}).get(name)


def check(runs: Sequence[Run]) -> None:
    """Raises UserError for a mistake in any configuration, or if a folder holds another run."""
    for run in runs:
        workdir.check(run.folder, run.config)
        if not workdir.has_begun(run.folder):
            continue
        asked = _asked(run) or workdir.saved_config(run.folder)
        for field, before, now in _differences(asked, run):
            raise UserError(
                f"{run.folder} holds a run with {field}={before!r}, not {now!r}, and would not "
                "come to the same; choose another --workdir, or remove that folder"
            )


def _asked(run: Run) -> ConfigDict | None:
    """Returns what was asked for at its last start; `memory=auto` may have chosen otherwise."""
    asked = _read_record(run).get("config")
    return config_lib.from_json(json.dumps(asked)) if asked else None


def _differences(before: ConfigDict | None, run: Run) -> list[tuple[str, Any, Any]]:
    """Returns (field, before, now) of what the result of a run depends on."""
    found = config_lib.diff(before, run.config) if before else []
    return [each for each in found if not workdir.is_among(each[0], workdir.NEUTRAL)]


def results(folder: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """Returns split -> its last line in the metrics file of a run; {} before the first line."""
    path = _metrics(folder)
    return sinks.last_lines(path) if path.exists() else {}


def lines(folder: str | os.PathLike, split: str = "") -> list[dict[str, Any]]:
    """Returns the lines of the metrics file of a run; those of one split alone, if named."""
    path = _metrics(folder)
    return sinks.read_lines(path, split) if path.exists() else []


def _metrics(folder: str | os.PathLike) -> pathlib.Path:
    return pathlib.Path(folder) / "metrics.jsonl"


def inspect(run: Run) -> Outcome:
    """Says how far a run has come, by what lies in its folder."""
    record = _read_record(run)
    outcome = functools.partial(
        Outcome, run, results=results(run.folder), seconds=record.get("seconds", 0.0)
    )
    with locked(run.folder) as lock:
        if lock is None:
            return outcome(ELSEWHERE)
    status, asked = record.get("status"), _asked(run)
    same = asked and not _differences(asked, run)
    if same and status == exits.DONE:
        return outcome(FINISHED)
    if same and _has_diverged(run):
        return outcome(DIVERGED, reason=record.get("reason", ""))
    if status not in (None, exits.DONE, exits.PREEMPTED):
        return outcome(FAILED, reason=record.get("reason", ""))
    return outcome(INTERRUPTED if record else NEW)


def run_all(
    runs: Sequence[Run],
    say: Say = print,
    prepare: Prepare | None = None,
    *,
    wait_for_others: bool = False,
) -> Iterator[Outcome]:
    """Yields the outcome of every run, one after the other; trains those that have not ended.

    Args:
        runs: in the order to take them.
        say: gets a line when a run starts, is evaluated and ends.
        prepare: see `execute`.
        wait_for_others: whether to come back to runs that go on elsewhere, and to those that wait
            for them, until all have ended; should the other process die, they are trained here.

    Raises:
        StoppedError: SIGTERM came; the run that was going on was stopped the same way.
    """
    left = dict(enumerate(runs, 1))
    before: dict[int, Outcome] = {}
    with _noting_sigterm() as stopping:
        while left:
            later: dict[int, Run] = {}
            for number, run in left.items():
                _go_on_unless(stopping)
                say_of = functools.partial(_say_of, say, f"[{number}/{len(runs)}] {run.name}")
                outcome = _take(run, say_of, prepare, stopping, before.get(number))
                before[number] = outcome
                if wait_for_others and outcome.state in (ELSEWHERE, WAITS):
                    later[number] = run
                else:
                    yield outcome
            if len(later) == len(left):  # nothing has come of this round
                if all(before[number].state == WAITS for number in left):
                    yield from (before[number] for number in left)  # for what has failed
                    return
                time.sleep(_WAIT_SECONDS)
            left = later


def _take(
    run: Run, say: Say, prepare: Prepare | None, stopping: Stopping, before: Outcome | None
) -> Outcome:
    """Trains a run that has not ended; says its state, unless that is as it was `before`."""
    outcome = inspect(run)
    trained = outcome.state not in (*ENDED, ELSEWHERE)
    if trained:
        outcome = execute(run, say, prepare, stopping)
        trained = outcome.state not in (ELSEWHERE, WAITS)
    if not trained and (before is None or before.state != outcome.state):
        say(outcome.reason if outcome.state == WAITS else outcome.state)
    return outcome


def _say_of(say: Say, head: str, text: str) -> None:
    say(f"{head}: {text}")


def execute(
    run: Run,
    say: Say = print,
    prepare: Prepare | None = None,
    stopping: Stopping = lambda: False,
) -> Outcome:
    """Starts or continues one run in its own process and waits for its end.

    What it prints goes to `output.txt` in its folder. A KeyboardInterrupt stops it by SIGTERM, so
    that it saves, and goes on upwards.

    Args:
        run: the run.
        say: gets a line when it starts, is evaluated and ends.
        prepare: called ahead of its start, while no other study can touch its folder; what it
            returns, if anything, is why the run has to wait for another time.
        stopping: asked now and then; True stops the run likewise.

    Raises:
        StoppedError: it was stopped so.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    with locked(run.folder) as lock:
        if lock is None:
            return inspect(run)
        why_not = prepare(run) if prepare else ""
        if not why_not:
            _train(run, lock, say, stopping)
    outcome = inspect(run)
    if why_not:
        return dataclasses.replace(outcome, state=WAITS, reason=why_not)
    say(_describe(outcome))
    return outcome


def _train(run: Run, lock: int, say: Say, stopping: Stopping) -> None:
    """Starts or continues a run whose folder is locked; writes down how it ended."""
    record = _read_record(run)
    goes_on = record and record.get("status") in (None, exits.DONE, exits.PREEMPTED)
    say("goes on" if goes_on else "starts")
    before, started = record.get("seconds", 0.0), time.monotonic()

    def note(status: int | None = None, reason: str = "") -> None:
        _write_record(run, status, before + time.monotonic() - started, reason)

    note()
    output = run.folder / OUTPUT
    start = output.stat().st_size if output.exists() else 0
    with output.open("ab") as file:
        process = subprocess.Popen(
            run.command(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us: the run is to save
            pass_fds=(lock,),  # held as long as the run lives, even if we do not
        )
    try:
        _watch(process, run, say, stopping, note)
    finally:
        _stop(process)
        note(process.returncode, _reason(process.returncode, output, start))


def _watch(
    process: subprocess.Popen, run: Run, say: Say, stopping: Stopping, note: Callable[[], None]
) -> None:
    """Says every evaluation, notes the time now and then; returns when the process has ended."""
    metric, said = run.config.checkpoint.best_metric, len(_evaluations(run))
    ended, noted = False, time.monotonic()
    while not ended:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_SECONDS)
        ended = process.poll() is not None
        found = _evaluations(run)
        for line in found[said:]:
            say(f"step {line['step']}, validation {metric} {_number(line, metric)}")
        said = max(said, len(found))
        if time.monotonic() - noted > _NOTE_SECONDS:
            note()
            noted = time.monotonic()
        if not ended:
            _go_on_unless(stopping)


def _evaluations(run: Run) -> list[dict[str, Any]]:
    return lines(run.folder, "validation")


def _number(line: Mapping[str, Any], metric: str) -> str:
    value = line.get(metric)
    return "unknown" if value is None else f"{value:.4f}"


def _describe(outcome: Outcome) -> str:
    taken = f"{outcome.state} after {outcome.seconds:.0f} s"
    if outcome.state == FINISHED:
        metric = outcome.run.config.checkpoint.best_metric
        split = "validation" if outcome.run.config.data.validation_split else "test"
        return f"{taken}, {split} {metric} {_number(outcome.results.get(split, {}), metric)}"
    return f"{taken}: {outcome.reason}" if outcome.reason else taken


def _stop(process: subprocess.Popen) -> None:
    """Ends a process that still runs: it may save; a second interrupt kills it."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise


def _reason(status: int, output: pathlib.Path, start: int) -> str:
    """Returns why a run ended as it did, in one line; "" if it ended well."""
    if status in (exits.DONE, exits.PREEMPTED):
        return ""
    if status < 0:
        return f"ended by signal {-status} ({signal.strsignal(-status)}); see {output}"
    return _last_words(output, start)


def _last_words(output: pathlib.Path, start: int) -> str:
    """Returns the error a run ended with, or the last line it printed."""
    with output.open("rb") as file:
        file.seek(start)
        printed = file.read().decode("utf-8", "replace").split("\n")
    printed = [line.strip() for line in printed if line.strip()]
    errors = [line for line in printed if line.startswith("vit-jax: error: ")]
    last = (errors or printed or ["it printed nothing"])[-1]
    return last.removeprefix("vit-jax: error: ")


def _has_diverged(run: Run) -> bool:
    """By its record: the steps without a finite gradient reached the limit."""
    streak = results(run.folder).get("train", {}).get("nonfinite_streak", 0)
    return streak > 0 and streak >= run.config.train.max_nonfinite_steps


def _read_record(run: Run) -> dict[str, Any]:
    try:
        return json.loads((run.folder / RECORD).read_text())
    except (OSError, json.JSONDecodeError):
        return {}


def _write_record(run: Run, status: int | None, seconds: float, reason: str = "") -> None:
    """Writes what was asked for and how it ended, at once or not at all."""
    record = {
        "status": status,
        "seconds": round(seconds, 3),
        "reason": reason,
        "config": json.loads(config_lib.to_json(run.config)),
    }
    partial = run.folder / f"{RECORD}.partial"
    partial.write_text(json.dumps(record, indent=2) + "\n")
    partial.replace(run.folder / RECORD)


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[int | None]:
    """Holds the folder of a run: yields a file descriptor, or None if another process holds it."""
    if not folder.exists():
        yield -1
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor)
    except BlockingIOError:
        os.close(descriptor)
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Locks a folder; another study may hold it for a moment, just to look."""
    for _ in range(_LOOKS):
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.02)
    raise BlockingIOError


@contextlib.contextmanager
def _noting_sigterm() -> Iterator[Stopping]:
    """Yields what says whether SIGTERM has come: raised at once, it could hit what is half done."""
    came = []
    before = signal.signal(signal.SIGTERM, lambda *_: came.append(True))
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGTERM, before)


def _go_on_unless(stopping: Stopping) -> None:
    if stopping():
        raise StoppedError("stopped; the same command goes on")
