# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax scaling`: what its three parts are; each is a module of its own."""

import argparse
import importlib

from vit_jax.commands.arguments import add_command

DESCRIPTION = """Scaling studies: train a grid of model, data, duration and family into one table,
fit laws to the table, draw it as the papers do."""
EXAMPLE = """
vit-jax scaling run configs/scaling/digits.py --workdir=workdirs/scaling
vit-jax scaling run --help
"""

# Name -> what it does; each is a module `scaling_NAME`, made like a command.
PARTS = {
    "run": "Train the points of a study and gather their table; again: what is missing.",
    "fit": "Fit a law to a table, with intervals, and try it on the largest points.",
    "multiplier": "Say how many times the data or the compute a condition is worth.",
    "plot": "Draw the papers' figures from a table: data, compute, heat map, shape.",
}


def add_arguments(parser: argparse.ArgumentParser) -> list[str]:
    """Adds the parts, each with its own arguments; returns their options."""
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    options = []
    for name, summary in PARTS.items():
        module = importlib.import_module(f"vit_jax.commands.scaling_{name}")
        options += add_command(parts, name, module, summary)
    return options
