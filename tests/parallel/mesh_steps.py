# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A few training steps of a small model of each family, on any mesh, in float32 or float64."""

import collections
import dataclasses
import math
import re
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh
from tabulate import tabulate

from vit_jax import create_model
from vit_jax.layers.stack import stack_layers, unstack_layers
from vit_jax.models.spec import ModelSpec
from vit_jax.parallel import sharding
from vit_jax.parallel.collectives import Collective
from vit_jax.training import state as state_lib
from vit_jax.training.step import jit_train_step, make_train_step

CLASSES, BATCH, SIZE = 10, 8, 16
IMAGE = (SIZE, SIZE, 3)

# Tokens, heads and hidden units that some axes divide and others do not: 17 tokens, 16 patches,
# maps of 16 and 8 rows in windows of 4.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": (
        "vit_tiny_patch16_224",
        {"patch_size": 4, "width": 32, "depth": 2, "num_heads": 4, "mlp_dim": 64},
    ),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {
            "patch_size": 1,
            "width": 16,
            "depths": (2, 2),
            "num_heads": (2, 4),
            "window_size": 4,
        },
    ),
    "mixer": (
        "mixer_b16_224",
        {
            "patch_size": 4,
            "width": 32,
            "depth": 2,
            "token_mlp_dim": 24,
            "channel_mlp_dim": 64,
        },
    ),
}


def loss(apply, params, model_state, batch, key, train):
    """Softmax cross-entropy, a mean over the examples."""
    logits, model_state = apply(params, model_state, batch["image"], train, key)
    labels = jax.nn.one_hot(batch["label"], CLASSES, dtype=logits.dtype)
    return -(labels * jax.nn.log_softmax(logits)).sum(-1).mean(), ({}, model_state)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is trained, and how."""

    family: str
    scan: bool = False
    overrides: tuple[tuple[str, Any], ...] = ()
    optimiser: optax.GradientTransformation = dataclasses.field(
        default_factory=lambda: optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.add_decayed_weights(0.01),
            optax.sgd(0.1, momentum=0.9),
        )
    )
    spread_optimiser: bool = False
    ema_decay: float = 0.9
    dtype: str = "float32"

    def model(self):
        name, overrides = MODELS[self.family]
        overrides = overrides | dict(self.overrides) | {"image_size": SIZE, "scan": self.scan}
        model = create_model(name, num_classes=CLASSES, **overrides)
        spec = dataclasses.replace(model.spec, dtype=self.dtype, param_dtype=self.dtype)
        return type(model)(spec)

    def compiled(self, mesh: Mesh):
        """Returns the training step and the abstract state, for one mesh."""
        state = self.abstract_state(mesh)
        step = make_train_step(
            self.model(),
            types.SimpleNamespace(loss=loss),
            self.optimiser,
            schedule=optax.constant_schedule(0.1),
            device_ops=lambda image: image.astype(self.dtype) / 127.5 - 1,
            num_classes=CLASSES,
            ema_decay=self.ema_decay,
            spread_optimiser=self.spread_optimiser,
        )
        place = sharding.batch_sharding(mesh)
        batch = {
            "image": jax.ShapeDtypeStruct((BATCH, *IMAGE), jnp.uint8, sharding=place),
            "label": jax.ShapeDtypeStruct((BATCH,), jnp.int32, sharding=place),
        }
        jitted: Any = jit_train_step(step, state)
        with jax.set_mesh(mesh):
            return jitted.lower(state, batch).compile(), state

    def abstract_state(self, mesh: Mesh):
        return state_lib.abstract_state(
            self.model(),
            self.optimiser,
            IMAGE,
            mesh=mesh,
            ema=self.ema_decay > 0,
            spread_optimiser=self.spread_optimiser,
        )


def random_params(setting: Setting) -> Any:
    """Returns numpy parameters, none of them zero or one, the same for scanned and unrolled."""
    rng = np.random.Generator(np.random.PCG64(5))
    shapes = state_lib.abstract_params(dataclasses.replace(setting, scan=False).model(), IMAGE)

    def draw(leaf: Any) -> np.ndarray:
        spread = 0.3 if len(leaf.shape) < 2 else np.prod(leaf.shape[:-1]) ** -0.5
        return rng.normal(0, spread, leaf.shape).astype(np.float32)

    return jax.tree.map(draw, shapes)


def batches(steps: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.Generator(np.random.PCG64(6))
    return [
        {
            "image": rng.integers(0, 256, (BATCH, *IMAGE), np.uint8),
            "label": rng.integers(0, CLASSES, BATCH, np.int32),
        }
        for _ in range(steps)
    ]


def train(setting: Setting, mesh: Mesh, params: Any, steps: int, made: Any = None) -> Any:
    """Returns the state, as numpy arrays, after so many steps from given parameters.

    Scanned parameters are unrolled in it. `made` is what `setting.compiled(mesh)` returned.
    """
    compiled, abstract = made or setting.compiled(mesh)
    params = stack_layers(params) if setting.scan else params
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), abstract)
    average = params if setting.ema_decay else None
    state = jax.tree.map(
        lambda leaf, value: jax.device_put(value.astype(leaf.dtype), leaf.sharding),
        abstract,
        zeros.replace(params=params, ema_params=average),
    )
    with jax.set_mesh(mesh):
        for batch in batches(steps):
            state, _ = compiled(state, sharding.put_batch(batch, mesh, BATCH))
    for leaf, expected in zip(jax.tree.leaves(state), jax.tree.leaves(abstract), strict=True):
        assert leaf.sharding.is_equivalent_to(expected.sharding, leaf.ndim)
    state = jax.device_get(state)
    return jax.tree.map(_unrolled, state, is_leaf=_is_params)


def _is_params(tree: Any) -> bool:
    return isinstance(tree, dict) and "head" in tree


def _unrolled(tree: Any) -> Any:
    return unstack_layers(tree) if _is_params(tree) else tree


def exact(setting: Setting, mesh: Mesh, params: Any, steps: int) -> Any:
    """Returns what `train` does, computed in float64 throughout."""
    options: Any = ModelSpec.head_options
    in_float64 = property(lambda spec: options.fget(spec) | {"dtype": "float64"})
    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(jnp, "float32", jnp.float64)
        patch.setattr(ModelSpec, "head_options", in_float64)
        state = train(dataclasses.replace(setting, dtype="float64"), mesh, params, steps)
    kinds = {leaf.dtype.name for leaf in jax.tree.leaves((state.params, state.opt_state))}
    assert kinds == {"float64"}
    return state


def census(rows: list[Collective], least: int = 64) -> str:
    """Returns a text table: kind, axes, elements of an array, how many are moved.

    However XLA lays arrays out and combines them, this stays. Scalars and statistics of a few
    numbers, fewer than `least`, are left out.
    """
    counts: collections.Counter[tuple[str, str, int]] = collections.Counter()
    for row in rows:
        for shape in row.shapes:
            elements = count_elements(shape)
            if elements >= least:
                counts[row.kind, " ".join(row.axes), elements] += row.times
    lines = [(*key, counts[key]) for key in sorted(counts)]
    return tabulate(lines, headers=("collective", "axes", "elements", "arrays")) + "\n"


def count_elements(shape: str) -> int:
    """`f32[2,3]` -> 6."""
    return math.prod(int(size) for size in re.findall(r"\d+", shape.partition("[")[2]))
