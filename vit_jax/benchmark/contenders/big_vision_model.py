# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""big_vision's own model under its own kind of step.

As its `train.py` does: value_and_grad, optax, donated state, and the norms it measures every step.
"""

import importlib
from types import SimpleNamespace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from vit_jax.benchmark.contenders.jax_program import Program, synthetic_batch, use_cache


def create_model(job: SimpleNamespace) -> nn.Module:
    """Returns the twin of the job's model: `job.twin` names the module, variant and head."""
    module = importlib.import_module(f"big_vision.models.{job.twin['module']}")
    options = dict(job.twin["options"])
    if job.twin["module"] == "vit":
        options |= {"dtype_mm": job.dtype, "scan": job.scan}
    return module.Model(job.num_classes, variant=job.twin["variant"], **options)


def norm(tree: Any) -> jax.Array:
    """Returns the Euclidean norm of all numbers of a tree, as its measurements have it."""
    return jnp.sqrt(sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(tree)))


def prepare(batch: dict[str, jax.Array], num_classes: int) -> tuple[jax.Array, jax.Array]:
    """Returns float32 images in [-1, 1] and one-hot labels, what its input pipeline delivers."""
    images = batch["image"].astype(jnp.float32) / 127.5 - 1
    return images, jax.nn.one_hot(batch["label"], num_classes)


class Contender:
    """A train step (AdamW, softmax cross-entropy) or a forward pass of big_vision's twin."""

    def __init__(self, job: SimpleNamespace):
        use_cache(job.cache_dir)
        softmax_xent = importlib.import_module("big_vision.utils").softmax_xent
        model = create_model(job)
        batch = synthetic_batch(job)
        optimiser = optax.adamw(1e-3, weight_decay=1e-4)

        @jax.jit
        def initialise(key: jax.Array) -> tuple[Any, Any]:
            images, _ = prepare(batch, job.num_classes)
            params = model.init(key, images)["params"]
            return params, optimiser.init(params) if job.mode == "train" else None

        def train_step(state: tuple[Any, Any], batch: dict) -> tuple[tuple[Any, Any], Any]:
            params, opt_state = state
            images, labels = prepare(batch, job.num_classes)

            def loss_of(params: Any) -> jax.Array:
                logits, _ = model.apply({"params": params}, images, train=True)
                return softmax_xent(logits=logits, labels=labels)

            loss, gradients = jax.value_and_grad(loss_of)(params)
            updates, opt_state = optimiser.update(gradients, opt_state, params)
            params = optax.apply_updates(params, updates)
            return (params, opt_state), (loss, norm(gradients), norm(params), norm(updates))

        def forward(state: tuple[Any, Any], batch: dict) -> tuple[tuple[Any, Any], Any]:
            images, _ = prepare(batch, job.num_classes)
            return state, model.apply({"params": state[0]}, images)[0]

        state = initialise(jax.random.key(0))
        self._parameters = sum(leaf.size for leaf in jax.tree.leaves(state[0]))
        self._program = Program(train_step if job.mode == "train" else forward, state, batch)
        self.run = self._program.run

    def facts(self) -> dict[str, Any]:
        """Returns the program's facts and the number of parameters."""
        return self._program.facts() | {"parameters": self._parameters}
