# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Runs that differ in their duration alone, and the training they have in common.

With a constant or rsqrt schedule the learning rate does not know how long a run will be until its
cool-down, so the shorter runs are what the longest one, the trunk, was on its way: each starts from
the trunk's whole state at the step where its own cool-down begins (its end, if it has none), which
the trunk keeps, and has, bit for bit, the parameters that it would have had from the first step.
Its record up to there is the trunk's, evaluations included.
"""

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Collection, Sequence

from etils import epath

from vit_jax import config as config_lib
from vit_jax.errors import UserError
from vit_jax.optim.schedules import UNENDING
from vit_jax.scaling.cost import Cost
from vit_jax.scaling.study import Point, Study
from vit_jax.studies import runs as runs_lib
from vit_jax.studies.runs import Run
from vit_jax.training import goodput, integrity
from vit_jax.training.workdir import CHECKPOINTS

BEGINNING = "beginning.json"  # in the folder of a branch: where it began

# What two runs may differ in and yet begin alike: how long they are, when they are evaluated and
# saved. The steps of the warm-up and of what is frozen at first are compared besides.
_MAY_DIFFER = ("train.duration", "schedule.cooldown", "evaluation.every", "checkpoint.every", "log")


@dataclasses.dataclass(frozen=True)
class Branch:
    """A point that goes on from a step of another one; `step` 0: from the beginning."""

    point: Point
    step: int = 0


@dataclasses.dataclass(frozen=True)
class Group:
    """Points that share their beginning: the trunk, first, and its branches. Often one alone.

    Attributes:
        trunk: the longest; its run keeps the states that the branches start from.
        branches: the others, the longest first.
        chosen: names of the points that are wanted; None: all.
    """

    trunk: Point
    branches: tuple[Branch, ...] = ()
    chosen: frozenset[str] | None = None

    @property
    def members(self) -> tuple[Branch, ...]:
        """Those to train, in this order; branches cannot do without their trunk."""
        every = (Branch(self.trunk), *self.branches)
        if self.chosen is None:
            return every
        wanted = [branch for branch in every if branch.point.run.name in self.chosen]
        need_trunk = any(branch.step for branch in wanted)
        return tuple(b for b in every if b in wanted or (need_trunk and b.point is self.trunk))

    def only(self, names: Collection[str]) -> "Group":
        """Returns the group with only these points to train, and what they need."""
        return dataclasses.replace(self, chosen=frozenset(names))


def groups(study: Study, points: Sequence[Point], cost: Callable[[Point], Cost]) -> list[Group]:
    """Returns the points of a study in groups, in the order of the first of each.

    Raises:
        UserError: points that are to share their beginning do not begin alike.
    """
    if not study.share:
        return [Group(point) for point in points]
    alike: dict[tuple, list[Point]] = {}
    for point in points:
        rest = tuple(v for axis, v in point.run.labels.items() if axis != study.share)
        alike.setdefault(rest, []).append(point)
    return [_group(study, members, cost) for members in alike.values()]


def _group(study: Study, members: list[Point], cost: Callable[[Point], Cost]) -> Group:
    steps = {point.run.name: cost(point).steps for point in members}
    trunk, *others = sorted(members, key=lambda p: steps[p.run.name].total, reverse=True)
    last = steps[trunk.run.name].total - steps[trunk.run.name].cooldown
    branches = []
    for point in others:
        _check(study.share, trunk, point)
        for phase in ("warmup", "freeze"):
            ours, theirs = (getattr(steps[p.run.name], phase) for p in (point, trunk))
            if ours != theirs:
                field = "schedule.warmup" if phase == "warmup" else "optimiser.freeze_for"
                raise UserError(
                    f"share={study.share!r}: {field} is {theirs} steps of {trunk.run.name!r} and "
                    f"{ours} of {point.run.name!r}; write it in steps"
                )
        own = steps[point.run.name]
        branches.append(Branch(point, min(own.total - own.cooldown, last)))
    kept = tuple(f"{step} steps" for step in sorted({branch.step for branch in branches} - {0}))
    if not kept:
        return Group(trunk, tuple(branches))
    keep = f"--config.checkpoint.keep_at={kept!r}"
    run = dataclasses.replace(trunk.run, overrides=(*trunk.run.overrides, keep))
    return Group(dataclasses.replace(trunk, run=run), tuple(branches))


def _check(axis: str, trunk: Point, point: Point) -> None:
    """Raises UserError unless two runs differ in their duration alone, and begin alike."""
    config, other = trunk.run.config, point.run.config
    for field, ours, theirs in config_lib.diff(config, other):
        if not f"{field}.".startswith(tuple(f"{name}." for name in _MAY_DIFFER)):
            raise UserError(
                f"share={axis!r}: {trunk.run.name!r} has {field}={ours!r} and {point.run.name!r} "
                f"{theirs!r}; runs that share their beginning differ in train.duration alone"
            )
    if config.schedule.name not in UNENDING:
        raise UserError(
            f"share={axis!r}: the learning rate of schedule.name={config.schedule.name!r} depends "
            f"on the duration from the first step; write {' or '.join(UNENDING)}"
        )
    if config.checkpoint.keep_best:
        raise UserError(
            f"share={axis!r}: checkpoint.keep_best={config.checkpoint.keep_best} may choose a step "
            "that is another run's; write 0"
        )


def begin(branch: Branch, trunk: Run) -> str:
    """Puts the trunk's state into the folder of a branch that has no state yet.

    Returns:
        Why the branch cannot start yet, or "". Where the trunk has ended without such a state (it
        diverged, or ran before the branch was thought of), the branch begins at the first step.
    """
    run, step = branch.point.run, branch.step
    target = run.folder / CHECKPOINTS
    if not step or any(target.glob("[0-9]*")):
        return ""
    kept = trunk.folder / CHECKPOINTS / f"{step:08d}"
    if not integrity.is_sealed(epath.Path(kept)):
        ended = runs_lib.inspect(trunk).state in runs_lib.ENDED
        return "" if ended else f"waits for step {step} of {trunk.name}"
    lines = [line for line in runs_lib.lines(trunk.folder) if line["step"] <= step]
    lines = [line for line in lines if line["split"] != "test"]
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    beginning = {"run": trunk.folder.name, "step": step, "seconds": _seconds(lines)}
    (run.folder / BEGINNING).write_text(json.dumps(beginning) + "\n")
    partial = run.folder / f"{CHECKPOINTS}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(kept, partial / kept.name, copy_function=_link_or_copy)
    target.mkdir(exist_ok=True)
    (partial / kept.name).rename(target / kept.name)
    partial.rmdir()
    return ""


def _link_or_copy(source: str, target: str) -> None:
    """A file of a checkpoint is never written to again, so two names for it will do."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _seconds(lines: Sequence[dict]) -> float:
    """Returns the wall time of a run up to the last of its lines."""
    names = [name for name in goodput.FIELDS if name.endswith("_seconds")]
    timed = [line for line in lines if names[0] in line]
    return sum(timed[-1][name] for name in names) if timed else 0.0


@dataclasses.dataclass(frozen=True)
class Beginning:
    """What a branch took over: steps, and the seconds that the trunk had spent on them."""

    step: int = 0
    seconds: float = 0.0


def beginning(folder: pathlib.Path) -> Beginning:
    """Returns what the run in a folder took over; nothing if it began with the first step."""
    try:
        found = json.loads((folder / BEGINNING).read_text())
    except (OSError, ValueError):
        return Beginning()
    return Beginning(found["step"], found["seconds"])
