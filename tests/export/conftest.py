# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Small trained models with random numbers in every tensor."""

import jax
import numpy as np
import pytest
import tiny_runs as runs

from vit_jax.data import ops as ops_lib
from vit_jax.models import create_model, init_params
from vit_jax.training import trained

MODELS = {
    "vit": (
        "vit_tiny_patch16_224",
        {"patch_size": 4, "width": 16, "depth": 2, "num_heads": 2, "mlp_dim": 24},
        (8, 12),
    ),
    "vit_map": (
        "vit_tiny_patch16_224",
        {
            "patch_size": 4, "width": 16, "depth": 1, "num_heads": 2, "mlp_dim": 24, "pool": "map",
            "num_registers": 1, "qk_norm": True, "layer_scale": 0.1, "pre_logits": 12,
            "pre_norm": True, "activation": "gelu_tanh",
        },
        (8, 8),
    ),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"patch_size": 2, "width": 8, "depths": (1, 2), "num_heads": (1, 2), "window_size": 3},
        (16, 16),
    ),
    "mixer": (
        "mixer_s32_224",
        {"patch_size": 4, "width": 16, "depth": 2, "token_mlp_dim": 8, "channel_mlp_dim": 24},
        (8, 8),
    ),
}  # fmt: skip
CLASSES = ("cat", "dog", "λ", "owl")


def save_run(folder, kind="vit", scan=False, **fields):
    """Writes a checkpoint of a small model whose answers depend on everything; returns it."""
    name, overrides, (height, width) = MODELS[kind]
    config = runs.tiny_config(**{"train__ema_decay": 0.0, "model__scan": scan, **fields})
    config.model.name, config.model.overrides = name, overrides
    ops = ops_lib.parse(
        f"decode|resize_small(18)|central_crop(({height}, {width}))|normalise(imagenet)"
    )
    model = create_model(name, len(CLASSES), image_size=(height, width), scan=scan, **overrides)
    shapes = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    rng = np.random.default_rng(sum(map(ord, kind)))
    params = jax.tree.map(lambda s: rng.normal(0, 0.4, s.shape).astype(np.float32), shapes)
    trained.save(folder, params=params, config=config, class_names=CLASSES, ops=ops, step=7)
    return trained.load(folder)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """Returns (folder, run) of a kind of model, made once."""
    made = {}

    def make(kind="vit", scan=False):
        if (kind, scan) not in made:
            folder = tmp_path_factory.mktemp("trained") / kind
            made[kind, scan] = folder, save_run(folder, kind, scan)
        return made[kind, scan]

    return make
