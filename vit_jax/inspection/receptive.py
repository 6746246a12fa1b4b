# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Receptive fields: which pixels a place of a map answers to."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vit_jax.inspection.geometry import as_map, blocks, depth
from vit_jax.layers.window import Pair

Maps = Callable[[Any, jax.Array], Mapping[str, jax.Array]]  # variables, images -> [B, h, w, D] each


def fields(
    maps: Maps,
    variables: Any,
    images: Any,
    at: tuple[float, float] = (0.5, 0.5),
    *,
    covered: Mapping[str, Pair] | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Returns the effective receptive field of one place of every map.

    As Luo et al. 2016 (arXiv 1701.04128): the size of the derivative of the place's features with
    respect to each pixel, averaged over inputs. The features are summed with random signs, other
    ones for each input, where the paper has one channel: a plain sum would be blind to what leaves
    it unchanged.

    Args:
        maps: a function of variables and images.
        variables: what it takes.
        images: `[B, H, W, C]`, random ones or pictures.
        at: the place as shares of height and width.
        covered: height and width that a map covers, of those that reach beyond the images.
        seed: of the signs.

    Returns:
        name -> `[H, W]` float64, sum 1 (0 where nothing is answered to); absolute derivatives,
        summed over the colours of a pixel.
    """
    images = jnp.asarray(images)
    shapes = jax.eval_shape(maps, variables, images)
    found = {}
    for index, (name, shape) in enumerate(shapes.items()):
        key = jax.random.fold_in(jax.random.key(seed), index)
        signs = jax.random.rademacher(key, (shape.shape[0], shape.shape[-1]), shape.dtype)
        height, width = (covered or {}).get(name, images.shape[1:3])
        share = at[0] * images.shape[1] / height, at[1] * images.shape[2] / width
        row, column = place(shape.shape[1:3], share)
        seeds = {n: jnp.zeros(s.shape, s.dtype) for n, s in shapes.items()}
        seeds[name] = seeds[name].at[:, row, column].set(signs)
        gradient = np.asarray(_pull_back(maps, variables, images, seeds), np.float64)
        size = np.abs(gradient).sum(axis=-1).mean(axis=0)
        found[name] = size / max(float(size.sum()), 1e-300)
    return found


@functools.partial(jax.jit, static_argnums=0)
def _pull_back(maps: Maps, variables: Any, images: jax.Array, seeds: Any) -> jax.Array:
    """One program for all maps: those not in question have a gradient of zero."""
    return jax.vjp(functools.partial(maps, variables), images)[1](seeds)[0]


def place(grid: tuple[int, ...], at: tuple[float, float]) -> tuple[int, int]:
    """Returns the row and column of a grid at shares of its height and width."""
    row, column = (min(int(share * n), n - 1) for share, n in zip(at, grid, strict=True))
    return row, column


def of_model(
    model: Any,
    variables: Mapping[str, Any],
    images: Any,
    at: tuple[float, float] = (0.5, 0.5),
    names: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Returns `fields` of a model's features: of "stem" and each block, or of those in `names`."""
    maps = _features(model, tuple(names))
    found = fields(maps, variables, images, at, covered=_covered(model, images), seed=seed)
    return {name: found[name] for name in sorted(found, key=depth)}


def _covered(model: Any, images: Any) -> dict[str, Pair]:
    """Returns what the stem's and the blocks' tokens cover, where they lie in a grid."""
    covered = {block.name: block.covered for block in blocks(model.spec, images.shape[1:3])}
    return covered | {"stem": covered["block_00"]} if covered else {}


@functools.lru_cache(maxsize=8)  # the same function for the same model, so that it compiles once
def _features(model: Any, names: tuple[str, ...]) -> Maps:
    def maps(variables: Any, images: jax.Array) -> dict[str, jax.Array]:
        _, found = model.apply(variables, images, train=False, features=True)
        chosen = names or [name for name in found if name == "stem" or name.startswith("block_")]
        size = images.shape[1], images.shape[2]
        return {name: as_map(found[name], model.spec, size) for name in chosen}

    return maps


def spread(field: np.ndarray) -> float:
    """Returns how far a field reaches: root of the mean square distance from its mean, pixels."""
    total = field.sum()
    if not total:
        return 0.0
    rows, columns = (np.arange(n) for n in field.shape)
    down, across = field.sum(axis=1) / total, field.sum(axis=0) / total
    variance = down @ (rows - down @ rows) ** 2 + across @ (columns - across @ columns) ** 2
    return float(np.sqrt(variance))
