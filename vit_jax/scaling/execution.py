# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The runs of a study, one after the other, and the table that is gathered from their folders.

The table is a function of what lies in the folders: whichever run was interrupted, repeated or
trained elsewhere, the rows come out the same, times aside.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from vit_jax.errors import UserError
from vit_jax.models import model_info
from vit_jax.scaling import sharing, table
from vit_jax.scaling import study as study_lib
from vit_jax.scaling.cost import Cost, Costs
from vit_jax.scaling.sharing import Group
from vit_jax.scaling.study import FewShot, Point, Study
from vit_jax.studies import runs as runs_lib
from vit_jax.studies.runs import FINISHED, Outcome, Run

Say = Callable[[str], None]

FEW_SHOT = "few_shot.json"  # in the folder of a run


class Plan:
    """A study with its points: what each takes, what they share, what has come of them.

    Args:
        study: as `study.load` gives it.
        folder: where the runs and the table go.
        overrides: "--config.section.field=value" for every run.

    Attributes:
        points: the grid.
        groups: the same points, those together that share their beginning.

    Raises:
        UserError: whatever is wrong with any of the runs.
    """

    def __init__(self, study: Study, folder: pathlib.Path, overrides: Sequence[str] = ()):
        _check_few_shot(study.few_shot)
        self.study, self.folder = study, folder
        costs = Costs()
        points = study_lib.points(study, folder, overrides)
        self._costs = {point.run.name: costs.of(point.run.config) for point in points}
        self.groups = sharing.groups(study, points, self.cost)
        found = {b.point.run.name: b.point for group in self.groups for b in group.members}
        self.points = [found[point.run.name] for point in points]

    def cost(self, point: Point) -> Cost:
        """Returns what a point takes if it is trained from its first step."""
        return self._costs[point.run.name]

    def flops(self, groups: Iterable[Group]) -> tuple[int, int]:
        """Returns the FLOPs of all points in sum, and with what they share counted once."""
        members = [branch for group in groups for branch in group.members]
        total = sum(self.cost(b.point).flops(self.cost(b.point).steps.total) for b in members)
        return total, total - sum(self.cost(b.point).flops(b.step) for b in members)

    def rows(self) -> list[dict[str, Any]]:
        """Returns the table as it stands, by what lies in the folders."""
        return [self.row(point) for point in self.points]

    def row(self, point: Point) -> dict[str, Any]:
        """Returns the row of one point."""
        cost, config, outcome = self.cost(point), point.run.config, runs_lib.inspect(point.run)
        accuracy = outcome.metric(point.split, "accuracy")
        beginning = sharing.beginning(point.run.folder)
        row = {
            "study": self.study.name,
            "family": model_info(config.model.name).family,
            "model": config.model.name,
            "parameters": cost.parameters,
            "forward_flops": cost.forward_flops,
            "flops": cost.flops(cost.steps.total),
            "examples": cost.examples,
            "images_seen": cost.images_seen,
            "steps": cost.steps.total,
            "seed": config.seed,
            "loss": outcome.metric(point.split, "loss"),
            "accuracy": accuracy,
            "error": None if accuracy is None else 1 - accuracy,
            "few_shot": _read_few_shot(point.run, self.study.few_shot),
            "seconds": outcome.seconds + beginning.seconds or None,
            "state": outcome.state,
            "split": point.split,
            "run": point.run.folder.name,
        }
        return row | dict(point.texts)

    @property
    def tables(self) -> list[pathlib.Path]:
        """The files that the table is written to, of those there are."""
        return [path for path in sorted(self.folder.glob("table.*")) if path.suffix != ".partial"]

    def lacks_few_shot(self, names: Collection[str]) -> bool:
        """Says whether one of these points has finished without its few-shot accuracy."""
        wanted = [point for point in self.points if point.run.name in names]
        rows = [self.row(point) for point in wanted if self.study.few_shot]
        return any(row["state"] == FINISHED and row["few_shot"] is None for row in rows)

    def spent(self) -> tuple[int, float]:
        """Returns the FLOPs and seconds of the runs that have finished, shared steps once."""
        flops, seconds = 0, 0.0
        for point in self.points:
            outcome = runs_lib.inspect(point.run)
            if outcome.state == FINISHED:
                cost = self.cost(point)
                own = cost.steps.total - sharing.beginning(point.run.folder).step
                flops, seconds = flops + cost.flops(own), seconds + outcome.seconds
        return flops, seconds


def run(plan: Plan, groups: Sequence[Group], say: Say = print) -> Iterator[Outcome]:
    """Trains what has not ended, and rewrites the table whenever a run has; yields the outcomes.

    Ends when all runs have, those in the hands of other processes as well.

    Args:
        plan: the study.
        groups: those of it to train here, in this order.
        say: gets lines for people.

    Raises:
        StoppedError: SIGTERM came; the run that was going on has saved.
    """
    members = {b.point.run.name: (b, group) for group in groups for b in group.members}

    def prepare(run: Run) -> str:
        branch, group = members[run.name]
        return sharing.begin(branch, group.trunk.run)

    def written() -> dict[str, dict[str, Any]]:
        rows = plan.rows()  # with what others have trained meanwhile
        table.write(rows, plan.folder)
        return {row["run"]: row for row in rows}

    runs, rows = [branch.point.run for branch, _ in members.values()], written()
    for outcome in runs_lib.run_all(runs, say, prepare, wait_for_others=True):
        branch, _ = members[outcome.run.name]
        if outcome.state == FINISHED and plan.study.few_shot:
            _measure_few_shot(outcome.run, plan.study.few_shot, say)
        if plan.row(branch.point) != rows[outcome.run.folder.name]:
            rows = written()
        yield outcome


def share_out(groups: Sequence[Group], index: int, count: int) -> list[Group]:
    """Returns the groups that task `index` of `count` trains: every `count`-th.

    Raises:
        UserError: there is no such task.
    """
    if not 0 <= index < count:
        raise UserError(f"--array={index}/{count}: write a number from 0 to {count - 1} of {count}")
    return list(groups[index::count])


def _check_few_shot(few_shot: FewShot | None) -> None:
    from vit_jax.evaluation.few_shot import SHOTS

    if few_shot and few_shot.shots not in SHOTS:
        raise UserError(f"few_shot: shots={few_shot.shots} is none of {', '.join(map(str, SHOTS))}")


def _measure_few_shot(run: Run, few_shot: FewShot, say: Say) -> None:
    """Measures a finished run once, whoever else is at it."""
    while _read_few_shot(run, few_shot) is None:
        with runs_lib.locked(run.folder) as lock:
            if lock is not None:
                if _read_few_shot(run, few_shot) is None:
                    _evaluate_few_shot(run, few_shot, say)
                return
        time.sleep(1.0)


def _evaluate_few_shot(run: Run, few_shot: FewShot, say: Say) -> None:
    """Measures in a process of its own, and keeps the numbers beside the run."""
    options = {
        "checkpoint": str(run.folder),
        "suite": "few_shot",
        "source": few_shot.source,
        "split": few_shot.split,
        "train-split": few_shot.train_split,
    }
    words = [f"--{name}={value}" for name, value in options.items() if value]
    command = [sys.executable, "-m", "vit_jax", "evaluate", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        say(f"{run.name}: few-shot accuracy is missing: {last.removeprefix('vit-jax: error: ')}")
        return
    found = json.loads(done.stdout[done.stdout.index("{") :])
    kept = {"asked": dataclasses.asdict(few_shot), "rows": found["few_shot"]}
    partial = run.folder / f"{FEW_SHOT}.partial"
    partial.write_text(json.dumps(kept, indent=1) + "\n")
    partial.replace(run.folder / FEW_SHOT)
    say(f"{run.name}: {few_shot.shots}-shot accuracy {_read_few_shot(run, few_shot):.4f}")


def _read_few_shot(run: Run, few_shot: FewShot | None) -> float | None:
    """Returns the accuracy that was measured as asked for; None if it was not."""
    try:
        found = json.loads((run.folder / FEW_SHOT).read_text())
    except (OSError, ValueError):
        return None
    if few_shot is None:
        return None
    same = found["asked"] | {"shots": 0} == dataclasses.asdict(few_shot) | {"shots": 0}
    rows = found["rows"] if same else []
    return next((row["accuracy"] for row in rows if row["shots"] == few_shot.shots), None)
