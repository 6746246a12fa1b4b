# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Images to patches, as one matrix product."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vit_jax.errors import UserError
from vit_jax.layers.linear import Initializer, Linear, lecun_normal, zeros


def grid_size(height: int, width: int, patch_size: int, stride: int = 1) -> tuple[int, int]:
    """Returns the rows and columns of patches of an image, or of a map made of it with a stride.

    Raises:
        UserError: the patch does not divide the image, or the map (whose sides are rounded up).
    """
    rows, columns = -(-height // stride), -(-width // stride)
    if rows % patch_size or columns % patch_size:
        pixels = patch_size * stride
        near = [max(round(side / pixels), 1) * pixels for side in (height, width)]
        stem = f" on a map of stride {stride}" if stride > 1 else ""
        raise UserError(
            f"image size {height}x{width} is not divisible by patch_size {patch_size}{stem}; "
            f"use for example {near[0]}x{near[1]}"
        )
    return rows // patch_size, columns // patch_size


def split_patches(images: jax.Array, patch_size: int) -> jax.Array:
    """Cuts images `[B, H, W, C]` into non-overlapping patches `[B, h, w, P, P, C]`.

    Raises:
        UserError: the patch does not divide the image.
    """
    batch, height, width, channels = images.shape
    h, w = grid_size(height, width, patch_size)
    return images.reshape(batch, h, patch_size, w, patch_size, channels).swapaxes(2, 3)


class PatchEmbed(nn.Module):
    """Projects each patch to `width` channels: `[B, H, W, C]` to `[B, H/P, W/P, D]`.

    The kernel is `[P, P, C, D]`, that of the P x P convolution with stride P which this equals; as
    a product of the cut patches it is faster on CPU.
    """

    patch_size: int
    width: int
    use_bias: bool = True
    kernel_init: Initializer = lecun_normal
    bias_init: Initializer = zeros
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        patches = split_patches(images.astype(self.dtype), self.patch_size)
        # Linear's own parameters (kernel, bias) are this module's: it shares the scope.
        linear = Linear(
            (self.width,),
            num_inputs=3,
            use_bias=self.use_bias,
            kernel_init=self.kernel_init,
            bias_init=self.bias_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        return nn.share_scope(self, linear) or linear(patches)
