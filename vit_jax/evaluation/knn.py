# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Weighted nearest-neighbour classification of features, as DINO is measured (arXiv 2104.14294)."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vit_jax.evaluation.features import Features

NEIGHBOURS = (10, 20, 100, 200)
TEMPERATURE = 0.07

_SIMILARITIES = 2**27  # computed at once: half a GiB


def evaluate(
    train: Features, test: Features, neighbours: Sequence[int] = NEIGHBOURS
) -> list[dict[str, Any]]:
    """Returns {"k", "accuracy", "top5"} for each number of neighbours that there are examples for.

    Features are scaled to length one; each of the k training examples of the highest cosine
    similarity s votes for its class with weight exp(s / 0.07).
    """
    ks = tuple(k for k in neighbours if k <= len(train)) or (len(train),)
    best = classify(train, test.values, ks)
    right = best == test.labels[None, :, None]
    return [
        {"k": k, "accuracy": float(hits[:, 0].mean()), "top5": float(hits.any(-1).mean())}
        for k, hits in zip(ks, right, strict=True)
    ]


def classify(train: Features, queries: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """Returns the up to five classes with most votes, int `[len(ks), queries, 5]`, most first."""
    rows = int(np.clip(_SIMILARITIES // len(train), 1, 1024))
    known = jnp.asarray(_normalised(train.values))
    labels = jnp.asarray(train.labels)
    parts = []
    for start in range(0, len(queries), rows):
        part = _normalised(queries[start : start + rows])
        padded = np.pad(part, ((0, rows - len(part)), (0, 0)))
        found = _vote(known, labels, padded, tuple(ks), train.num_classes)
        parts.append(np.asarray(found)[:, : len(part)])
    return np.concatenate(parts, axis=1)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _vote(
    known: jax.Array, labels: jax.Array, queries: jax.Array, ks: tuple[int, ...], num_classes: int
) -> jax.Array:
    similarity = jnp.matmul(queries, known.T, precision=jax.lax.Precision.HIGHEST)
    nearest, index = jax.lax.top_k(similarity, max(ks))
    weights, classes = jnp.exp(nearest / TEMPERATURE), labels[index]
    row = jnp.arange(len(queries))[:, None]
    best = []
    for k in ks:
        votes = jnp.zeros((len(queries), num_classes))
        votes = votes.at[row, classes[:, :k]].add(weights[:, :k])
        best.append(jax.lax.top_k(votes, min(5, num_classes))[1])
    return jnp.stack(best)


def _normalised(values: np.ndarray) -> np.ndarray:
    return values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-12)
