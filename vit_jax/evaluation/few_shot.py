# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Few-shot linear regression on features: what a few examples of each class are enough for.

The measure of the ViT paper (arXiv 2010.11929, section 4.1): regularised least squares from
features to the classes as vectors, solved in closed form.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from vit_jax.evaluation.features import Features, linear_accuracy, statistics

SHOTS = (1, 5, 10, 25)
SEEDS = (0, 1, 2)
L2 = tuple(2.0**power for power in range(-10, 21, 2))


@dataclasses.dataclass(frozen=True)
class Ridge:
    """The solutions, for every strength of regularisation, of

        min_W,b  sum_i |W' z_i + b - y_i|^2 + l2 |W|^2

    where z are features standardised over the examples given and y is one-hot: all from one
    eigendecomposition, in float64. The bias is not regularised.

    Attributes:
        mean: of the features, `[D]`.
        std: of the features, `[D]`.
        bias: `[C]`, the share of each class.
        left: `[D, r]`; the kernel is `left diag(1 / (eigenvalues + l2)) right`.
        eigenvalues: `[r]`.
        right: `[r, C]`.
    """

    mean: np.ndarray
    std: np.ndarray
    bias: np.ndarray
    left: np.ndarray
    eigenvalues: np.ndarray
    right: np.ndarray

    @classmethod
    def fit(cls, examples: Features) -> "Ridge":
        """Decomposes the Gram matrix of features or of examples, whichever is smaller."""
        mean, std = statistics(examples.values)
        z = (examples.values - mean) / std
        y = np.eye(examples.num_classes)[examples.labels]
        if len(z) < z.shape[1]:
            eigenvalues, q = np.linalg.eigh(z @ z.T)
            left, right = z.T @ q, q.T @ (y - y.mean(0))
        else:
            eigenvalues, q = np.linalg.eigh(z.T @ z)
            left, right = q, q.T @ (z.T @ y)
        return cls(mean, std, y.mean(0), left, np.maximum(eigenvalues, 0), right)

    def solve(self, l2: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns kernel `[D, C]` and bias `[C]` for features that are not standardised."""
        kernel = (self.left / (self.eigenvalues + l2)) @ self.right / self.std[:, None]
        return kernel, self.bias - self.mean @ kernel


def choose(train: Features, shots: int, seed: int) -> Features:
    """Returns `shots` random examples of each class, or all where there are fewer."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(train))
    order = order[np.argsort(train.labels[order], kind="stable")]
    first = np.searchsorted(train.labels[order], train.labels[order])
    return train.take(order[np.arange(len(order)) - first < shots])


def evaluate(
    train: Features,
    validation: Features,
    test: Features,
    shots: Sequence[int] = SHOTS,
    seeds: Sequence[int] = SEEDS,
) -> list[dict[str, Any]]:
    """Returns {"shots", "accuracy", "top5", "spread", "learnt_from", "l2"} for each of `shots`.

    For each seed other examples are drawn and l2 is chosen anew, by accuracy on `validation`, the
    larger where two are alike. The accuracies are means over seeds, `spread` is their standard
    deviation; "learnt_from" is the number of examples, less than shots times classes where a class
    has too few.
    """
    rows = []
    for count in shots:
        found, chosen = [], []
        for seed in seeds:
            examples = choose(train, count, seed)
            ridge = Ridge.fit(examples)
            l2 = max(reversed(L2), key=lambda l2: _accuracy(ridge, l2, validation)[0])
            chosen.append(l2)
            found.append(_accuracy(ridge, l2, test))
        top1, top5 = np.array(found).T
        row = {"shots": count, "accuracy": float(top1.mean()), "top5": float(top5.mean())}
        row["spread"] = float(top1.std(ddof=1)) if len(seeds) > 1 else 0.0
        rows.append({**row, "learnt_from": len(examples), "l2": chosen})
    return rows


def _accuracy(ridge: Ridge, l2: float, data: Features) -> tuple[float, float]:
    return linear_accuracy(data.values, data.labels, *ridge.solve(l2))
