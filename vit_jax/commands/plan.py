# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax plan`: what a recipe takes and costs on a machine one does not have."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vit_jax.errors import UserError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from vit_jax.planning.plan import Plan
    from vit_jax.planning.study import Study

DESCRIPTION = """Say what a recipe takes and costs on a machine you do not have.
The very training step is compiled for it: for TPUs anywhere (pip install 'vit-jax[tpu]'), for GPUs
where they are. --analytic compiles nothing and goes by the traced program.
--config.SECTION.FIELD=VALUE changes a field of the recipe, as often as you like."""
EXAMPLE = """
  vit-jax plan --config=configs/vit_i1k.py --topology=v5p:4x4x4 --config.mesh.fsdp=64
  vit-jax plan --config=configs/vit_i21k.py --topology=v5e:16x16 --search
  vit-jax plan --config=configs/vit_i1k.py --topology=h100:16x8 --analytic"""
OVERRIDES = ("--config.",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add = parser.add_argument
    add("--config", required=True, metavar="FILE[:ARGS]", help="the recipe")
    add(
        "--topology",
        required=True,
        metavar="CHIP:SIZES",
        help="v4, v5e, v5p or v6e and a slice's sizes, like v5p:4x4x4 or v5e:16x16*2 (two slices); "
        "a100, h100, h200 or b200 and how many, like h100:8 or h100:16x8 (16 nodes of 8)",
    )
    add("--analytic", action="store_true", help="compile nothing; go by the traced program")
    add("--search", action="store_true", help="find the best mesh, parts of a batch, remat, scan")
    add(
        "--compilations",
        type=int,
        default=4,
        metavar="N",
        help="how many of the search's best to compile (default 4)",
    )
    add(
        "--images-per-chip",
        default="",
        metavar="N[,N]",
        help="instead of train.batch_size: so many times the chips; several with --search",
    )
    add("--examples", type=int, default=0, metavar="N", help="in the training split, if not known")
    add("--classes", type=int, default=0, metavar="N", help="of the data, if not known")
    add("--json", metavar="FILE", help="also write the plan to FILE")
    add("--hlo", metavar="FILE", help="also write the compiled program's text to FILE")


def run(args: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Plans and prints; everything that can be refused is refused before anything is compiled."""
    from vit_jax import config as config_lib
    from vit_jax.planning import topology

    _check(args)
    machine = topology.parse(args.topology)
    per_chip = _numbers(args.images_per_chip)
    batches = [n * machine.count for n in per_chip]
    config = config_lib.load(args.config, overrides)
    if batches:
        config = config_lib.with_fields(config, {"train.batch_size": batches[0]})
    config_lib.validate(config)

    from vit_jax.planning import facts as facts_lib
    from vit_jax.planning.study import Study

    facts = facts_lib.training_facts(config, args.examples, args.classes)
    study = Study(facts, machine, _progress)
    _settle_devices(study, args)
    plans = _search(study, config, batches, args) if args.search else [_single(study, config, args)]
    if args.json:
        from vit_jax.planning import report

        with open(args.json, "w", encoding="utf-8") as file:
            json.dump([report.record(plan) for plan in plans], file, indent=2)


def _settle_devices(study: "Study", args: argparse.Namespace) -> None:
    """Finds what is compiled for, or leaves all devices alone."""
    if args.analytic:
        import jax

        jax.config.update("jax_platforms", "cpu")
    else:
        _ = study.devices  # refused now, if at all


def _check(args: argparse.Namespace) -> None:
    if args.hlo and (args.analytic or args.search):
        raise UserError("--hlo is of one compiled program: leave out --analytic and --search")
    if args.compilations < 1:
        raise UserError(f"--compilations={args.compilations} must be at least 1")
    if "," in args.images_per_chip and not args.search:
        raise UserError(f"--images-per-chip={args.images_per_chip}: several need --search")
    for name in ("examples", "classes"):
        if getattr(args, name) < 0:
            raise UserError(f"--{name}={getattr(args, name)} must be positive")


def _numbers(text: str) -> list[int]:
    parts = text.split(",") if text else []
    if not all(part.isdecimal() and int(part) for part in parts):
        raise UserError(f"--images-per-chip={text!r}: write whole numbers, like 64 or 32,64")
    return [int(part) for part in parts]


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _single(study: "Study", config: "ConfigDict", args: argparse.Namespace) -> "Plan":
    from vit_jax.planning import report

    plan = study.analytic(config) if args.analytic else study.compiled(config, args.hlo)
    print(report.describe_plan(plan))
    return plan


def _search(
    study: "Study", config: "ConfigDict", batches: Sequence[int], args: argparse.Namespace
) -> "list[Plan]":
    from vit_jax.planning import report, search

    settings = list(search.candidates(config, study.machine.count, batches))
    _progress(f"tracing {len(settings)} settings")
    traced = search.judge(study, settings)
    plans: list[Any] = search.frontier([plan for plan in traced if plan.fits] or traced)
    if not args.analytic:
        plans = search.compile_best(study, traced, args.compilations)
    best = search.frontier([plan for plan in plans if plan.fits])
    print(report.search_table(plans, best))
    print(report.verdict(best))
    return plans
