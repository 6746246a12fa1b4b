# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax prepare`."""

import argparse
import csv
import os
import pathlib
import sys
from collections.abc import Sequence

from vit_jax import exits
from vit_jax.errors import UserError
from vit_jax.registry import near_misses

DATA_SETS = ("imagenet1k", "imagenet21k")
SHOWN_PROBLEMS = 10

DESCRIPTION = """Turn the archives ImageNet is handed out in into shards that are read at random
(ArrayRecord, by TensorFlow Datasets), in parallel. Stopped, by whatever it may be, the same command
goes on, and comes to the same bytes. Pictures that cannot be decoded are left out and listed.

  imagenet1k   ILSVRC2012_img_train.tar, with ILSVRC2012_img_val.tar beside it if there is one; its
               labels from ILSVRC2012_devkit_t12.tar.gz, or known; read as tfds:imagenet2012
  imagenet21k  winter21_whole.tar.gz, fall11_whole.tar; read as tfds:imagenet21k

Either may be a folder of class tars (n01440764.tar and so on) instead."""
EXAMPLE = """
  vit-jax prepare imagenet21k --from=winter21_whole.tar.gz --to=data --resize=256 --validation=51200
  vit-jax prepare imagenet1k --from=archives --to=data
  vit-jax prepare --verify=data
  vit-jax train --config=configs/vit_i1k.py --config.data.data_dir=data --workdir=RUN"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add = parser.add_argument
    add("data_set", nargs="?", metavar="DATA_SET", help=" or ".join(DATA_SETS))
    add("--from", dest="source", metavar="PATH", help="the archive, or the folder it is in")
    add("--to", metavar="DIR", help="where data sets go: --config.data.data_dir of a run")
    add(
        "--resize",
        type=int,
        default=0,
        metavar="PIXELS",
        help="shrink the shorter side to so many; default 0: keep the bytes",
    )
    add("--quality", type=int, default=95, metavar="Q", help="of resized JPEGs (default 95)")
    add(
        "--validation",
        type=int,
        default=0,
        metavar="N",
        help="set N pictures apart for validation: the first in the order of the shuffle",
    )
    add("--shards", type=int, default=0, metavar="N", help="default 0: as many as TFDS would make")
    add("--workers", type=int, default=0, metavar="N", help="processes; default 0: one a CPU core")
    add(
        "--beam-options",
        default="",
        metavar="K=V,...",
        help="let Apache Beam do the work, e.g. runner=FlinkRunner,flink_master=HOST:8081",
    )
    add("--verify", metavar="DIR", help="compare what was prepared with its checksums; status 1")


def run(args: argparse.Namespace, _: Sequence[str]) -> int:
    """Prepares a data set, or verifies what was prepared."""
    _check(args)
    return _verify(args) if args.verify else _prepare(args)


def _check(args: argparse.Namespace) -> None:
    if args.verify:
        if args.data_set or args.source or args.to:
            raise UserError("--verify=DIR stands alone: vit-jax prepare --verify=DIR")
        return
    if args.data_set not in DATA_SETS:
        known = near_misses(args.data_set or "", DATA_SETS) or f"; known: {', '.join(DATA_SETS)}"
        raise UserError(f"unknown data set {args.data_set!r}{known}")
    for option, value in {"--from": args.source, "--to": args.to}.items():
        if not value:
            raise UserError(f"{option} is missing; see vit-jax prepare --help")
    if "://" in args.to:
        raise UserError(
            f"--to={args.to}: shards are written to a disk or a mounted bucket: prepare into a "
            f"folder and copy it, e.g. gcloud storage cp --recursive FOLDER {args.to}"
        )
    if args.beam_options and args.shards:
        raise UserError("--shards is for processes: with --beam-options TFDS chooses how many")
    for name in ("validation", "shards", "workers"):
        if getattr(args, name) < 0:
            raise UserError(f"--{name}={getattr(args, name)} must be at least 0")


def _prepare(args: argparse.Namespace) -> int:
    from vit_jax.data.preparation import finish, run, workspace
    from vit_jax.data.preparation.imagenet import DATA_SETS
    from vit_jax.data.preparation.pictures import Treatment
    from vit_jax.evaluation import imagenet

    data_set = DATA_SETS[args.data_set]
    data_dir = pathlib.Path(args.to).expanduser().absolute()
    place = run.prepare(
        workspace.Request(
            data_set,
            args.source,
            data_dir,
            Treatment(args.resize, args.quality),
            num_validation=args.validation,
            num_shards=args.shards,
            words=dict(zip(imagenet.wordnet_ids(), imagenet.class_names(), strict=True)),
            workers=args.workers,
            beam_options=args.beam_options,
        ),
        _say,
    )
    with (place / finish.CORRUPT).open() as file:
        left_out = len(list(csv.reader(file))) - 1
    if left_out:
        print(f"{left_out} left out, and why: {place / finish.CORRUPT}")
    print(f"images of each class: {place / finish.COUNTS}")
    print(
        f"to train on it: --config.data.source=tfds:{data_set.name} "
        f"--config.data.data_dir={os.path.relpath(data_dir)}"
    )
    return exits.DONE


def _verify(args: argparse.Namespace) -> int:
    from vit_jax.data.preparation.verify import verify

    checked = list(verify(args.verify, args.workers))
    problems = [one for one in checked if one.problem]
    for one in problems[:SHOWN_PROBLEMS]:
        print(f"{one.path}: {one.problem}", file=sys.stderr)
    print(f"{len(checked) - len(problems)} of {len(checked)} shards are what they were")
    return exits.FAILED if problems else exits.DONE


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
