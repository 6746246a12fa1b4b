# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What is exported: a trained model as a pure function of its variables and a batch of images."""

import dataclasses
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from vit_jax.errors import UserError
from vit_jax.layers.stack import unstack_layers
from vit_jax.models import init_params
from vit_jax.registry import near_misses
from vit_jax.training import trained

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
DTYPES = ("float32", "bfloat16")
# Files that hold program and parameters in one are flatbuffers or protobufs, which end at 2 GiB.
MAX_FILE_BYTES = 2**31 - 2**24


@dataclasses.dataclass(frozen=True)
class Request:
    """What is wanted of an export.

    Attributes:
        format: a name of `vit_jax.export.FORMATS`.
        target: the file or folder to make; must not exist.
        preprocess: take uint8 images and scale them inside, instead of scaled float32 images.
        batch_size: the only one that the program will take; 0 for any.
        dtype: of parameters and computation; "" for what the checkpoint has.
        platforms: where the program will run; () for the usual ones.
    """

    format: str
    target: str | os.PathLike
    preprocess: bool = False
    batch_size: int = 0
    dtype: str = ""
    platforms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.batch_size < 0:
            raise UserError(f"--fixed-batch={self.batch_size} must be positive, or left out")
        if self.dtype not in ("", *DTYPES):
            hint = near_misses(self.dtype, DTYPES) or f"; known: {', '.join(DTYPES)}"
            raise UserError(f"--dtype={self.dtype} is not known{hint}")
        for platform in self.platforms:
            if platform not in PLATFORMS:
                hint = near_misses(platform, PLATFORMS) or f"; known: {', '.join(PLATFORMS)}"
                raise UserError(f"--platforms: {platform!r} is not known{hint}")

    @property
    def metadata_target(self) -> pathlib.Path:
        """Where the JSON goes that tells of the artefact: beside it."""
        path = pathlib.Path(self.target)
        return path.with_name(f"{path.name}.json")


@dataclasses.dataclass(frozen=True)
class Program:
    """A trained model as a function; the blocks are unrolled, and no kernel is a vendor's.

    Attributes:
        run: the checkpoint it is of.
        model: the module, in the dtype asked for.
        variables: its parameters and other collections, numpy arrays.
        preprocess: whether images are uint8.
        batch_size: of the images; 0 for any.
    """

    run: trained.Trained
    model: nn.Module
    variables: dict[str, Any]
    preprocess: bool
    batch_size: int

    def __call__(self, variables: Any, images: jax.Array) -> jax.Array:
        """Returns what the model answers on images `[B, H, W, C]`: logits `[B, classes]`."""
        images = self.run.ops.device(images) if self.preprocess else images
        return jnp.asarray(self.model.apply(variables, images, train=False), jnp.float32)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of an image."""
        return (*self.run.ops.image_size, self.run.ops.channels)

    @property
    def image_dtype(self) -> np.dtype:
        """Of the images: uint8 if they are scaled inside, else float32."""
        return np.dtype(np.uint8 if self.preprocess else np.float32)

    @property
    def dtype(self) -> str:
        """The coarsest numbers it keeps or computes with."""
        spec = self.model.spec
        return "bfloat16" if "bfloat16" in (spec.dtype, spec.param_dtype) else "float32"

    @property
    def size_bytes(self) -> int:
        """What the variables take."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self.variables))


def build(run: trained.Trained, request: Request) -> Program:
    """Returns the program of a checkpoint."""
    changes = {"dtype": request.dtype, "param_dtype": request.dtype} if request.dtype else {}
    model = portable(run.model, **changes)
    variables = unrolled_variables(run)
    like = jax.eval_shape(lambda: init_params(model, jax.random.key(0), channels=run.ops.channels))
    cast = jax.tree.map(lambda leaf, to: leaf.astype(to.dtype), variables["params"], like)
    variables["params"] = cast
    return Program(run, model, variables, request.preprocess, request.batch_size)


def unrolled_variables(run: trained.Trained) -> dict[str, Any]:
    """Returns the variables of a checkpoint as `portable` models take them, numpy arrays."""
    variables = {"params": unstack_layers(run.params), **run.model_state}
    return jax.tree.map(np.asarray, variables)


def portable(model: Any, **changes: Any) -> Any:
    """Returns a module with fields of its spec changed, unrolled, its attention written out.

    Loops over blocks and fused attention kernels are for training; not every runtime has them.
    """
    wanted = {"scan": False, "remat": "none", "attention": "explicit", **changes}
    fields = {field.name for field in dataclasses.fields(model.spec)}
    known = {name: value for name, value in wanted.items() if name in fields}
    return type(model)(dataclasses.replace(model.spec, **known))


def check_fits_one_file(program: Program, form: str) -> None:
    """Refuses a program whose parameters do not fit a file of 2 GiB."""
    if program.size_bytes > MAX_FILE_BYTES:
        raise UserError(
            f"{form} files hold at most 2 GiB and the parameters take "
            f"{program.size_bytes / 2**30:.1f} GiB: use --format=savedmodel, or --dtype=bfloat16"
        )
