# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Where the tokens of a block lie on the image, and which of them look at each other."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from vit_jax.layers.patch import grid_size
from vit_jax.layers.window import Pair, fit_window
from vit_jax.models.mixer import MixerSpec
from vit_jax.models.swin import SwinSpec
from vit_jax.models.vit import ViTSpec


@dataclasses.dataclass(frozen=True)
class Windows:
    """The windows of a Swin block on its map, see `vit_jax.layers.window`."""

    size: Pair
    shift: Pair
    pad_first: bool


@dataclasses.dataclass(frozen=True)
class Block:
    """One block's tokens.

    Attributes:
        name: of its features, such as "block_00".
        grid: rows and columns of tokens on the image.
        pixels: of the image a token, along a side.
        prefix: tokens ahead of those of the grid.
        heads: of its attention; 0 for a block without.
        windows: what attention is confined to, or None.
    """

    name: str
    grid: Pair
    pixels: int
    prefix: int = 0
    heads: int = 0
    windows: Windows | None = None

    @property
    def maps(self) -> int:
        """Attention maps of one image: one a head and window."""
        if self.windows is None:
            return self.heads
        return self.heads * math.prod(
            -(-side // window) for side, window in zip(self.grid, self.windows.size, strict=True)
        )

    @property
    def tokens(self) -> int:
        """The tokens that attend to each other: the side of an attention map."""
        return math.prod(self.grid if self.windows is None else self.windows.size) + self.prefix

    @property
    def covered(self) -> Pair:
        """Height and width, in pixels, that the tokens cover: the image, or more than it has."""
        return self.grid[0] * self.pixels, self.grid[1] * self.pixels

    def token_at(self, pixel: Pair) -> Pair:
        """Returns the token (row, column) that covers a pixel (y, x)."""
        return pixel[0] // self.pixels, pixel[1] // self.pixels


def blocks(spec: Any, size: Pair | None = None) -> tuple[Block, ...]:
    """Returns the blocks of a ViT, Swin or Mixer for images of `size`; () of another family.

    Raises:
        UserError: the patches do not divide the images.
    """
    size = size or spec.size
    return next(
        (make(spec, size) for kind, make in _FAMILIES.items() if isinstance(spec, kind)), ()
    )


def _vit(spec: ViTSpec, size: Pair) -> tuple[Block, ...]:
    grid = grid_size(*size, spec.patch_size, spec.stem_stride)
    pixels = spec.patch_size * spec.stem_stride
    return tuple(
        Block(f"block_{i:02d}", grid, pixels, spec.num_prefix, spec.num_heads)
        for i in range(spec.depth)
    )


def _mixer(spec: MixerSpec, size: Pair) -> tuple[Block, ...]:
    grid = grid_size(*size, spec.patch_size)
    return tuple(Block(f"block_{i:02d}", grid, spec.patch_size) for i in range(spec.depth))


def _swin(spec: SwinSpec, size: Pair) -> tuple[Block, ...]:
    found = []
    for stage, depth in enumerate(spec.depths):
        pixels = spec.patch_size * 2**stage
        grid = -(-size[0] // pixels), -(-size[1] // pixels)
        window, shift = fit_window(spec.stage_window(stage), grid)
        for i in range(depth):
            windows = Windows(window, shift if i % 2 else (0, 0), spec.pad_first)
            name = f"block_{spec.first_block(stage) + i:02d}"
            found.append(Block(name, grid, pixels, 0, spec.num_heads[stage], windows))
    return tuple(found)


_FAMILIES: dict[type, Callable[[Any, Pair], tuple[Block, ...]]] = {
    ViTSpec: _vit,
    SwinSpec: _swin,
    MixerSpec: _mixer,
}


def as_map(features: Any, spec: Any, size: Pair) -> Any:
    """Returns features of a block or the stem as a map: `[B, N, D]` to `[B, h, w, D]`.

    Tokens ahead of the grid are left out; what is a map already comes back as it is.
    """
    if features.ndim == 4:
        return features
    block = blocks(spec, size)[0]
    patches = features[:, block.prefix :]
    return patches.reshape(len(features), *block.grid, features.shape[-1])


def depth(name: str) -> int:
    """Returns how many blocks a map has passed: 0 of "stem" and others, n + 1 of "block_n"."""
    kind, _, number = name.partition("_")
    return int(number) + 1 if kind == "block" else 0


def distances(points: np.ndarray) -> np.ndarray:
    """Returns the Euclidean distances `[..., N, N]` of points `[..., N, 2]`."""
    return np.linalg.norm(points[..., :, None, :] - points[..., None, :, :], axis=-1)


def points(grid: Pair) -> np.ndarray:
    """Returns (row, column) of the tokens of a grid, row by row, float `[h * w, 2]`."""
    return np.indices(grid).reshape(2, -1).T.astype(float)
