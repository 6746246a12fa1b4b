# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax evaluate`."""

import argparse
import json
from collections.abc import Sequence

from vit_jax.commands.arguments import add_checkpoint
from vit_jax.commands.tables import table

DESCRIPTION = "Measure a trained model on a part of its data."
EXAMPLE = "vit-jax evaluate --workdir=workdirs/digits --split=validation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_checkpoint(parser)
    parser.add_argument(
        "--split", default="test", choices=("train", "validation", "test"), help="default: test"
    )
    parser.add_argument("--source", help="other data than the run's: folder:PATH or tfds:NAME")
    parser.add_argument("--data-dir", metavar="DIR", help="where prepared data sets lie")
    parser.add_argument("--batch-size", type=int, metavar="N", help="images a step, all devices")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, _: Sequence[str]) -> None:
    """Evaluates a checkpoint on a split."""
    from vit_jax.evaluation import classification
    from vit_jax.parallel import distributed

    process = distributed.initialise()
    result = classification.evaluate_checkpoint(
        args.checkpoint,
        split=args.split,
        source=args.source,
        data_dir=args.data_dir,
        batch_size=args.batch_size,
    )
    if process.index == 0:
        print(json.dumps(result, indent=2) if args.json else table([result], ".4f"))
