# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A configuration small enough to compile in seconds, and its facts."""

from vit_jax.config import default_config, with_fields
from vit_jax.data import ops
from vit_jax.training.program import Facts

ROWS = 8


def config(model="vit_tiny_patch16_224", depth=5, **fields):
    """Returns a small model's configuration with some fields changed, `__` for a dot."""
    small = default_config()
    small.model.name = model
    overrides = {"patch_size": 4, "width": 32, "num_heads": 4, "mlp_dim": 64, "depth": depth}
    if model.startswith("swin"):
        overrides = {"patch_size": 2, "width": 16, "window_size": 2, "num_heads": (2, 4)}
        overrides["depths"] = (2, depth)
    small.model.overrides = overrides
    small.data.train_ops = "decode|random_crop(16, padding=1)|value_range(-1, 1)"
    small.data.eval_ops = "decode|resize(16)|value_range(-1, 1)"
    small.train.batch_size = 4 * ROWS
    small.train.duration = "1000 steps"
    return with_fields(small, {name.replace("__", "."): value for name, value in fields.items()})


def facts():
    """Returns the facts of data that are nowhere."""
    small = config()
    return Facts(tuple("abc"), 1000, ops.parse(small.data.eval_ops))
