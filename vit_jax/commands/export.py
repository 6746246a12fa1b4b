# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""`vit-jax export`."""

import argparse
import os
import sys
from collections.abc import Sequence

FAILED = 1

DESCRIPTION = """Write a trained model as a file for other programs, run it there and compare.
stablehlo: program and parameters for JAX and other compilers; savedmodel: for TensorFlow;
onnx: for ONNX Runtime and others; safetensors: the parameters alone, under timm's names."""
EXAMPLE = """
  vit-jax export workdirs/digits --format=stablehlo --to=digits.stablehlo --preprocess
  vit-jax export workdirs/digits --format=savedmodel --to=digits_savedmodel --preprocess
  vit-jax export workdirs/digits --format=safetensors --to=digits.safetensors"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="a run, or one step of it")
    add("--format", required=True, help="stablehlo, savedmodel, onnx or safetensors")
    add("--to", required=True, metavar="PATH", help="the file or folder to make")
    add(
        "--preprocess",
        action="store_true",
        help="take uint8 images and scale them inside; a SavedModel then also takes image files",
    )
    add(
        "--fixed-batch",
        type=int,
        default=0,
        metavar="N",
        help="the only batch size it takes; default: any",
    )
    add("--dtype", default="", help="float32 or bfloat16; default: as trained")
    add(
        "--platforms",
        default="",
        metavar="NAME,...",
        help="of stablehlo and savedmodel: cpu, cuda, rocm, tpu; default: cpu,cuda,tpu",
    )


def run(args: argparse.Namespace, _: Sequence[str]) -> int:
    """Exports; 1 if what was written does not do the same as the checkpoint."""
    from vit_jax.export.comparison import ExportError
    from vit_jax.export.export import export_checkpoint
    from vit_jax.export.program import Request

    request = Request(
        format=args.format,
        target=args.to,
        preprocess=args.preprocess,
        batch_size=args.fixed_batch,
        dtype=args.dtype,
        platforms=tuple(name for name in args.platforms.split(",") if name),
    )
    try:
        compared = export_checkpoint(args.checkpoint, request)
    except ExportError as failure:
        print(f"vit-jax: error: {failure}", file=sys.stderr)
        return FAILED
    sizes = " and ".join(map(str, compared.batch_sizes))
    print(
        f"{args.to}: run again in another process at batch sizes {sizes}, max relative difference "
        f"to the checkpoint {compared.difference:.1e} (allowed: {compared.tolerance:.0e})"
    )
    print(f"{os.fspath(request.metadata_target)}: classes, preprocessing, versions")
    if compared.indifferent:
        print(
            "vit-jax: the model answers the same on every image, so the comparison proves little",
            file=sys.stderr,
        )
    return 0
