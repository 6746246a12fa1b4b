# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax evaluate`."""

import argparse
import json
from collections.abc import Sequence

from vit_jax.commands.tables import table

DESCRIPTION = "Measure a trained model, or the average of several, on a part of its data."
EXAMPLE = """
vit-jax evaluate --workdir=workdirs/digits --split=validation
vit-jax evaluate --workdir=workdirs/digits --suite=accuracy,few_shot,knn,linear_probe
vit-jax evaluate --checkpoint=workdirs/a --checkpoint=workdirs/b --weights=validation
vit-jax evaluate --workdir=vit --source=folder:imagenet-a --split=train+validation+test --labels=imagenet_a
"""  # noqa: E501


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    where = parser.add_mutually_exclusive_group(required=True)
    for option, meaning in (
        ("--workdir", "a run: its newest step"),
        ("--checkpoint", "a run, or one step of it"),
    ):
        where.add_argument(
            option,
            dest="checkpoints",
            action="append",
            metavar="DIR",
            help=f"{meaning}; given several times, an ensemble",
        )
    parser.add_argument(
        "--suite",
        default="accuracy",
        metavar="NAME,...",
        help="accuracy (the default), few_shot, knn, linear_probe",
    )
    parser.add_argument(
        "--split",
        default="test",
        metavar="PART",
        help="train, validation or test as the run has them, or an expression of the source such "
        "as train+test; default: test",
    )
    parser.add_argument(
        "--train-split",
        default="",
        metavar="PART",
        help="what few_shot, knn and linear_probe learn from; default: train",
    )
    parser.add_argument("--source", default="", help="other data: folder:PATH or tfds:NAME")
    parser.add_argument("--data-dir", default="", metavar="DIR", help="where prepared data lie")
    parser.add_argument(
        "--labels",
        default="",
        metavar="NAME",
        help="what labels mean: imagenet, imagenet_v2, imagenet_sketch, imagenet_a, imagenet_r or "
        "imagenet_real:FILE; default: classes are matched by their names",
    )
    parser.add_argument(
        "--views",
        default="",
        metavar="NAME,...",
        help="flip, five_crops: average over these views of each image",
    )
    parser.add_argument(
        "--weights",
        default="uniform",
        metavar="HOW",
        help="of an ensemble: uniform (the default) or validation, by accuracy there",
    )
    parser.add_argument(
        "--batch-size", type=int, default=0, metavar="N", help="images a step, all devices"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, _: Sequence[str]) -> None:
    """Evaluates checkpoints on a split."""
    from vit_jax.evaluation import suite, views
    from vit_jax.evaluation.classification import Question
    from vit_jax.parallel import distributed, peers

    process = distributed.initialise()
    chosen = suite.parse(args.suite)
    question = Question(
        split=args.split,
        source=args.source,
        data_dir=args.data_dir,
        batch_size=args.batch_size,
        labels=args.labels,
        views=views.parse(args.views),
    )
    with peers.Together():
        result = suite.evaluate(args.checkpoints, question, chosen, args.weights, args.train_split)
    if process.index == 0:
        print(json.dumps(result, indent=2) if args.json else _table(result, chosen))


def _table(result: dict, chosen: Sequence[str]) -> str:
    from vit_jax.evaluation import suite

    rows = [result] if tuple(chosen) == ("accuracy",) else suite.rows(result)
    return table([{key: _cell(value) for key, value in row.items()} for row in rows], ".4f")


def _cell(value):
    return "/".join(f"{weight:.3f}" for weight in value) if isinstance(value, list) else value
