# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Attention maps as what they say about a picture. Maps are `[B, H, N, N]`, rows are queries."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vit_jax.inspection.geometry import Block, depth, distances, points


def rollout(maps: Sequence[np.ndarray], residual: float = 0.5) -> np.ndarray:
    """Returns how much of each token of the input is in each token behind the last layer.

    Attention rollout (Abnar and Zuidema 2020, arXiv 2005.00928, section 3): with A the mean over
    the heads, each layer is `residual I + (1 - residual) A`, and layers multiply, the first one
    rightmost.

    Args:
        maps: of the layers in their order, `[B, H, N, N]` each.
        residual: share of the residual branch.

    Returns:
        `[B, N, N]` float64; rows sum to 1 as those of the maps do.
    """
    batch, _, tokens, _ = maps[0].shape
    product = np.broadcast_to(np.eye(tokens), (batch, tokens, tokens))
    for layer in maps:
        attention = layer.astype(np.float64).mean(axis=1)
        product = (residual * np.eye(tokens) + (1 - residual) * attention) @ product
    return product


def readout(spec: Any, maps: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns with which weights a ViT's head reads the last tokens, `[B or 1, N]`, sum 1.

    The class token alone (of a distilled model half of it, half of the other token); each patch
    alike; or the mean over the heads of a MAP head's map, `maps["pool"]`.
    """
    if spec.pool == "map":
        return maps["pool"].astype(np.float64).mean(axis=1)[:, 0]
    weights = np.zeros((1, maps["block_00"].shape[-1]))
    read = slice(spec.num_prefix, None) if spec.pool == "gap" else slice(1 + spec.distilled)
    weights[:, read] = 1.0
    return weights / weights.sum()


def over_picture(rows: np.ndarray, block: Block) -> np.ndarray:
    """Returns rows of maps on the picture's grid: `[..., N]` to `[..., h, w]`.

    The tokens ahead of the patches are left out.
    """
    return rows[..., block.prefix :].reshape(*rows.shape[:-1], *block.grid)


def rollout_of_answer(spec: Any, maps: Mapping[str, np.ndarray], block: Block) -> np.ndarray:
    """Returns how much of each patch is in what a ViT's head reads, by rollout: `[B, h, w]`."""
    layers = [maps[name] for name in sorted(maps, key=depth) if name != "pool"]
    flow = rollout(layers)
    read = np.broadcast_to(readout(spec, maps), flow.shape[:2])
    return over_picture(np.einsum("bn,bnm->bm", read, flow), block)


def mean_distance(maps: np.ndarray, block: Block) -> np.ndarray:
    """Returns how far each head of one layer looks, in pixels: `[B, H, N, N]` to `[H]`.

    Mean attention distance (ViT paper, arXiv 2010.11929, figure 7 right and appendix D.7): the
    distance from the query's patch to the others, weighted by attention, averaged over all queries
    and images. Tokens ahead of the patches have no place: they are left out as queries and as
    keys, and rows are scaled to sum 1 again. A query that looks at no patch at all does not count.
    """
    weights = maps[..., block.prefix :, block.prefix :].astype(np.float64)
    return average_distance(weights, block.pixels * distances(points(block.grid)))


def average_distance(weights: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Returns the mean of distances `[N, N]`, weighted by rows of `[B, H, N, N]`: `[H]`."""
    total = weights.sum(axis=-1)
    reached = np.einsum("bhnm,nm->bhn", weights, apart)
    reached = np.divide(reached, total, out=np.zeros_like(total), where=total > 0)
    return reached.sum(axis=(0, 2)) / np.maximum((total > 0).sum(axis=(0, 2)), 1)
