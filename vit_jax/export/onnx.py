# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""ONNX by jax2onnx: one file with program and parameters, for ONNX Runtime, TensorRT and others."""

import logging
import pathlib

from vit_jax.errors import UserError
from vit_jax.export.program import Program, Request, check_fits_one_file

OPSET = 20  # of 2023: old enough for every runtime in use, and new enough to have GELU's parts


def check(request: Request) -> None:
    """Refuses bfloat16, platforms, and a machine without the converter."""
    if request.platforms:
        raise UserError("--platforms does not concern ONNX: the runtime chooses; leave it out")
    if request.dtype == "bfloat16":
        raise UserError(
            "--dtype=bfloat16: ONNX Runtime does not compute it on CPUs, so that the file could "
            "not be compared; use --dtype=float32 and the runtime's own conversion"
        )
    try:
        import jax2onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"--format=onnx needs {error.name}: pip install 'vit-jax[onnx]' && pip install "
            "--no-deps jax2onnx (docs/export.md says why in two steps); or use --format=stablehlo"
        ) from error


def write(program: Program, request: Request, path: pathlib.Path) -> None:
    """Writes one self-contained .onnx file: "images" `[batch, H, W, C]` to "logits"."""
    import jax
    import jax2onnx

    if program.dtype != "float32":
        raise UserError(
            "the checkpoint computes in bfloat16, which ONNX Runtime does not on CPUs: add "
            "--dtype=float32"
        )
    check_fits_one_file(program, "ONNX")
    variables = jax.tree.map(jax.numpy.asarray, program.variables)
    shape: tuple = (program.batch_size or "batch", *program.image_shape)
    images = jax.ShapeDtypeStruct(shape, program.image_dtype)
    for chatty in ("onnx_ir", "jax2onnx"):  # about every inner value, every plugin not needed here
        logging.getLogger(chatty).setLevel(logging.ERROR)
    model = jax2onnx.to_onnx(
        lambda images: program(variables, images),
        [images],
        model_name="vit_jax",
        opset=OPSET,
        input_names=["images"],
        output_names=["logits"],
    )
    path.write_bytes(model.SerializeToString())
