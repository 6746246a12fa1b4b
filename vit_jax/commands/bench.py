# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax bench`: its arguments, what they refuse, and which benchmark they mean."""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vit_jax.errors import UserError

if TYPE_CHECKING:
    from vit_jax.benchmark.peers import ModelJob

DESCRIPTION = "Time models and the input pipeline."
EXAMPLE = """
  vit-jax bench vit_small_patch16_224 --batch-size=8
  vit-jax bench vit_small_patch16_224 --against=timm,big_vision --peer-path=DIR
  vit-jax bench vit_small_patch16_224 --startup --rounds=3
  vit-jax bench vit_base_patch16_224 --checkpoint=DIR --every=1000
  vit-jax bench --input=folder:PATH --against=pil --json=FILE
  vit-jax bench --input=tfds:imagenet2012 --data-dir=DIR --processes=2"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help="names that `vit-jax models` lists")
    add("--input", metavar="SOURCE", help="time the input pipeline on folder:PATH or tfds:NAME")
    add("--startup", action="store_true", help="time the first step from process start")
    add("--checkpoint", metavar="DIR", help="time saving the train state to DIR, a disk or gs://")
    add("--batch-size", type=int, default=0, metavar="N", help="default 8, with --input 64")
    add("--rounds", type=int, default=10, metavar="N", help="timed rounds (default 10)")
    add("--steps", type=int, default=0, metavar="N", help="steps a round: default 1, input 4")
    add(
        "--against",
        default="",
        metavar="PEER[,PEER]",
        help="models: timm, timm_compile, big_vision; --input: pil",
    )
    add("--json", metavar="FILE", help="also write everything to FILE")
    _add_model_arguments(parser.add_argument_group("models"))
    _add_input_arguments(parser.add_argument_group("input"))


def _add_model_arguments(group: Any) -> None:
    add = group.add_argument
    add("--mode", default="train", choices=("train", "forward"), help="default: train")
    add("--image-size", type=int, default=0, metavar="PIXELS", help="default: the model's")
    add("--dtype", default="float32", choices=("float32", "bfloat16"), help="default: float32")
    add("--optimiser", default="adamw", metavar="NAME", help="default: adamw")
    add("--remat", default="none", metavar="POLICY", help="what is recomputed (default none)")
    add("--scan", action="store_true", help="scan over the blocks")
    add("--peer-python", default=sys.executable, metavar="PATH", help="Python with torch and timm")
    add("--peer-path", metavar="DIR", help="a checkout of big_vision")
    add("--every", type=int, default=1000, metavar="N", help="steps between saves (default 1000)")
    add("--in-turn", action="store_true", help="one contender after the other, not alternating")


def _add_input_arguments(group: Any) -> None:
    add = group.add_argument
    add("--ops", metavar="OPS", help="default: decode|inception_crop(224)|flip|normalise(imagenet)")
    add("--split", default="train", help="part of the data (default train)")
    add("--data-dir", metavar="DIR", help="where data sets are, as --config.data.data_dir")
    add(
        "--processes",
        type=int,
        default=0,
        metavar="N",
        help="time 1, 2, ... N processes that share each batch, as the hosts of a pod do",
    )
    add("--threads", type=int, default=0, metavar="N", help="0 (default): one a CPU core")


def run(args: argparse.Namespace, _: Sequence[str]) -> None:
    """Runs the benchmark the arguments mean, prints its tables and writes its JSON."""
    _check(args)
    kind, records = _benchmark(args)(args)
    if args.json:
        from vit_jax.benchmark import report

        report.write_json(args.json, sys.argv[1:], kind, records)


def _benchmark(args: argparse.Namespace) -> Callable[[argparse.Namespace], tuple[str, Any]]:
    if args.input:
        return _run_input
    if args.checkpoint:
        return _run_checkpoint
    return _run_startup if args.startup else _run_models


def _check(args: argparse.Namespace) -> None:
    if bool(args.models) == bool(args.input):
        raise UserError(
            "bench needs either model names or --input=SOURCE; see vit-jax bench --help"
        )
    if args.startup and (args.input or args.against):
        raise UserError("--startup times vit_jax's models alone: leave out --input and --against")
    if args.checkpoint and (args.input or args.against or args.startup or args.mode != "train"):
        raise UserError(
            "--checkpoint=DIR times saves of vit_jax's train state: give it just models"
        )
    if args.processes and (not args.input or args.against):
        raise UserError("--processes=N goes with --input=SOURCE, and without --against")
    for name in ("rounds", "every", "steps", "batch_size", "image_size", "threads", "processes"):
        value = getattr(args, name)
        if value < (name in ("rounds", "every")):
            raise UserError(f"--{name.replace('_', '-')}={value} must be at least 1")


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _jobs(args: argparse.Namespace) -> "list[ModelJob]":
    from vit_jax.benchmark.peers import ModelJob
    from vit_jax.models import model_info

    infos = [model_info(name) for name in args.models]
    return [
        ModelJob(
            model=info.name,
            batch_size=args.batch_size or 8,
            image_size=args.image_size or info.image_size[0],
            mode=args.mode,
            dtype=args.dtype,
            optimiser=args.optimiser,
            remat=args.remat,
            scan=args.scan,
        )
        for info in infos
    ]


def _run_models(args: argparse.Namespace) -> tuple[str, list[dict]]:
    from vit_jax.benchmark import model, report
    from vit_jax.benchmark.peers import PEERS, Whereabouts

    against = [PEERS.canonical(name) for name in _names(args.against)]
    where = Whereabouts(args.peer_python, args.peer_path)
    effort = model.Effort(args.rounds, args.steps or 1, together=not args.in_turn)
    records = []
    for job in _jobs(args):
        _progress(job.model)
        records += model.benchmark(job, against, where, effort, _progress)
    print(report.model_table(records))
    print(report.describe_job(records[0]))
    return "models", records


def _run_startup(args: argparse.Namespace) -> tuple[str, list[dict]]:
    from vit_jax.benchmark import report, startup

    records = [startup.benchmark(job, args.rounds, _progress) for job in _jobs(args)]
    print(report.startup_table(records))
    return "startup", records


def _run_checkpoint(args: argparse.Namespace) -> tuple[str, list[dict]]:
    from vit_jax.benchmark import checkpoint, report
    from vit_jax.paths import absolute
    from vit_jax.weights.files import check_new

    records = []
    for job in _jobs(args):
        folder = absolute(args.checkpoint) / job.model
        check_new(folder)
        effort = args.rounds, args.steps or 3, args.every
        records.append(checkpoint.benchmark(job, folder, *effort, _progress))
    print(report.checkpoint_table(records))
    return "checkpoint", records


def _run_input(args: argparse.Namespace) -> tuple[str, dict]:
    from vit_jax.benchmark import inputs, report

    job = inputs.InputJob(
        source=args.input,
        split=args.split,
        ops=args.ops or inputs.DEFAULT_OPS,
        batch_size=args.batch_size or 64,
        threads=args.threads,
        data_dir=args.data_dir or "",
    )
    if args.processes:
        shared = inputs.share(job, args.processes, args.rounds, args.steps or 4, _progress)
        print(report.share_table(shared))
        return "shared input", dataclasses.asdict(job) | {"shared": shared}
    records = inputs.benchmark(job, _names(args.against), args.rounds, args.steps or 4, _progress)
    print(report.input_table(records["loaders"]))
    print()
    print(report.op_table(records["ops"]))
    return "input", dataclasses.asdict(job) | records
