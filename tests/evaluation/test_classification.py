# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Evaluation counts every example once for any batch size and mesh, and can be stopped."""

import dataclasses

import flax.linen as nn
import jax
import numpy as np
import pytest
import tiny_runs as runs

from vit_jax.data import ops as ops_lib
from vit_jax.data.sources import Source
from vit_jax.errors import UserError
from vit_jax.evaluation import classification
from vit_jax.objectives import create_objective
from vit_jax.parallel.mesh import create_mesh

CLASSES = 7
OPS = ops_lib.parse("decode(channels=1)|resize(4)|value_range(-1, 1)")


class Pixels(Source):
    """Random 4x4 images with random labels."""

    encoded = False
    class_names = tuple("abcdefg")

    def __init__(self, count):
        rng = np.random.default_rng(count)
        self.images = rng.integers(0, 256, (count, 4, 4, 1), dtype=np.uint8)
        self.labels = rng.integers(0, CLASSES, count)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return {"image": self.images[index], "label": int(self.labels[index]), "name": str(index)}


class Linear(nn.Module):
    @nn.compact
    def __call__(self, images, train=False):
        return nn.Dense(CLASSES, name="head")(images.reshape(len(images), -1))


def evaluate(source, batch_size, mesh, stop=lambda: False):
    """Returns the evaluation of a random linear model, and its kernel and bias."""
    rng = np.random.default_rng(3)
    kernel, bias = rng.normal(size=(16, CLASSES)), rng.normal(size=CLASSES)
    params = {"head": {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}}
    config = runs.tiny_config()
    with jax.set_mesh(mesh):
        evaluator = classification.Evaluator(Linear(), create_objective(config, CLASSES), OPS, mesh)
        pipeline = classification.eval_pipeline(source, OPS, config, mesh, batch_size)
        result = evaluator(classification.place(params, mesh), {}, pipeline, stop)
    return result, kernel, bias


@pytest.mark.parametrize(
    ("count", "batch_size", "shape"),
    [
        (1, 8, {"data": 8}),
        (15, 16, {"data": 8}),
        (16, 16, {"data": 2, "fsdp": 2, "tensor": 2}),
        (45, 8, {"data": 4, "tensor": 2}),
    ],
)
def test_means_are_those_of_numpy_in_double_precision(count, batch_size, shape):
    source = Pixels(count)
    result, kernel, bias = evaluate(source, batch_size, create_mesh(shape))
    logits = (source.images.reshape(count, -1) / 127.5 - 1) @ kernel + bias
    picked = logits[np.arange(count), source.labels]
    ranks = (logits > picked[:, None]).sum(-1)
    assert result["examples"] == count
    loss = (np.log(np.exp(logits).sum(-1)) - picked).mean()
    assert result["loss"] == pytest.approx(loss, rel=1e-5)
    assert result["accuracy"] == pytest.approx((ranks < 1).mean(), abs=1e-6)
    assert result["top5"] == pytest.approx((ranks < 5).mean(), abs=1e-6)


def test_stops_when_asked_and_only_then():
    asked = []

    def stop():
        asked.append(1)
        return len(asked) == 2

    result, _, _ = evaluate(Pixels(45), 8, create_mesh(), stop)
    assert result is None
    assert len(asked) == 2


def test_a_batch_size_that_does_not_divide_is_rounded_up():
    config = runs.tiny_config(evaluation__batch_size=30)
    assert classification.evaluation_batch_size(config, create_mesh()) == 32
    config = runs.tiny_config(evaluation__batch_size=0, train__batch_size=48)
    assert classification.evaluation_batch_size(config, create_mesh()) == 48


def test_a_split_the_run_does_not_have_is_refused(monkeypatch):
    config = runs.tiny_config(data__validation_split="")
    run = classification.trained.Trained(1, Linear(), {}, {}, OPS, tuple("abcdefg"), config)
    monkeypatch.setattr(classification.trained, "load", lambda path: run)
    with pytest.raises(UserError, match="no validation split"):
        classification.evaluate_checkpoint("somewhere", split="validation")
    other = dataclasses.replace(run, config=runs.tiny_config())
    monkeypatch.setattr(classification.trained, "load", lambda path: other)
    with pytest.raises(UserError, match="must be the same"):
        classification.evaluate_checkpoint("somewhere", split="validation")
