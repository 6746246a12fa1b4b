# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax vtab`."""

import argparse
import pathlib
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from vit_jax import exits
from vit_jax.errors import UserError

T = TypeVar("T", int, float)

DESCRIPTION = """Measure how a model transfers, by VTAB-1k: 19 tasks of 1000 examples each.
For each task, settings are trained on 800 examples and compared on 200; the best is trained on all
1000 and tested once. Tasks whose data set is not prepared are named, with the command that does it.
The same command again repeats nothing and goes on where it stopped; --config.SECTION.FIELD=VALUE
changes every run."""
EXAMPLE = """
  vit-jax vtab --list
  vit-jax vtab --checkpoint=workdirs/s16 --workdir=workdirs/vtab --tasks=natural,eurosat
  vit-jax vtab --checkpoint=workdirs/s16 --workdir=workdirs/vtab \\
    --learning-rates=0.01 --steps=2500"""
OVERRIDES = ("--config.",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add = parser.add_argument
    add("--list", action="store_true", help="say which tasks are prepared, and how to prepare them")
    add("--checkpoint", metavar="DIR|SOURCE", help="a run, or weights (with --model)")
    add("--workdir", metavar="DIR", help="where the table and the runs go")
    add("--data-dir", default="", metavar="DIR", help="where TFDS keeps its data")
    add("--tasks", default="", metavar="TASK,...", help="names, patterns or groups; default: all")
    add("--model", default="", metavar="NAME", help="the model that SOURCE has the weights of")
    add("--image-size", type=int, default=0, metavar="PIXELS", help="default: the model's")
    add("--learning-rates", default="0.01,0.1", metavar="LR,...", help="default: 0.01,0.1")
    add("--steps", default="2500,10000", metavar="N,...", help="default: 2500,10000")


def run(args: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Runs the tasks that are prepared; the table is rewritten after each."""
    if not args.list and not (args.checkpoint and args.workdir):
        raise UserError("vtab needs --checkpoint and --workdir, or --list")
    rates = _numbers("--learning-rates", args.learning_rates, float)
    steps = _numbers("--steps", args.steps, int)
    if args.image_size < 0:
        raise UserError(f"--image-size={args.image_size} must be at least 1")

    from vit_jax.studies import runs, vtab

    tasks = vtab.select(args.tasks)
    lacking = {task: how for task in tasks if (how := vtab.missing(task, args.data_dir))}
    if args.list:
        print("\n".join(_status(task, lacking.get(task, "")) for task in tasks))
        return 0
    ready = [task for task in tasks if task not in lacking]
    if not ready:
        raise UserError("none of the tasks is prepared; vit-jax vtab --list says how to")
    for task, how in lacking.items():
        print(f"vit-jax: left out {_status(task, how)}", file=sys.stderr)

    start = vtab.start_from(args.checkpoint, args.model, args.image_size)
    folder = pathlib.Path(args.workdir)
    plan = vtab.Plan(folder, start, args.data_dir, rates, steps, tuple(overrides))
    vtab.check(plan, ready)
    command = shlex.join(["vit-jax", *sys.argv[1:]])
    results: list[vtab.Result] = []
    try:
        for result in vtab.run(plan, ready, _say):
            results.append(result)
            paths = vtab.write(results, folder, command)
    except runs.StoppedError as stop:
        print(f"vit-jax: {stop}", file=sys.stderr)
        return exits.PREEMPTED
    print(f"\n{vtab.text(results)}\n{', '.join(map(str, paths))}")
    return 0 if all(result.test is not None for result in results) else exits.FAILED


def _numbers(option: str, text: str, kind: Callable[[str], T]) -> tuple[T, ...]:
    """Returns the positive numbers between commas."""
    try:
        numbers = tuple(kind(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) <= 0 or len(set(numbers)) < len(numbers):
        raise UserError(f"{option}={text!r}: write different numbers above 0, like 1,2")
    return numbers


def _status(task: str, how: str) -> str:
    return f"{task}: not prepared: {how}" if how else f"{task}: prepared"


def _say(text: str) -> None:
    print(text, flush=True)
