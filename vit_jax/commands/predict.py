# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax predict`."""

import argparse
import json
import sys
from collections.abc import Sequence

from vit_jax.commands.arguments import add_checkpoint
from vit_jax.commands.tables import table
from vit_jax.errors import UserError

DESCRIPTION = "Name what is on images."
EXAMPLE = "vit-jax predict --checkpoint=workdirs/digits --top=3 one.png two.jpg"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_checkpoint(parser)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="classes shown (default 5)")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="default 32")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, _: Sequence[str]) -> int:
    """Predicts the classes of image files; 1 if one of them could not be read."""
    from vit_jax.evaluation.prediction import Predictor, predict_files

    if args.top < 1 or args.batch_size < 1:
        raise UserError("--top and --batch-size must be at least 1")
    predictor = Predictor(args.checkpoint, batch_size=args.batch_size)
    predictions, failures = predict_files(predictor, args.images, top=args.top)
    rows = [
        {"image": p["image"], "class": c["name"], "probability": f"{c['probability']:.2%}"}
        for p in predictions
        for c in p["classes"]
    ]
    print(json.dumps(predictions, indent=2) if args.json else table(rows))
    for path, reason in failures:
        print(f"vit-jax: skipped {path}: {reason}", file=sys.stderr)
    return 1 if failures else 0
