# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""How good classifications are: sums over examples that any number of devices can add up.

`measure` runs inside the compiled step. What is no mean over examples, like the mean over classes,
it leaves as a mean of vectors, a few numbers a class: `summarise` makes scalars of them at the end.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

CALIBRATION_BINS = 15


def measure(
    logits: jax.Array, probabilities: jax.Array, labels: jax.Array, mask: jax.Array
) -> dict[str, jax.Array]:
    """Returns means over the examples whose mask is 1, whatever the others hold; 0 if none is.

    Args:
        logits: `[B, C]`; the order of the classes is theirs.
        probabilities: `[B, C]`, of which the highest is an example's confidence.
        labels: `[B, C]`; right are the classes with the highest label, one or several.
        mask: `[B]`.

    Returns:
        "accuracy" and "top5", float32 scalars: the share of examples with a right class as, or
        among the five, highest logits; "per_class" `[2, C]`: the share of examples of each class,
        and of those that were got right; "calibration" `[2, 15]`: the confidence of the examples in
        each of 15 bins of equal width, and which of them were got right.
    """
    hits = in_top(logits, labels, 1)
    confidence = jnp.clip(probabilities.max(-1), 0.0, 1.0)
    bins = jnp.ceil(confidence * CALIBRATION_BINS).astype(jnp.int32) - 1
    bins = jax.nn.one_hot(jnp.maximum(bins, 0), CALIBRATION_BINS)
    classes = jax.nn.one_hot(labels.argmax(-1), labels.shape[-1])
    return {
        "accuracy": mean(hits, mask),
        "top5": mean(in_top(logits, labels, 5), mask),
        "per_class": _mean_outer(jnp.stack([jnp.ones_like(hits), hits]), classes, mask),
        "calibration": _mean_outer(jnp.stack([confidence, hits]), bins, mask),
    }


def summarise(means: Mapping[str, Any]) -> dict[str, float]:
    """Returns the scalars of `measure`'s means over a whole split; other scalars pass through.

    Returns:
        Of "per_class", "mean_class_accuracy": the mean over the classes that occur of the share of
        their examples that was got right. Of "calibration", "calibration_error": the expected
        calibration error (arXiv 1706.04599, equation 3), the mean over examples of the distance
        between accuracy and confidence in their bin.
    """
    means = {name: np.asarray(value, np.float64) for name, value in means.items()}
    per_class, calibration = means.pop("per_class", None), means.pop("calibration", None)
    scalars = {name: float(value) for name, value in means.items()}
    if per_class is not None:
        share, hits = per_class[:, per_class[0] > 0]
        scalars["mean_class_accuracy"] = float((hits / share).mean()) if len(share) else np.nan
    if calibration is not None:
        confidence, hits = calibration
        scalars["calibration_error"] = float(np.abs(hits - confidence).sum())
    return scalars


def mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the mean of the values `[B]` whose mask is 1, whatever the others are; 0 if none."""
    return jnp.where(mask > 0, values, 0.0).sum() / jnp.maximum(mask.sum(), 1.0)


def in_top(logits: jax.Array, labels: jax.Array, count: int) -> jax.Array:
    """Returns whether a class with the highest label has one of the `count` highest logits, [B]."""
    _, best = jax.lax.top_k(logits, min(count, logits.shape[-1]))
    found = jnp.take_along_axis(labels, best, axis=-1).max(-1)
    return (found == labels.max(-1)).astype(jnp.float32)


def _mean_outer(values: jax.Array, groups: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the mean over examples of `values [K, B]` times `groups [B, G]`, `[K, G]`."""
    values = jnp.where(mask > 0, values, 0.0) / jnp.maximum(mask.sum(), 1.0)
    groups = jnp.where(mask[:, None] > 0, groups, 0.0)
    return jnp.einsum("kb,bg->kg", values, groups, precision=jax.lax.Precision.HIGHEST)
