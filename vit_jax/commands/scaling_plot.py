# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax scaling plot`."""

import argparse
from collections.abc import Sequence

from vit_jax.commands.scaling_fit import add_table

DESCRIPTION = """Draw the papers' figures from the table of a study, or from published numbers.
data: accuracy over the size of the training set. compute: error over FLOPs, with the frontier and a
law. heat_map: data against augmentation. shape: error over a parameter of the model's shape. Rows
that differ in their seed alone are one point with an interval."""
EXAMPLE = """
vit-jax scaling plot workdirs/study --figure=data --to=data.png --published=vit_data
vit-jax scaling plot workdirs/study --figure=compute --law=saturating --to=compute.svg
vit-jax scaling plot workdirs/study --figure=heat_map --y=augmentation --panels=family --to=map.png
vit-jax scaling plot workdirs/study --figure=shape --x=depth --by=size --to=shape.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add = parser.add_argument
    add_table(parser)
    add("--figure", required=True, metavar="KIND", help="data, compute, heat_map or shape")
    add("--to", required=True, metavar="FILE", help="where it goes: a .png or .svg")
    add("--value", default="", metavar="COLUMN", help="accuracy, error, loss, few_shot, ...")
    add("--x", default="", metavar="COLUMN", help="the horizontal axis")
    add("--y", default="", metavar="COLUMN", help="the rows of a heat map")
    add("--by", default="", metavar="COLUMN", help="what the colours tell apart")
    add("--panels", default="", metavar="COLUMN", help="a panel for each of its values")
    add("--law", default="", metavar="NAME", help="a law through the frontier, with its band")
    add(
        "--published",
        action="append",
        default=[],
        metavar="NAME",
        help="draw published numbers beside it, open markers; may be given several times",
    )


def run(args: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Draws and writes the figure."""
    import pathlib

    from vit_jax import paths, pictures
    from vit_jax.errors import UserError
    from vit_jax.scaling import figures, points, published

    path = pathlib.Path(args.to)
    if path.suffix.lower() not in (".png", ".svg"):
        raise UserError(f"--to={args.to}: a figure is a .png or a .svg")
    table = points.choose(published.find(args.table), args.where)
    others = tuple(published.read(name.removeprefix(published.PREFIX)) for name in args.published)
    options = figures.Options(args.value, args.x, args.y, args.by, args.panels, args.law, others)
    with pictures.style():
        figure = figures.draw(args.figure, table, options)
        paths.make_folder(path.parent, "--to")
        pictures.save(figure, path)
    print(path)
    return 0
