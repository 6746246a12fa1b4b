# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A small model, objective and batch that the tests of state, step and checkpoints share."""

import types

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

IMAGE_SHAPE = (8, 8, 3)
CLASSES = 10


class Patches(nn.Module):
    """Patches -> MLP block -> mean -> head, with arrays above and below the fsdp threshold."""

    hidden: int = 2048
    statistics: bool = False
    dropout: float = 0.0

    @nn.compact
    def __call__(self, images, train=False):
        images = images.astype(jnp.float32)
        x = nn.Conv(64, (4, 4), strides=(4, 4), name="patch_embed")(images)
        x = x.reshape(x.shape[0], -1, 64)
        if self.statistics:
            x = nn.BatchNorm(use_running_average=not train, momentum=0.5, name="norm")(x)
        x = x + Mlp(self.hidden, name="block_00")(x)
        if self.dropout:
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(CLASSES, name="head")(x.mean(1))


class Mlp(nn.Module):
    hidden: int

    @nn.compact
    def __call__(self, x):
        width = x.shape[-1]
        x = jnp.tanh(nn.Dense(self.hidden, name="fc1")(x))
        return nn.Dense(width, name="fc2")(x)


def loss(apply, params, model_state, batch, key, train):
    """Softmax cross-entropy, mean over the examples of the mask."""
    logits, model_state = apply(params, model_state, batch["image"], train, key)
    labels = batch["label"]
    if labels.ndim == 1:
        labels = jax.nn.one_hot(labels, CLASSES)
    mask = batch.get("mask", jnp.ones(len(labels)))
    losses = -(labels * jax.nn.log_softmax(logits)).sum(-1)
    hits = logits.argmax(-1) == labels.argmax(-1)
    count = jnp.maximum(mask.sum(), 1)
    metrics = {"accuracy": (hits * mask).sum() / count}
    return (losses * mask).sum() / count, (metrics, model_state)


OBJECTIVE = types.SimpleNamespace(loss=loss)


def normalise(images):
    return images.astype(jnp.float32) / 127.5 - 1


def make_batch(seed, size=16):
    rng = np.random.default_rng(seed)
    return {
        "image": rng.integers(0, 256, (size, *IMAGE_SHAPE), np.uint8),
        "label": rng.integers(0, CLASSES, size, np.int32),
    }
