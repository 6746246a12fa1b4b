# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Arguments that several commands share."""

import argparse


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Adds --workdir and --checkpoint, one of which is needed: `args.checkpoint`."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--workdir", dest="checkpoint", metavar="DIR", help="a run: its best step or newest"
    )
    where.add_argument("--checkpoint", metavar="DIR", help="a run, or one step of it")
