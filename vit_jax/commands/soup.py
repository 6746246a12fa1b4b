# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax soup`."""

import argparse
import json
from collections.abc import Sequence

from vit_jax.commands.tables import table
from vit_jax.errors import UserError

DESCRIPTION = "Average the parameters of runs that were fine-tuned from the same ones (2203.05482)."
EXAMPLE = """
vit-jax soup workdirs/a workdirs/b workdirs/c --to=workdirs/soup
vit-jax soup workdirs/a workdirs/b workdirs/c --to=workdirs/soup --greedy
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="workdirs, or steps of them")
    parser.add_argument("--to", required=True, metavar="DIR", help="where the soup goes; new")
    parser.add_argument(
        "--greedy",
        action="store_true",
        help="add runs from the best down, and keep those that do not lower the accuracy on the "
        "validation part",
    )
    parser.add_argument("--data-dir", default="", metavar="DIR", help="where prepared data lie")
    parser.add_argument(
        "--batch-size", type=int, default=0, metavar="N", help="images a step, all devices"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, _: Sequence[str]) -> None:
    """Averages runs and says which are in the soup."""
    from vit_jax.evaluation import soup
    from vit_jax.evaluation.classification import Question

    if not args.greedy and (args.data_dir or args.batch_size):
        raise UserError("--data-dir and --batch-size are for --greedy: nothing else reads data")
    question = Question(split="validation", data_dir=args.data_dir, batch_size=args.batch_size)
    rows = soup.make(args.runs, args.to, tasting=args.greedy, question=question)
    print(json.dumps(rows, indent=2) if args.json else table(rows, ".4f"))
    if not args.json:
        print(f"measure it: vit-jax evaluate --checkpoint={args.to}")
