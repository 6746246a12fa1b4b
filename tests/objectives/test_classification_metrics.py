# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Accuracies and calibration against definitions spelt out example by example in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import recall_score

from vit_jax.objectives import metrics

B, C = 203, 9
RNG = np.random.default_rng(0)


def draw(scale=1.0):
    logits = RNG.normal(size=(B, C)).astype(np.float32) * scale
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return logits, probabilities.astype(np.float32), RNG.integers(0, C - 1, B)  # class 8 is absent


def over_batches(logits, probabilities, labels, mask, size=16):
    """Returns the summary of means that were computed batch by batch and added up."""
    totals, count = {}, mask.sum()
    measure = jax.jit(metrics.measure)
    for start in range(0, len(mask), size):
        rows = slice(start, start + size)
        means = measure(logits[rows], probabilities[rows], labels[rows], mask[rows])
        for name, value in means.items():
            part = np.asarray(value, np.float64) * mask[rows].sum()
            totals[name] = totals.get(name, 0) + part
    return metrics.summarise({name: total / count for name, total in totals.items()})


def calibration_error(confidence, right, bins=15):
    """arXiv 1706.04599, equations 2, 3 and 5, bin by bin; bins are open below, closed above."""
    total = 0.0
    for number in range(1, bins + 1):
        inside = [i for i, p in enumerate(confidence) if (number - 1) / bins < p <= number / bins]
        if inside:
            gap = np.mean([right[i] for i in inside]) - np.mean([confidence[i] for i in inside])
            total += len(inside) / len(confidence) * abs(gap)
    return total


@pytest.mark.parametrize("scale", [0.1, 1.0, 8.0])
def test_over_batches_and_padding(scale):
    logits, probabilities, labels = draw(scale)
    mask = (RNG.uniform(size=B) < 0.8).astype(np.float32)
    kept = mask > 0
    noisy = np.where(kept[:, None], logits, np.nan)
    found = over_batches(noisy, np.where(kept[:, None], probabilities, np.nan),
                         np.eye(C, dtype=np.float32)[labels], mask)  # fmt: skip
    guess = logits.argmax(-1)
    right = (guess == labels)[kept]
    assert found["accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    present = np.unique(labels[kept])
    recall = recall_score(labels[kept], guess[kept], labels=present, average="macro")
    assert found["mean_class_accuracy"] == pytest.approx(recall, abs=1e-6)
    confidence = probabilities.astype(np.float64).max(-1)[kept]
    assert found["calibration_error"] == pytest.approx(
        calibration_error(confidence, right), abs=1e-6
    )
    assert found["mean_class_accuracy"] != pytest.approx(found["accuracy"], abs=1e-3)


def test_any_of_several_labels_is_right():
    logits, probabilities, _ = draw()
    labels = (RNG.uniform(size=(B, C)) < 0.3).astype(np.float32)
    labels[:, 0] = 1
    labels /= labels.sum(-1, keepdims=True)
    found = metrics.measure(logits, probabilities, labels, jnp.ones(B))
    guesses = np.argsort(-logits, axis=-1)
    for name, count in (("accuracy", 1), ("top5", 5)):
        right = [any(labels[i, c] > 0 for c in guesses[i, :count]) for i in range(B)]
        assert found[name] == pytest.approx(np.mean(right), abs=1e-6)


def test_confidence_on_the_edges_of_bins():
    probabilities = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 0.0]], np.float32)
    means = metrics.measure(probabilities, probabilities, np.eye(2)[[0, 0, 0]], jnp.ones(3))
    assert means["calibration"][0].tolist() == pytest.approx(
        [0] * 7 + [0.5 / 3] + [0] * 6 + [1 / 3]
    )


def test_a_perfectly_calibrated_model_has_no_error():
    confidence = np.repeat([0.25, 0.75], 400).astype(np.float32)
    right = np.concatenate([np.arange(400) < 100, np.arange(400) < 300])
    probabilities = np.stack([confidence, np.zeros(800, np.float32)], -1)
    labels = np.eye(2)[np.where(right, 0, 1)]
    summary = metrics.summarise(
        metrics.measure(probabilities, probabilities, labels, jnp.ones(800))
    )
    assert summary["calibration_error"] == pytest.approx(0, abs=1e-6)


def test_nothing_measured_is_not_a_number():
    logits, probabilities, labels = draw()
    found = metrics.summarise(
        metrics.measure(logits, probabilities, np.eye(C)[labels], jnp.zeros(B))
    )
    assert np.isnan(found["mean_class_accuracy"])
