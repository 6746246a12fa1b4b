# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Answers on a split: each example once, the numbers of softmax by hand, mistakes in order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from vit_jax.data import ops as ops_lib
from vit_jax.data.pipeline import EvalPipeline
from vit_jax.data.sources import Source
from vit_jax.evaluation import answers, classification, showcase
from vit_jax.parallel.mesh import create_mesh

CLASSES = 4
OPS = ops_lib.parse("decode|normalise(half)")


class Pixels(Source):
    """Images of one value; the broken ones cannot be decoded."""

    def __init__(self, count, broken=()):
        self.class_names = tuple("abcd")
        self.broken = broken
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        import tensorflow as tf

        image = np.full((4, 4, 3), 6 * index, np.uint8)
        contents = b"?" if index in self.broken else tf.io.encode_png(image).numpy()
        return {"image": contents, "label": index % CLASSES, "name": str(index)}


class Model(nn.Module):
    @nn.compact
    def __call__(self, images, train=False):
        weights = self.param("weights", nn.initializers.normal(3.0), (CLASSES,))
        bias = self.param("bias", nn.initializers.normal(1.0), (CLASSES,))
        return images.mean((1, 2, 3))[:, None] * weights + bias


@pytest.mark.parametrize("sigmoid", [False, True])
def test_answers_are_those_of_the_model(sigmoid):
    source = Pixels(21, broken=(3, 10))
    mesh = create_mesh({"data": -1})
    params = Model().init(jax.random.key(1), jnp.zeros((1, 4, 4, 3)))["params"]
    pipeline = EvalPipeline(source=source, ops=OPS, batch_size=8, max_bad_fraction=0.1)
    with jax.set_mesh(mesh):
        placed = classification.place(params, mesh)
        found = answers.collect(Model(), placed, {}, pipeline, OPS, mesh, sigmoid=sigmoid)
    index = np.array([i for i in range(21) if i not in (3, 10)])
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_array_equal(found.label, index % CLASSES)
    x = (6 * index / 127.5 - 1).astype(np.float64)
    weights, bias = (np.asarray(params[name], np.float64) for name in ("weights", "bias"))
    logits = x[:, None] * weights + bias
    p = 1 / (1 + np.exp(-logits))
    if not sigmoid:
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_array_equal(found.guess, p.argmax(1))
    np.testing.assert_allclose(found.confidence, p.max(1), rtol=1e-4)
    np.testing.assert_allclose(found.loss, -np.log(p[range(19), index % 4]), rtol=1e-4, atol=1e-5)
    assert found.accuracy == pytest.approx((p.argmax(1) == index % 4).mean())


def some_answers(count=40):
    rng = np.random.default_rng(0)
    label, guess = rng.integers(0, CLASSES, (2, count))
    return answers.Answers(
        index=np.arange(count),
        label=label,
        guess=guess,
        confidence=rng.random(count),
        loss=rng.random(count),
    )


def test_mistakes_and_confusion():
    found = some_answers()
    worst = found.mistakes()
    assert len(worst) == (found.label != found.guess).sum()
    assert (np.diff(worst.loss) <= 0).all()
    assert (worst.label != worst.guess).all()
    counts = found.confusion(CLASSES)
    for i in range(CLASSES):
        for j in range(CLASSES):
            assert counts[i, j] == ((found.label == i) & (found.guess == j)).sum()
    pairs = found.confused_pairs()
    assert {(i, j): n for i, j, n in pairs} == {
        (i, j): counts[i, j] for i in range(4) for j in range(4) if i != j and counts[i, j]
    }
    assert [n for *_, n in pairs] == sorted((n for *_, n in pairs), reverse=True)


@pytest.mark.parametrize("classes", [CLASSES, 40])
def test_what_there_is_to_draw_is_drawn(tmp_path, classes):
    names = [f"class {i}" for i in range(classes)]
    pipeline = EvalPipeline(source=Pixels(40), ops=OPS, batch_size=8)
    drawn = showcase.draw_answers(tmp_path, "test", some_answers(), pipeline, OPS, names)
    assert [path.name for path in drawn] == ["predictions.png", "confusion.png", "mistakes.png"]
    right = some_answers()
    right = right.rows(right.label == right.guess)
    drawn = showcase.draw_answers(tmp_path, "test", right, pipeline, OPS, names)
    expected = ["predictions.png", "confusion.png"] if classes == CLASSES else ["predictions.png"]
    assert [path.name for path in drawn] == expected
