# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Position tables, relative position biases and patch kernels in other sizes.

Every resize here acts on rows and columns separately, so each is two small matrices `[new, old]`,
computed in float64. The named methods are those of the projects whose weights are resized; the
tests hold each against the original.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np

from vit_jax.errors import UserError
from vit_jax.registry import near_misses

Pair = tuple[int, int]
Matrix = Callable[[int, int], np.ndarray]  # (old, new) -> [new, old]


def cubic(a: float) -> Callable[[np.ndarray], np.ndarray]:
    """Returns Keys' cubic convolution kernel (1981) with parameter a; it is 0 beyond 2."""

    def kernel(x: np.ndarray) -> np.ndarray:
        x = np.abs(x)
        near = ((a + 2) * x - (a + 3)) * x**2 + 1
        far = a * (((x - 5) * x + 8) * x - 4)
        return np.where(x <= 1, near, np.where(x < 2, far, 0.0))

    return kernel


def antialiased_cubic(old: int, new: int) -> np.ndarray:
    """Cubic (a = -0.5), stretched where it shrinks, renormalised at the borders: `[new, old]`.

    That of torch's `interpolate(mode="bicubic", antialias=True)`, of PIL and of jax.image.resize.
    """
    scale = old / new
    centres = (np.arange(new)[:, None] + 0.5) * scale
    distances = np.arange(old)[None, :] + 0.5 - centres
    weights = cubic(-0.5)(distances / max(scale, 1.0))
    return weights / weights.sum(axis=1, keepdims=True)


def plain_cubic(old: int, new: int) -> np.ndarray:
    """Cubic (a = -0.75) on four neighbours, border pixels repeated: `[new, old]`.

    That of torch's `interpolate(mode="bicubic")`.
    """
    return _from_neighbours(old, new, cubic(-0.75), range(-1, 3))


def plain_linear(old: int, new: int) -> np.ndarray:
    """Linear between two neighbours, border pixels repeated: TensorFlow's `image.resize`."""
    return _from_neighbours(old, new, lambda x: 1 - np.abs(x), range(2))


def _from_neighbours(
    old: int, new: int, kernel: Callable[[np.ndarray], np.ndarray], neighbours: range
) -> np.ndarray:
    """Interpolates between pixel centres, without antialiasing."""
    positions = (np.arange(new) + 0.5) * (old / new) - 0.5
    first = np.floor(positions).astype(int)
    matrix = np.zeros((new, old))
    for offset in neighbours:
        columns = np.clip(first + offset, 0, old - 1)
        matrix[np.arange(new), columns] += kernel(positions - (first + offset))
    return matrix


def corner_linear(old: int, new: int) -> np.ndarray:
    """Linear with first on first and last on last: `[new, old]`; scipy's `zoom(order=1)`."""
    return _between(np.linspace(0, old - 1, new), np.arange(old))


def geometric(old: int, new: int) -> np.ndarray:
    """Linear from points whose distances from the centre grow geometrically: `[new, old]`.

    What BEiT's code does to relative positions, with timm's linear interpolation: near neighbours
    keep their bias and far ones are stretched, such that the outermost old offset becomes about the
    outermost new one. Both lengths are odd.
    """
    half = old // 2
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if (1 - ratio**half) / (1 - ratio) > new // 2:
            high = ratio
        else:
            low = ratio
    outwards = np.cumsum(ratio ** np.arange(half))
    points = np.concatenate([-outwards[::-1], [0.0], outwards])
    return _between(np.arange(new) - new // 2, points)


def _between(wanted: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Linear interpolation from values at `points` to `wanted`, constant beyond the ends."""
    return np.stack([np.interp(wanted, points, row) for row in np.eye(len(points))], axis=1)


POSITION_METHODS: dict[str, Matrix] = {"bicubic": antialiased_cubic, "zoom": corner_linear}
BIAS_METHODS: dict[str, Matrix] = {"bicubic": plain_cubic, "geometric": geometric}
KERNEL_METHODS: dict[str, Matrix] = {"bicubic": antialiased_cubic, "bilinear": plain_linear}


@dataclasses.dataclass(frozen=True)
class Methods:
    """How each kind of array is resized: a name of the tables above."""

    position: str = "bicubic"
    bias: str = "bicubic"
    kernel: str = "bicubic"


def position_table(
    table: np.ndarray, old: Pair, new: Pair, *, prefix: int = 0, method: str = "bicubic"
) -> np.ndarray:
    """Resizes a table of absolute positions to another grid of patches.

    Args:
        table: `[prefix + h * w, D]`, row by row behind `prefix` rows that are kept.
        old: its (h, w).
        new: the (h, w) wanted.
        method: "bicubic", antialiased (timm's `resample_abs_pos_embed`), or "zoom", linear with
            aligned corners (vision_transformer and big_vision).

    Returns:
        `[prefix + h' * w', D]` in the table's dtype.

    Raises:
        UserError: the table has another number of rows, or there is no such method.
    """
    if len(table) != prefix + math.prod(old):
        raise UserError(
            f"a position table of {len(table)} rows is not one of {old[0]}x{old[1]} patches "
            f"and {prefix} tokens ahead of them"
        )
    matrix = _choose(POSITION_METHODS, method)
    patches = _resize(table[prefix:].reshape(*old, -1), new, matrix)
    patches = patches.reshape(math.prod(new), -1).astype(table.dtype)
    return np.concatenate([table[:prefix], patches])


def relative_position_bias(
    table: np.ndarray, old: Pair, new: Pair, *, method: str = "bicubic"
) -> np.ndarray:
    """Resizes a table of relative position biases to another window.

    Args:
        table: `[(2h-1) * (2w-1), heads]`, offset (0, 0) in the middle.
        old: its window (h, w).
        new: the window (h, w) wanted.
        method: "bicubic", which stretches all offsets alike (Swin's own code), or "geometric",
            which stretches far ones more than near ones (BEiT's and timm's).

    Returns:
        `[(2h'-1) * (2w'-1), heads]` in the table's dtype.

    Raises:
        UserError: the table has another number of rows, or there is no such method.
    """
    offsets, wanted = _offsets(old), _offsets(new)
    if len(table) != math.prod(offsets):
        raise UserError(
            f"a table of {len(table)} relative positions is not one of a window of "
            f"{old[0]}x{old[1]}, which has {math.prod(offsets)}"
        )
    resized = _resize(table.reshape(*offsets, -1), wanted, _choose(BIAS_METHODS, method))
    return resized.reshape(math.prod(wanted), -1).astype(table.dtype)


def patch_kernel(kernel: np.ndarray, new: Pair, *, method: str = "bicubic") -> np.ndarray:
    """Resizes the kernel of a patch embedding to another patch, FlexiViT's way (arXiv 2212.08013).

    If B resizes patches, the new kernel is `pinv(B)^T w`: where the patch grows, the embedding of a
    resized patch is exactly that of the patch, `<B x, pinv(B)^T w> = <x, w>`; where it shrinks, as
    close as least squares gets. B acts on rows and columns apart, and so does its pseudo-inverse.

    Args:
        kernel: `[P, Q, C, D]`.
        new: rows and columns of the patch wanted.
        method: how B resizes, "bicubic" with antialiasing (timm's `resample_patch_embed`) or
            "bilinear" without (big_vision's `resample_patchemb`).

    Returns:
        `[P', Q', C, D]` in the kernel's dtype.

    Raises:
        UserError: there is no such method.
    """
    resize = _choose(KERNEL_METHODS, method)
    matrix = functools.partial(_inverse_transposed, resize)
    return _resize(kernel, new, matrix).astype(kernel.dtype)


def _inverse_transposed(resize: Matrix, old: int, new: int) -> np.ndarray:
    return np.linalg.pinv(resize(old, new)).T


def _resize(image: np.ndarray, new: Pair, matrix: Matrix) -> np.ndarray:
    """`[h, w, ...]` to `[h', w', ...]` in float64; the same array where nothing changes."""
    if image.shape[:2] == new:
        return image
    rows, columns = (matrix(o, n) for o, n in zip(image.shape[:2], new, strict=True))
    return np.einsum("ah,bw,hw...->ab...", rows, columns, image.astype(np.float64), optimize=True)


def _offsets(window: Pair) -> Pair:
    return 2 * window[0] - 1, 2 * window[1] - 1


def _choose(methods: dict[str, Matrix], name: str) -> Matrix:
    if name not in methods:
        hint = near_misses(name, methods) or f"; known: {', '.join(methods)}"
        raise UserError(f"unknown method of resizing {name!r}{hint}")
    return methods[name]
