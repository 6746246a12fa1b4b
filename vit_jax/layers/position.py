# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Position tables."""

import numpy as np

from vit_jax.errors import UserError


def sincos_2d(height: int, width: int, dim: int, temperature: float = 1e4) -> np.ndarray:
    """Returns the fixed sine-cosine table of a grid, `[height * width, dim]`, float32.

    As in big_vision (plain ViT, arXiv 2205.01580): with q = dim / 4 frequencies
    f = `temperature ** -(i / (q - 1))`, the channels are sin(x f), cos(x f), sin(y f), cos(y f),
    q each, where x counts columns and y rows; the table runs over the grid row by row.

    Raises:
        UserError: `dim` is not a multiple of 4 of at least 8.
    """
    if dim % 4 or dim < 8:
        raise UserError(f"position='sincos' needs a width in 8, 12, 16, ..., not {dim}")
    frequencies = temperature ** -np.linspace(0.0, 1.0, dim // 4)
    y, x = np.mgrid[:height, :width].reshape(2, -1, 1) * frequencies
    return np.concatenate([np.sin(x), np.cos(x), np.sin(y), np.cos(y)], axis=1).astype(np.float32)
