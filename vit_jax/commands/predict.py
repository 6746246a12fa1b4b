# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax predict`."""

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence

from vit_jax.commands.arguments import add_checkpoint
from vit_jax.commands.tables import table
from vit_jax.errors import UserError

TOP = 5
SHOWN_FAILURES = 20  # of a table on disk, which names all of them

DESCRIPTION = """Name what is on images: files, folders with all below them, patterns.
With --to the answers become a table on disk; the same command goes on where one was killed."""
EXAMPLE = """
  vit-jax predict --checkpoint=workdirs/digits --top=3 one.png two.jpg
  vit-jax predict --checkpoint=workdirs/digits photos/ --to=photos.csv
  vit-jax predict --checkpoint=workdirs/digits 'photos/**/*.jpg' --to=photos.npz --features"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add_checkpoint(parser)
    add = parser.add_argument
    add("images", nargs="+", metavar="IMAGE", help="image files, folders or quoted patterns")
    add("--top", metavar="K", help="classes of each image, or all; default 5, in .npz all")
    add("--batch-size", type=int, default=32, metavar="N", help="default 32")
    add("--json", action="store_true", help="print JSON")
    add("--to", metavar="FILE", help="write a .csv, .jsonl, .npz or .parquet file")
    add(
        "--features",
        action="store_true",
        help="also write what the head reads; .npz and .parquet",
    )


def run(args: argparse.Namespace, _: Sequence[str]) -> int:
    """Predicts the classes of image files; 1 if one of them could not be read."""
    top = _top(args.top, TOP if pathlib.Path(args.to or "").suffix != ".npz" else 0)
    if args.batch_size < 1:
        raise UserError(f"--batch-size={args.batch_size} must be at least 1")
    if args.features and not args.to:
        raise UserError("--features needs --to=FILE.npz or --to=FILE.parquet")
    if args.json and args.to:
        raise UserError("--json is for the terminal: leave it out, or write --to=FILE.jsonl")
    from vit_jax.evaluation.prediction_files import find_images

    paths, left_out = find_images(args.images)
    if left_out:
        kinds = ", ".join(f"{count} {ending}" for ending, count in sorted(left_out.items()))
        print(f"vit-jax: left out files that are no pictures by name: {kinds}", file=sys.stderr)
    return _to_file(args, paths, top) if args.to else _to_terminal(args, paths, top)


def _top(text: str | None, default: int) -> int:
    """Returns how many classes are wanted, 0 for all."""
    if text is None:
        return default
    if text == "all":
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--top={text} must be a number from 1 on, or all")
    return int(text)


def _to_terminal(args: argparse.Namespace, paths: Sequence[str], top: int) -> int:
    from vit_jax.evaluation.prediction import Predictor, predict_files

    predictor = Predictor(args.checkpoint, batch_size=args.batch_size)
    count = top or len(predictor.class_names)
    predictions, failures = predict_files(predictor, paths, top=count)
    rows = [
        {"image": p["image"], "class": c["name"], "probability": f"{c['probability']:.2%}"}
        for p in predictions
        for c in p["classes"]
    ]
    print(json.dumps(predictions, indent=2) if args.json else table(rows))
    return _report(failures, len(failures))


def _to_file(args: argparse.Namespace, paths: Sequence[str], top: int) -> int:
    from tqdm import tqdm

    from vit_jax.evaluation.prediction import Predictor
    from vit_jax.evaluation.prediction_files import Table, predict_to_file

    wanted = Table(pathlib.Path(args.to), top, args.features)
    predictor = Predictor(args.checkpoint, args.batch_size, features=args.features)
    with tqdm(total=len(paths), unit="image", disable=None, file=sys.stderr) as bar:
        failures = predict_to_file(predictor, paths, wanted, bar.update)
    print(f"{args.to}: {len(paths)} images, {len(failures)} of them could not be read")
    return _report(failures, SHOWN_FAILURES)


def _report(failures: Sequence[tuple[str, str]], shown: int) -> int:
    for path, reason in failures[:shown]:
        print(f"vit-jax: skipped {path}: {reason}", file=sys.stderr)
    if len(failures) > shown:
        print(f"vit-jax: and {len(failures) - shown} more; see column error", file=sys.stderr)
    return 1 if failures else 0
