# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax scaling multiplier`."""

import argparse
from collections.abc import Sequence

from vit_jax.commands.scaling_fit import add_table

DESCRIPTION = """Say what a condition is worth: how many times the data, or the compute, another one
needs for the same accuracy. Between measured points the accuracy is taken as linear in the
logarithm of the amount."""
EXAMPLE = """
vit-jax scaling multiplier workdirs/study --of augmentation=on --over augmentation=off
vit-jax scaling multiplier workdirs/study --of family=ResNet --over family=ViT \
  --where augmentation=off
vit-jax scaling multiplier published:scaling_vit --of model=ViT-L/16 --over model=ViT-B/16 \
  --value=few_shot --amount=flops
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add = parser.add_argument
    add_table(parser)
    add("--of", required=True, metavar="COLUMN=VALUE", help="the condition whose worth is asked")
    add("--over", required=True, metavar="COLUMN=VALUE", help="what it is compared with")
    add("--value", default="accuracy", metavar="COLUMN", help="what both should reach")
    add(
        "--amount",
        default="examples",
        metavar="COLUMN",
        help="what the worth is counted in: examples, images_seen, flops, ...",
    )
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Prints a factor for each point."""
    import json

    from vit_jax.scaling import multiplier, points, published

    table = points.choose(published.find(args.table), args.where)
    question = multiplier.Question(args.of, args.over, args.value, args.amount)
    found = multiplier.ask(table, question)
    if args.json:
        print(json.dumps(multiplier.record(question, found), indent=2))
    else:
        print(multiplier.text(question, found))
    return 0
