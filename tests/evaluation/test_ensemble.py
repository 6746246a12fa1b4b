# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Ensembles and views average probabilities; one model and one view are that model."""

import jax.numpy as jnp
import numpy as np
import pytest
from small_models import Pixels, linear_run, softmax

from vit_jax.errors import UserError
from vit_jax.evaluation import classification, ensemble, suite, views
from vit_jax.evaluation.classification import Question

NAMES = tuple("abcdefg")
CROP = "decode(channels=1)|central_crop((3, 4))|value_range(-1, 1)"
WHOLE = "decode(channels=1)|resize((6, 7))|normalise(half)"


@pytest.fixture
def source(monkeypatch):
    data = Pixels(45, NAMES)
    monkeypatch.setattr(classification, "create_source", lambda *_: data)
    return data


def expected(probabilities, labels):
    picked = probabilities[np.arange(len(labels)), labels]
    ranks = (probabilities > picked[:, None]).sum(-1)
    accuracy = (ranks < 1).mean()
    return {
        "loss": -np.log(picked).mean(),
        "accuracy": accuracy,
        "top5": (ranks < 5).mean(),
        "standard_error": np.sqrt(accuracy * (1 - accuracy) / len(labels)),
    }


def check(found, wanted, examples=45):
    assert found["examples"] == examples
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name


def scaled(images):
    return images / 127.5 - 1


def flat(images):
    return images.reshape(len(images), -1)


def five(images, height=3, width=4):
    """The corners and the centre, with indices written out for 6 x 7 images."""
    y, x = images.shape[1] - height, images.shape[2] - width
    centre = (round(y / 2), round(x / 2))
    places = [(0, 0), (0, x), (y, 0), (y, x), centre]
    return [images[:, t : t + height, s : s + width] for t, s in places]


@pytest.mark.parametrize("sigmoid", [False, True])
def test_averages_of_extreme_logits(sigmoid):
    rng = np.random.default_rng()
    logits = (rng.normal(size=(3, 20, 6)) * [[[1]], [[30]], [[100]]]).astype(np.float32)
    weights = np.array([0.5, 0.2, 0.3])
    exact = logits.astype(np.float64)
    average = ensemble.average_sigmoid if sigmoid else ensemble.average_softmax
    found = np.asarray(average(jnp.asarray(logits), jnp.log(weights)), np.float64)
    if sigmoid:
        wanted = np.einsum("k,kbc->bc", weights, 1 / (1 + np.exp(-exact)))
        np.testing.assert_allclose(1 / (1 + np.exp(-found)), wanted, rtol=1e-4)
    else:
        wanted = np.einsum("k,kbc->bc", weights, softmax(exact))
        np.testing.assert_allclose(np.exp(found), wanted, rtol=1e-4)
    assert np.isfinite(found).all()


def test_one_model_and_one_view_is_the_model(source):
    run, kernel, bias = linear_run(NAMES, WHOLE, 42)
    logits = flat(scaled(source.images)) @ kernel + bias
    check(classification.evaluate([run], Question()), expected(softmax(logits), source.labels))
    one = classification.evaluate([run], Question())
    assert classification.evaluate([run] * 3, Question()) == pytest.approx(one, rel=1e-6)


def test_members_of_their_own_preprocessing_weighted(source):
    one, other, third = (
        linear_run(NAMES, ops, pixels, seed)
        for seed, (ops, pixels) in enumerate([(WHOLE, 42), (CROP, 12), (WHOLE, 42)])
    )
    whole, crop = flat(scaled(source.images)), flat(scaled(five(source.images)[4]))
    weights = np.array([0.5, 0.3, 0.2])
    parts = [
        softmax(images @ kernel + bias)
        for images, (_, kernel, bias) in zip((whole, crop, whole), (one, other, third), strict=True)
    ]
    runs = [one[0], other[0], third[0]]
    found = classification.evaluate(runs, Question(batch_size=16), 10 * weights)
    check(found, expected(np.einsum("k,kbc->bc", weights, parts), source.labels))


def test_members_with_classes_in_another_order(source):
    one, kernel, bias = linear_run(NAMES, WHOLE, 42)
    other, kernel2, bias2 = linear_run(NAMES[::-1], WHOLE, 42, seed=1)
    images = flat(scaled(source.images))
    parts = [softmax(images @ kernel + bias), softmax(images @ kernel2 + bias2)[:, ::-1]]
    found = classification.evaluate([one, other], Question())
    check(found, expected(np.mean(parts, 0), source.labels))
    with pytest.raises(UserError, match=r"the checkpoints have the classes a, b, .* and x, b"):
        classification.evaluate([one, linear_run("xbcdefg", WHOLE, 42)[0]], Question())


@pytest.mark.parametrize("objective", ["softmax_cross_entropy", "sigmoid_cross_entropy"])
@pytest.mark.parametrize("names", [("flip",), ("five_crops",), ("flip", "five_crops")])
def test_views_average_probabilities(source, names, objective):
    run, kernel, bias = linear_run(NAMES, CROP, 12, objective__name=objective)
    images = five(source.images) if "five_crops" in names else [five(source.images)[4]]
    if "flip" in names:
        images = images + [x[:, :, ::-1] for x in images]
    logits = [flat(scaled(x)) @ kernel + bias for x in images]
    found = classification.evaluate([run], Question(views=names))
    if objective == "softmax_cross_entropy":
        check(found, expected(np.mean([softmax(x) for x in logits], 0), source.labels))
    else:
        p = np.mean([1 / (1 + np.exp(-x)) for x in logits], 0)
        wanted = expected(p, source.labels)
        y = np.eye(len(NAMES))[source.labels]
        wanted["loss"] = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(-1).mean()
        check(found, wanted)


def test_five_crops_of_an_image_smaller_than_the_crop_pad_it(monkeypatch):
    data = Pixels(9, NAMES, size=(2, 5))
    monkeypatch.setattr(classification, "create_source", lambda *_: data)
    run, kernel, bias = linear_run(NAMES, CROP, 12)
    padded = np.pad(data.images, ((0, 0), (0, 1), (0, 0), (0, 0)))
    logits = [flat(scaled(x)) @ kernel + bias for x in five(padded)]
    found = classification.evaluate([run], Question(views=("five_crops",)))
    check(found, expected(np.mean([softmax(x) for x in logits], 0), data.labels), examples=9)


def test_weights_by_validation_accuracy(source, monkeypatch):
    runs = [linear_run(NAMES, WHOLE, 42, seed)[0] for seed in range(3)]
    alone = [classification.evaluate([run], Question())["accuracy"] for run in runs]
    paths = iter(runs)
    monkeypatch.setattr(suite.trained, "load", lambda path: next(paths))
    result = suite.evaluate("abc", Question(), weights="validation")
    assert result["weights"] == pytest.approx(np.array(alone) / sum(alone))
    assert len(set(alone)) > 1
    direct = classification.evaluate(runs, Question(), result["weights"])
    assert {name: result[name] for name in direct} == direct


def test_refusals(source):
    run = linear_run(NAMES, WHOLE, 42)[0]
    sigmoid = linear_run(NAMES, WHOLE, 42, objective__name="sigmoid_cross_entropy")[0]
    with pytest.raises(UserError, match="softmax and some sigmoid"):
        classification.evaluate([run, sigmoid], Question())
    with pytest.raises(UserError, match=r"ends with central_crop.*--views=flip"):
        classification.evaluate([run], Question(views=("five_crops",)))
    with pytest.raises(UserError, match="unknown view 'flop'; did you mean 'flip'"):
        classification.evaluate([run], Question(views=views.parse("flop")))
    for arguments, message in (
        ((["a"], Question(), ("accuracy",), "validation"), "for several checkpoints"),
        ((["a", "b"], Question(), ("knn",)), "knn measures one checkpoint, not 2"),
        ((["a"], Question(views=("flip",)), ("knn",)), "--views concerns accuracy"),
        ((["a", "b"], Question(), ("accuracy",), "best"), "must be one of uniform, validation"),
    ):
        with pytest.raises(UserError, match=message):
            suite.evaluate(*arguments)
    with pytest.raises(UserError, match="unknown evaluator 'kn'; did you mean 'knn'"):
        suite.parse("accuracy,kn")
