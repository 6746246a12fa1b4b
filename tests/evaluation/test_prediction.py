# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Probabilities do not depend on how images are grouped, and are softmax or sigmoid as trained."""

import dataclasses
import io

import flax.linen as nn
import jax
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
    def __call__(self, images, train=False, features=False):
        pixels = images.reshape(len(images), -1)
        logits = nn.Dense(3, name="head")(pixels)
        return (logits, {"pre_logits": pixels}) if features else logits


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


def test_paths_come_back_in_order_with_the_reason_of_the_unreadable(weights, tmp_path):
    kernel, bias = weights("softmax_cross_entropy")
    images, paths = pictures(23), []
    for i, image in enumerate(images):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(image).save(paths[-1])
    paths[4].write_bytes(b"text")
    paths[22].unlink()
    for some in (range(23), [4, 22], [7], []):
        predictor = prediction.Predictor("run", batch_size=4, features=True)
        answers = predictor.predict_paths([paths[i] for i in some])
        good = [row for row, i in enumerate(some) if i not in (4, 22)]
        bad = [row for row, i in enumerate(some) if i in (4, 22)]
        pixels = images[[some[row] for row in good]].reshape(-1, 108) / 127.5 - 1
        logits = pixels @ kernel + bias
        expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(answers.probabilities[good], expected, rtol=1e-4)
        np.testing.assert_allclose(answers.features[good], pixels, atol=1e-6)
        assert answers.probabilities.shape == (len(some), 3)
        assert answers.features.shape == (len(some), 108)
        assert np.isnan(answers.probabilities[bad]).all()
        assert np.isnan(answers.features[bad]).all()
        reasons = {4: "not an image that can be decoded", 22: "No such file or directory"}
        assert answers.errors == tuple(reasons.get(i, "") for i in some)


def test_all_local_devices_share_a_batch(weights):
    weights("softmax_cross_entropy")
    predictor = prediction.Predictor("run", batch_size=9)
    assert predictor.batch_size == 16
    _, images = predictor._to_devices(
        prediction.sharding.batch_sharding(predictor._mesh), pictures(3)
    )
    assert len(images.sharding.device_set) == 8
    assert images.addressable_shards[0].data.shape == (2, 6, 6, 3)


def test_the_fingerprint_tells_models_apart(weights, monkeypatch):
    weights("softmax_cross_entropy")
    run = trained.load("run")
    one = prediction.Predictor("run", batch_size=4).fingerprint
    assert prediction.Predictor("run", batch_size=8, features=True).fingerprint == one
    changed = jax.tree.map(np.copy, run.params)
    changed["head"]["kernel"][5, 1] += 1e-3
    others = (
        dataclasses.replace(run, params=changed),
        dataclasses.replace(run, ops=ops_lib.parse("decode|resize(6)|normalise(imagenet)")),
        dataclasses.replace(run, config=runs.tiny_config(objective__name="sigmoid_cross_entropy")),
    )
    for other in others:
        monkeypatch.setattr(trained, "load", lambda path, other=other: other)
        assert prediction.Predictor("run").fingerprint != one
