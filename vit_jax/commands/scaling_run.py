# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax scaling run`."""

import argparse
import collections
import os
import pathlib
import re
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vit_jax import exits, paths
from vit_jax.commands.tables import table
from vit_jax.errors import UserError

if TYPE_CHECKING:
    from vit_jax.scaling.execution import Plan
    from vit_jax.scaling.sharing import Group

DESCRIPTION = """Train the points of a study, one after the other, and gather them in one table
(table.csv and table.parquet in DIR). --config.SECTION.FIELD=VALUE changes every run. The same
command again repeats nothing and goes on where it stopped; several at once share the runs between
them. Points that differ in duration alone share their training where the study says so."""
EXAMPLE = """
vit-jax scaling run configs/scaling/digits.py --workdir=workdirs/scaling --dry-run
vit-jax scaling run configs/scaling/digits.py --workdir=workdirs/scaling --only width=32
bash launch/slurm.sbatch --array=0-15 -- vit-jax scaling run STUDY --workdir=DIR
"""
OVERRIDES = ("--config.",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("study", metavar="FILE[:ARGS]", help="the study, like configs/scaling/*.py")
    parser.add_argument(
        "--workdir", required=True, metavar="DIR", help="where the table and a folder a run go"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="AXIS=LABEL",
        help="these points alone; several of one axis are alternatives",
    )
    parser.add_argument(
        "--array",
        default="",
        metavar="INDEX/COUNT",
        help="this task's share of them alone; in a SLURM array: as the array has it",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--dry-run", action="store_true", help="print the points and what they take, and stop"
    )
    what.add_argument(
        "--list", action="store_true", help="print a command for each job of its own, and stop"
    )


def run(args: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Trains what has not ended; the table is rewritten after every run."""
    import jax

    jax.config.update("jax_platforms", "cpu")  # the runs, processes of their own, need the others

    from vit_jax.scaling import execution, study

    found = study.load(args.study)
    plan = execution.Plan(found, pathlib.Path(args.workdir), overrides)
    chosen = {p.run.name for p in study.select(plan.points, found.axes, args.only)}
    groups = [group.only(chosen) for group in plan.groups]
    groups = [group for group in groups if group.members]
    if args.list:
        print("\n".join(_jobs(args, overrides, len(groups))))
        return exits.DONE
    if task := _task(args.array):
        groups = execution.share_out(groups, *task)
    if args.dry_run:
        print(_describe(plan, groups))
        return exits.DONE
    paths.make_folder(args.workdir, "--workdir")
    return _train(plan, groups)


def _train(plan: "Plan", groups: "Sequence[Group]") -> int:
    from vit_jax.scaling import execution
    from vit_jax.studies import runs

    states = {}
    try:
        for outcome in execution.run(plan, groups, _say):
            states[outcome.run.name] = outcome.state
    except runs.StoppedError as stop:
        print(f"vit-jax: {stop}", file=sys.stderr)
        return exits.PREEMPTED
    flops, seconds = plan.spent()
    counts = collections.Counter(states.values())
    _say(", ".join(f"{count} {state}" for state, count in counts.items()))
    _say(f"spent on finished runs, shared steps once: {flops:.4g} FLOPs, {seconds:,.0f} s")
    _say(", ".join(str(path) for path in plan.tables))
    well = counts.keys() <= set(runs.ENDED) and not plan.lacks_few_shot(states)
    return exits.DONE if well else exits.FAILED


def _task(array: str) -> tuple[int, int] | None:
    """Returns (index, count) of this task; None if it is to train all.

    Raises:
        UserError: the text is no such pair, or the array does not begin at 0 without gaps.
    """
    if not array and "SLURM_ARRAY_TASK_ID" in os.environ:
        index, count = (os.environ[f"SLURM_ARRAY_TASK_{name}"] for name in ("ID", "COUNT"))
        if int(os.environ.get("SLURM_ARRAY_TASK_MAX", int(count) - 1)) != int(count) - 1:
            raise UserError(f"the SLURM array has gaps; submit it with --array=0-{int(count) - 1}")
        array = f"{index}/{count}"
    if not array:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", array)
    if not match:
        raise UserError(f"--array={array}: write INDEX/COUNT, like 0/8")
    return int(match[1]), int(match[2])


def _jobs(args: argparse.Namespace, overrides: Sequence[str], count: int) -> list[str]:
    """Returns a command for every group of points: what shares its beginning stays together."""
    words = ["vit-jax", "scaling", "run", args.study, f"--workdir={args.workdir}"]
    words += [f"--only={text}" for text in args.only] + list(overrides)
    return [shlex.join([*words, f"--array={index}/{count}"]) for index in range(count)]


def _describe(plan: "Plan", groups: "Sequence[Group]") -> str:
    """Returns the points, what each takes from its first step, and the sum."""
    from vit_jax.studies import runs

    rows: list[dict[str, Any]] = []
    for group in groups:
        for branch in group.members:
            cost = plan.cost(branch.point)
            rows.append(
                {
                    "point": branch.point.run.name,
                    "state": runs.inspect(branch.point.run).state,
                    "parameters": f"{cost.parameters:,}",
                    "forward GFLOPs": f"{cost.forward_flops / 1e9:.4g}",
                    "examples": f"{cost.examples:,}",
                    "steps": f"{cost.steps.total:,}",
                    "shared": f"{branch.step:,}",
                    "FLOPs": f"{cost.flops(cost.steps.total):.3e}",
                }
            )
    total, spent = plan.flops(groups)
    lines = [table(rows), f"{len(rows)} points, {total:.4g} FLOPs (3 x forward x images seen)"]
    if spent != total:
        lines.append(f"{spent:.4g} FLOPs to spend, as shared steps are trained once")
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, flush=True)
