# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax scaling fit`."""

import argparse
import json
from collections.abc import Sequence

DESCRIPTION = """Fit a scaling law to the table of a study, or to numbers that a paper published.
Prints every parameter with a 95 % interval, how well the largest points are predicted from the
others, and how compute is spent best; or says why the points do not determine the law. Rows that
differ in their seed alone are averaged: one point a condition."""
EXAMPLE = """
  vit-jax scaling fit workdirs/study --law=saturating --frontier --hold-out=3
  vit-jax scaling fit workdirs/study --law=parametric --value=loss --where family=ViT --to=fits
  vit-jax scaling fit published:scaling_vit --law=saturating --value=few_shot_error --frontier"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add = parser.add_argument
    add_table(parser)
    add(
        "--law",
        required=True,
        metavar="NAME",
        help="power: a C^-b; power_floor: a C^-b + c; saturating: a (C + d)^-b + c; "
        "parametric: E + A / N^alpha + B / D^beta",
    )
    add("--value", default="error", metavar="COLUMN", help="error, loss, few_shot_error, ...")
    add("--compute", default="flops", metavar="COLUMN", help="C of the law: flops, seconds, ...")
    add(
        "--examples",
        default="images_seen",
        metavar="COLUMN",
        help="D of the parametric law: images_seen, or examples where data repeat",
    )
    add("--frontier", action="store_true", help="fit only the points that no cheaper one beats")
    add(
        "--hold-out",
        type=float,
        default=0.0,
        metavar="N",
        help="predict the N largest points from the others; below 1 a share of them",
    )
    add("--by", default="", metavar="COLUMN", help="a fit for each of its values")
    add("--json", action="store_true", help="print JSON")
    add("--to", metavar="DIR", help="also write fit.json and fit.txt there")


def add_table(parser: argparse.ArgumentParser) -> None:
    """Adds TABLE and --where."""
    parser.add_argument(
        "table",
        metavar="TABLE",
        help="folder of a study, its .csv or .parquet, or published:NAME",
    )
    parser.add_argument(
        "--where",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN=VALUE",
        help="only these rows: family=ViT,Mixer examples>=1e6 model!=ViT-S/32",
    )


def run(args: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Fits each group; where there are several, one that is refused does not stop the others."""
    import numpy as np

    from vit_jax import paths
    from vit_jax.errors import UserError
    from vit_jax.scaling import analysis, points, published, report

    table = points.choose(published.find(args.table), args.where)
    question = analysis.Question(
        args.law, args.value, args.compute, args.examples, args.hold_out, args.frontier
    )
    groups = {"": table}
    if args.by:
        labels = points.texts(table, args.by)
        groups = {
            f"{args.by} {label}": table.take(np.array(labels) == label)
            for label in dict.fromkeys(labels)
        }
    answers: dict[str, analysis.Answer | UserError] = {}
    for name, rows in groups.items():
        try:
            answers[name] = analysis.ask(rows, question)
        except UserError as error:
            answers[name] = error
    refused = [answer for answer in answers.values() if isinstance(answer, UserError)]
    if len(refused) == len(answers):
        raise refused[0]
    found, written = json.dumps(report.record(answers), indent=2), report.text(answers)
    if args.to:
        folder = paths.make_folder(args.to, "--to")
        (folder / "fit.json").write_text(found + "\n", encoding="utf-8")
        (folder / "fit.txt").write_text(written + "\n", encoding="utf-8")
    print(found if args.json else written)
    return 0
