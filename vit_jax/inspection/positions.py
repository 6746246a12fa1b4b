# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a model knows of places before it has seen anything: position tables and patch filters."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from vit_jax.inspection.geometry import blocks
from vit_jax.layers.norm import standardise
from vit_jax.layers.position import sincos_2d
from vit_jax.layers.window import Pair
from vit_jax.models.vit import ViTSpec

# The kernels that read pixels, those ahead of others first.
READERS = ("stem/root/conv/kernel", "root/conv/kernel", "patch_embed/kernel")


def table(spec: ViTSpec, params: Mapping[str, Any], size: Pair | None = None) -> np.ndarray:
    """Returns a ViT's positions of the patches, `[h, w, D]`, without those of other tokens."""
    grid = blocks(spec, size)[0].grid
    if spec.position == "sincos":
        return sincos_2d(*grid, spec.width).reshape(*grid, spec.width)
    prefix = spec.num_prefix if spec.positions_of_prefix else 0
    return np.asarray(params["pos_embed"], np.float32)[prefix:].reshape(*grid, spec.width)


def similarity(table: np.ndarray) -> np.ndarray:
    """Returns the cosine of every pair of positions: `[h, w, D]` to `[h, w, h, w]`.

    ViT paper (arXiv 2010.11929), figure 7 centre: tile (i, j) is how alike the position of row i
    and column j is to all others.
    """
    unit = table.astype(np.float64)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=-1, keepdims=True), 1e-30)
    return np.einsum("ijd,kld->ijkl", unit, unit)


def pixel_kernel(spec: Any, params: Mapping[str, Any]) -> tuple[str, np.ndarray] | None:
    """Returns the path and value of the kernel `[P, P, C, D]` that reads the pixels, or None.

    That is the patch embedding; of a convolutional network or a hybrid, the first convolution, as
    it is applied: in a hybrid and a BiT with mean 0 and variance 1 of each filter.
    """
    flat = flatten_dict(params, sep="/")
    path = next((path for path in READERS if path in flat), None)
    if path is None:
        return None
    kernel = np.asarray(flat[path], np.float32)
    standardised = getattr(spec, "standardised", path.startswith("stem/"))
    return path, np.asarray(standardise(kernel, 1e-8, (0, 1, 2))) if standardised else kernel


def patch_components(kernel: np.ndarray, count: int = 28) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first principal components of the filters of a patch embedding.

    ViT paper (arXiv 2010.11929), figure 7 left: of D filters of P x P pixels, minus their mean, the
    directions in which they differ most.

    Args:
        kernel: `[P, P, C, D]`.
        count: how many, at most as many as there are.

    Returns:
        Components `[count, P, P, C]` of unit length, the largest entry positive, and the share of
        the variance of each, `[count]`.
    """
    filters = kernel.reshape(-1, kernel.shape[-1]).T.astype(np.float64)
    _, lengths, directions = np.linalg.svd(filters - filters.mean(axis=0), full_matrices=False)
    shares = lengths**2 / max(float((lengths**2).sum()), 1e-30)
    return oriented(directions[:count]).reshape(-1, *kernel.shape[:3]), shares[:count]


def oriented(directions: np.ndarray) -> np.ndarray:
    """Returns rows `[n, D]` with the sign that makes the entry of largest size positive."""
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], axis=1)
    return directions * np.where(largest < 0, -1.0, 1.0)
