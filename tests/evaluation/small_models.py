# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Random images, and linear models on them that can be computed by hand."""

import flax.linen as nn
import numpy as np
import tiny_runs as runs

from vit_jax.data import ops as ops_lib
from vit_jax.data.sources import Source
from vit_jax.training import trained


class Pixels(Source):
    """Random grey images, 6 x 7 pixels unless told, with random labels and given names."""

    encoded = False

    def __init__(self, count, class_names, size=(6, 7), file_names=None):
        rng = np.random.default_rng(count)
        self.class_names = tuple(class_names)
        self.images = rng.integers(0, 256, (count, *size, 1), dtype=np.uint8)
        self.labels = rng.integers(0, len(self.class_names), count)
        self._file_names = file_names

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        label = int(self.labels[index])
        return {"image": self.images[index], "label": label, "name": self.name(index)}

    def file_name(self, index):
        return self.name(index) if self._file_names is None else self._file_names[index]


class Linear(nn.Module):
    """One product of the pixels."""

    classes: int

    @nn.compact
    def __call__(self, images, train=False):
        return nn.Dense(self.classes, name="head")(images.reshape(len(images), -1))


def linear_run(class_names, ops, pixels, seed=0, **fields):
    """Returns a trained linear model of random weights, and these in float64."""
    rng = np.random.default_rng(seed)
    class_names = tuple(class_names)
    classes = len(class_names)
    kernel = (rng.normal(size=(pixels, classes)) / 3).astype(np.float32)
    bias = rng.normal(size=classes).astype(np.float32)
    params = {"head": {"kernel": kernel, "bias": bias}}
    run = trained.Trained(
        step=1,
        model=Linear(classes),
        params=params,
        model_state={},
        ops=ops_lib.parse(ops),
        class_names=class_names,
        config=runs.tiny_config(**fields),
    )
    return run, kernel.astype(np.float64), bias.astype(np.float64)


def softmax(logits):
    exact = np.exp(logits - logits.max(-1, keepdims=True))
    return exact / exact.sum(-1, keepdims=True)
