# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Writes the tables and figures of docs/cifar10_study.md from the study's table beside it.

Command: python docs/make_cifar10_study.py [TABLE]   (of a finished study, replaces the one beside)
"""

import contextlib
import io
import os
import pathlib
import shlex
import sys

import pages
from tabulate import tabulate

from vit_jax import cli
from vit_jax.errors import UserError
from vit_jax.scaling import analysis, points, table

PAGE = "cifar10_study.md"
TABLE = "docs/cifar10_study.csv"
NOTE = """# configs/scaling/cifar10.py
# The table of the study as `vit-jax scaling run` gathered it; what it says: docs/cifar10_study.md.
# Two CPU cores, two runs at a time; seconds are wall time, of runs that were interrupted or shared
# their core with other programs too.
"""
# A place of the page, and the command whose output it shows.
COMMANDS = {
    "bias": "scaling multiplier {table} --of family=ResNet --over family=ViT",
    "hybrid": "scaling multiplier {table} --of family=hybrid --over family=ViT",
    "augmentation": "scaling multiplier {table} --of augmentation=on --over augmentation=off",
}
FIGURES = (
    "scaling plot {table} --figure=data --panels=augmentation --to=docs/cifar10_study_data.png",
    "scaling plot {table} --figure=heat_map --panels=family --to=docs/cifar10_study_map.png",
)


def main() -> None:
    """Runs the page's commands, and puts what they print into it."""
    given = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    os.chdir(pathlib.Path(__file__).parents[1])
    if given:
        pathlib.Path(TABLE).write_text(NOTE + given.read_text(encoding="utf-8"), encoding="utf-8")
    found = table.read(TABLE)
    pages.put(PAGE, "accuracy", accuracy(found))
    pages.put(PAGE, "laws", laws(found))
    for name, command in COMMANDS.items():
        pages.put(PAGE, name, shown(command.format(table=TABLE)))
    for command in FIGURES:
        shown(command.format(table=TABLE))


def accuracy(found: table.Table) -> str:
    """Returns the mean over seeds, and their distance from it, in per cent; a row a family."""
    gathered = points.gather(found, "accuracy")
    columns = (gathered.table.column(name) for name in ("augmentation", "family", "data"))
    places = zip(*columns, strict=True)
    cells = {}
    for place, seeds in zip(places, gathered.values["accuracy"], strict=True):
        mean, half = 100 * seeds.mean(), 50 * (seeds.max() - seeds.min())
        cells[place] = f"{mean:.1f} ± {half:.1f}" if len(seeds) > 1 else f"{mean:.1f}"
    data = found.distinct("data")
    rows = [
        [label, family, *(cells.get((label, family, size), "-") for size in data)]
        for label in found.distinct("augmentation")
        for family in found.distinct("family")
    ]
    heads = ["augmentation", "family", *data]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True)


def laws(found: table.Table) -> str:
    """Returns the power laws of error over training pictures; a row a family."""
    question = analysis.Question("power", compute="examples")
    labels, rows = found.distinct("augmentation"), []
    for family in found.distinct("family"):
        rows.append([family])
        for label in labels:
            try:
                fit = analysis.ask(found.where(family=family, augmentation=label), question).fit
            except UserError:
                rows[-1] += ["not determined", "-"]
                continue
            low, high = fit.intervals["b"]
            exponent = f"{fit.parameters['b']:.3f} ({low:.3f} to {high:.3f})"
            rows[-1] += [exponent, f"{100 * fit.spread:.1f} %"]
    heads = ["family"]
    heads += [f"{what}, {label}" for label in labels for what in ("exponent", "spread")]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True)


def shown(command: str) -> str:
    """Runs a command of vit-jax; returns it and what it prints, as a page shows them."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        cli.main(shlex.split(command))
    lines = [f"$ vit-jax {command}", *printed.getvalue().rstrip().splitlines()]
    return "\n".join(f"    {line}".rstrip() for line in lines)


if __name__ == "__main__":
    main()
