# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""StableHLO by jax.export: one file with program and parameters, for JAX and other compilers."""

import pathlib
from typing import Any

import jax
from jax import export

from vit_jax.errors import UserError
from vit_jax.export.program import Program, Request, check_fits_one_file

DEFAULT_PLATFORMS = ("cpu", "cuda", "tpu")


def check(request: Request) -> None:
    """Refuses platforms on which the file could not be tried in full precision."""
    if request.platforms and "cpu" not in request.platforms:
        raise UserError(
            f"--platforms={','.join(request.platforms)} lacks cpu, on which the file is compared "
            "with the checkpoint; add it, the file stays as good for the others"
        )


def write(program: Program, request: Request, path: pathlib.Path) -> None:
    """Writes what `jax.export.deserialize` reads; the parameters are constants in it."""
    check_fits_one_file(program, "StableHLO")
    exported = lower(lambda images: program(program.variables, images), program, request)
    path.write_bytes(exported.serialize())


def lower(function: Any, program: Program, request: Request, *leading: Any) -> export.Exported:
    """Returns a function of images, and of arguments before them, lowered for all platforms.

    Args:
        function: of `(*leading, images)`.
        program: whose images it takes.
        request: names the platforms.
        *leading: ShapeDtypeStructs.
    """
    batch = program.batch_size or export.symbolic_shape("batch")[0]
    images = jax.ShapeDtypeStruct((batch, *program.image_shape), program.image_dtype)
    platforms = request.platforms or DEFAULT_PLATFORMS
    return export.export(jax.jit(function), platforms=platforms)(*leading, images)
