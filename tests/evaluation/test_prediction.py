# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Probabilities do not depend on how images are grouped, and are softmax or sigmoid as trained."""

import io

import flax.linen as nn
import numpy as np
import pytest
import tiny_runs as runs
from PIL import Image

from vit_jax.data import ops as ops_lib
from vit_jax.evaluation import prediction
from vit_jax.training import trained

OPS = ops_lib.parse("decode|resize(6)|normalise(half)")


class Linear(nn.Module):
    @nn.compact
    def __call__(self, images, train=False):
        return nn.Dense(3, name="head")(images.reshape(len(images), -1))


@pytest.fixture
def weights(monkeypatch):
    """The random weights of a linear model that `Predictor` loads; the objective as asked for."""
    rng = np.random.default_rng(11)
    kernel = rng.normal(size=(108, 3)).astype(np.float32) / 10
    bias = rng.normal(size=3).astype(np.float32)

    def use(objective):
        params = {"head": {"kernel": kernel, "bias": bias}}
        config = runs.tiny_config(objective__name=objective)
        run = trained.Trained(1, Linear(), params, {}, OPS, ("x", "y", "z"), config)
        monkeypatch.setattr(trained, "load", lambda path: run)
        return kernel.astype(np.float64), bias.astype(np.float64)

    return use


def pictures(count):
    return np.random.default_rng(count).integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [0, 1, 4, 7])
def test_softmax_of_the_models_outputs(weights, count):
    kernel, bias = weights("softmax_cross_entropy")
    images = pictures(count)
    found = prediction.Predictor("run", batch_size=4)(images)
    logits = (images.reshape(count, 108) / 127.5 - 1) @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert found.shape == (count, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_sigmoid_where_classes_are_independent(weights):
    kernel, bias = weights("sigmoid_cross_entropy")
    images = pictures(5)
    found = prediction.Predictor("run")(images)
    logits = (images.reshape(5, -1) / 127.5 - 1) @ kernel + bias
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), rtol=1e-4)


def test_files_and_arrays_give_the_same(weights):
    weights("softmax_cross_entropy")
    predictor = prediction.Predictor("run")
    images = pictures(2)
    files = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "png")
        files.append(buffer.getvalue())
    np.testing.assert_array_equal(predictor(files), predictor(images))


def test_bytes_that_are_no_image_are_refused(weights):
    weights("softmax_cross_entropy")
    predictor = prediction.Predictor("run")
    for content in (b"", b"text", b"\x89PNG\r\n\x1a\nbroken"):
        with pytest.raises(ValueError, match="not an image that can be decoded"):
            predictor.preprocess(content)
