# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax sweep`."""

import argparse
import pathlib
import shlex
import sys
from collections.abc import Sequence

from vit_jax import exits
from vit_jax.commands.tables import table

DESCRIPTION = """Train a grid of settings, one run after the other, and compare them in one table.
--sweep.SECTION.FIELD=VALUE,VALUE,... spans the grid, as often as you like; runs that differ in
--sweep.seed alone are one setting with a mean and a spread. --config.SECTION.FIELD=VALUE changes
every run. Settings are compared on the validation split. Runs are processes of their own: one that
fails ends no other. The same command again repeats nothing and goes on where it stopped; started
on several GPUs at once (CUDA_VISIBLE_DEVICES=0 ..., =1 ...) it shares the runs between them."""
EXAMPLE = """
  vit-jax sweep --config=configs/digits.py:split=choose --workdir=workdirs/sweep \\
    --config.train.duration='20 epochs' --sweep.optimiser.learning_rate=0.001,0.003 --sweep.seed=0,1
  vit-jax sweep --config=configs/digits.py:split=choose --workdir=workdirs/sweep \\
    --sweep.model.overrides.depth=2,4,6 --dry-run"""
OVERRIDES = ("--config.", "--sweep.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("--config", required=True, metavar="FILE[:ARGS]", help="the recipe")
    parser.add_argument(
        "--workdir", required=True, metavar="DIR", help="where the table and a folder a run go"
    )
    parser.add_argument("--dry-run", action="store_true", help="list the runs and stop")


def run(args: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Trains what has not ended; the table is rewritten after every run."""
    from vit_jax.studies import sweep

    folder = pathlib.Path(args.workdir)
    axes, fixed = sweep.parse_axes(overrides)
    runs = sweep.grid(args.config, folder, axes, fixed)

    from vit_jax.studies import runs as runs_lib

    if args.dry_run:
        states = [runs_lib.inspect(run).state for run in runs]
        print(table([{"run": r.name, "state": s} for r, s in zip(runs, states, strict=True)]))
        return 0
    from vit_jax.studies import sweep_report

    command = shlex.join(["vit-jax", *sys.argv[1:]])
    outcomes = [runs_lib.inspect(run) for run in runs]
    try:
        for index, outcome in enumerate(runs_lib.run_all(runs, _say)):
            outcomes[index] = outcome
            paths = sweep_report.write(sweep.collect(outcomes), folder, command)
    except runs_lib.StoppedError as stop:
        print(f"vit-jax: {stop}", file=sys.stderr)
        return exits.PREEMPTED
    found = sweep.collect([runs_lib.inspect(run) for run in runs])
    paths = sweep_report.write(found, folder, command)
    print(f"\n{sweep_report.text(found)}\n{', '.join(map(str, paths))}")
    return sweep_report.status(found)


def _say(text: str) -> None:
    print(text, flush=True)
