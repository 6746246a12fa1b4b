# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What the token-mixing MLPs of a Mixer read."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vit_jax.inspection.geometry import depth
from vit_jax.layers.stack import unstack_layers
from vit_jax.models.mixer import MixerSpec


def token_weights(spec: MixerSpec, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns block -> the weights of its hidden units over the patches, `[M, h, w]`.

    Mixer paper (arXiv 2105.01601), figure 5: the first layer of each token-mixing MLP.
    """
    unrolled = unstack_layers(params)
    names = sorted((name for name in unrolled if name.startswith("block_")), key=depth)
    kernels = {name: unrolled[name]["token_mlp"]["fc1"]["kernel"] for name in names}
    return {
        name: np.asarray(kernel, np.float32).T.reshape(-1, *spec.grid)
        for name, kernel in kernels.items()
    }


def opposed_pairs(weights: np.ndarray) -> np.ndarray:
    """Returns the order that puts units of opposed phase side by side, slow ones first.

    As figure 5 of the Mixer paper is sorted: units are paired, the pair of lowest cosine first,
    and pairs are sorted by frequency.

    Args:
        weights: `[M, h, w]`.

    Returns:
        A permutation of the units, int `[M]`; an odd one out comes last.
    """
    flat = weights.reshape(len(weights), -1).astype(np.float64)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-30)
    cosines = flat @ flat.T
    first, second = np.triu_indices(len(flat), 1)
    free = np.ones(len(flat), bool)
    pairs = []
    for k in np.argsort(cosines[first, second], kind="stable"):
        i, j = first[k], second[k]
        if free[i] and free[j]:
            free[[i, j]] = False
            pairs.append((i, j))
    speeds = frequencies(weights)
    pairs.sort(key=lambda pair: speeds[list(pair)].mean())
    return np.concatenate([*pairs, np.flatnonzero(free)]).astype(int)


def frequencies(weights: np.ndarray) -> np.ndarray:
    """Returns how fast filters `[M, h, w]` change, in cycles a patch: `[M]`.

    The mean distance from zero of the frequencies of the plane, weighted by power.
    """
    power = np.abs(np.fft.fft2(weights)) ** 2
    rows, columns = (np.fft.fftfreq(n) for n in weights.shape[1:])
    speed = np.hypot(rows[:, None], columns)
    return (power * speed).sum(axis=(1, 2)) / np.maximum(power.sum(axis=(1, 2)), 1e-30)
