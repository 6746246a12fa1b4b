# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Cross-entropies and accuracies against their definitions in float64 numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.config import default_config
from vit_jax.errors import UserError
from vit_jax.objectives import OBJECTIVES, create_objective
from vit_jax.objectives.metrics import summarise

B, C = 12, 7
NAMES = ["softmax_cross_entropy", "sigmoid_cross_entropy"]


def make(name, num_classes=C, **fields):
    config = default_config()
    config.objective.name = name
    for field, value in fields.items():
        config.objective[field] = value
    return create_objective(config, num_classes)


def draw(seed, batch=B):
    """Returns a linear model's parameters and a batch of images with integer labels."""
    rng = np.random.default_rng(seed)
    params = rng.normal(size=(4, C)).astype(np.float32)
    images = rng.normal(size=(batch, 1, 1, 4)).astype(np.float32) * 2
    return params, {"image": images, "label": rng.integers(0, C, batch)}


def apply(params, model_state, images, train, key=None):
    """Stands in for a model: logits are linear in the pixels; counts its calls in the state."""
    return images.reshape(len(images), -1) @ params, {"calls": model_state["calls"] + 1}


def run(objective, params, batch, train=True, apply=apply):
    loss, (metrics, state) = objective.loss(apply, params, {"calls": 0}, batch, None, train)
    assert state == {"calls": 1}
    assert loss.dtype == jnp.float32
    return float(loss), summarise(metrics)


def cross_entropy(name, logits, targets):
    """Each example's loss, by the textbook, in float64."""
    if name == "softmax_cross_entropy":
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return -(targets * log_p).sum(1)
    p = 1 / (1 + np.exp(-logits))
    return -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).sum(1)


def expected(name, params, batch, smoothing=0.0, weights=None):
    logits = batch["image"].reshape(-1, 4).astype(np.float64) @ params.astype(np.float64)
    labels = np.asarray(batch["label"])
    labels = np.eye(C)[labels] if labels.ndim == 1 else labels.astype(np.float64)
    losses = cross_entropy(name, logits, (1 - smoothing) * labels + smoothing / C)
    losses = losses * (1 if weights is None else labels @ np.asarray(weights))
    mask = np.asarray(batch.get("mask", np.ones(len(labels))))
    return (losses * mask).sum() / mask.sum()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_training_loss(name, soft, smoothing, weighted):
    params, batch = draw(6)
    rng = np.random.default_rng(5)
    if soft:
        batch["label"] = rng.dirichlet(np.ones(C), B).astype(np.float32)
    weights = tuple(rng.uniform(0, 3, C)) if weighted else ()
    objective = make(name, label_smoothing=smoothing, class_weights=weights)
    found, _ = run(objective, params, batch)
    wanted = expected(name, params, batch, smoothing, weights if weighted else None)
    assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_has_neither_smoothing_nor_weights(name):
    params, batch = draw(0)
    objective = make(name, label_smoothing=0.3, class_weights=tuple(range(1, C + 1)))
    found, _ = run(objective, params, batch, train=False)
    assert found == pytest.approx(expected(name, params, batch), rel=1e-5)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_masked_examples_do_not_count_whatever_they_hold(name, train):
    params, batch = draw(1)
    batch["mask"] = np.asarray([1, 0] * (B // 2), np.float32)
    wanted = expected(name, params, batch)
    kept = {key: value[::2] for key, value in batch.items() if key != "mask"}
    _, wanted_metrics = run(make(name), params, kept, train)
    batch["image"][1::2] = np.nan
    found, metrics = run(make(name), params, batch, train)
    assert found == pytest.approx(wanted, rel=1e-5)
    assert metrics == pytest.approx(wanted_metrics)


def test_a_fully_masked_batch_is_zero():
    params, batch = draw(2)
    loss, metrics = run(make(NAMES[0]), params, batch | {"mask": np.zeros(B)}, train=False)
    assert (loss, metrics["accuracy"], metrics["top5"]) == (0, 0, 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("soft", [False, True])
def test_micro_batches_average_to_the_large_batch(name, soft):
    params, batch = draw(3)
    if soft:
        batch["label"] = np.random.default_rng(3).dirichlet(np.ones(C), B).astype(np.float32)
    objective = make(name, label_smoothing=0.1, class_weights=(0.0, 5.0, 1.0, 2.0, 0.1, 3.0, 1.0))

    def loss(params, batch):
        return objective.loss(apply, params, {"calls": 0}, batch, None, True)[0]

    gradient = jax.jit(jax.grad(loss))
    parts = [{key: value[i::3] for key, value in batch.items()} for i in range(3)]
    averaged = np.mean([gradient(params, part) for part in parts], axis=0)
    np.testing.assert_allclose(averaged, gradient(params, batch), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("soft", [False, True])
def test_accuracy_and_top5_count_ranks(soft):
    params, batch = draw(4)
    if soft:
        batch["label"] = np.random.default_rng(4).dirichlet(np.ones(C), B).astype(np.float32)
    logits = batch["image"].reshape(B, 4) @ params
    label = batch["label"].argmax(1) if soft else batch["label"]
    ranks = (logits > logits[np.arange(B), label][:, None]).sum(1)
    _, metrics = run(make(NAMES[0]), params, batch, train=False)
    assert metrics["accuracy"] == pytest.approx((ranks == 0).mean())
    assert metrics["top5"] == pytest.approx((ranks < 5).mean())
    assert 0 < (ranks < 5).mean() < 1
    assert set(run(make(NAMES[0]), params, batch)[1]) == {"accuracy"}


def test_top5_of_three_classes_is_one():
    rng = np.random.default_rng(0)
    batch = {"image": rng.normal(size=(B, 1, 1, 3)), "label": rng.integers(0, 3, B)}
    identity = lambda params, state, images, train, key=None: (images[:, 0, 0], {"calls": 1})  # noqa: E731
    _, metrics = run(make(NAMES[0], num_classes=3), None, batch, False, identity)
    assert metrics["top5"] == 1


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_logits_are_summed_in_float32(name):
    """Large logits whose exponentials and sums would overflow or round away in bfloat16."""
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(B, C)) * 30, jnp.bfloat16)
    half = lambda params, state, images, train, key=None: (logits, {"calls": 1})  # noqa: E731
    label = rng.integers(0, C, B)
    found, _ = run(make(name), None, {"image": np.zeros(B), "label": label}, apply=half)
    exact = np.asarray(logits, np.float64)
    if name == "softmax_cross_entropy":
        wanted = np.logaddexp.reduce(exact, 1) - exact[np.arange(B), label]
    else:
        wanted = (np.logaddexp(0, exact) - exact * np.eye(C)[label]).sum(1)
    assert found == pytest.approx(wanted.mean(), rel=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"class_weights": (1.0, 2.0)}, "objective.class_weights: 2 weights for 7 classes"),
        ({"class_weights": (0.0,) * C}, "not all zero"),
        ({"class_weights": (-1.0,) * C}, "not negative"),
        ({"label_smoothing": 1.0}, r"objective.label_smoothing: 1.0 is outside \[0, 1\)"),
        ({"name": "softmax_crossentropy"}, "did you mean 'softmax_cross_entropy'"),
    ],
)
def test_refusals(fields, message):
    with pytest.raises(UserError, match=message) as error:
        make(**{"name": NAMES[0]} | fields)
    assert "\n" not in str(error.value)


def test_names():
    assert OBJECTIVES.names() == sorted(NAMES)
