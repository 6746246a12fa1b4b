# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Convolutions on maps `[B, H, W, C]`, kernels `[h, w, inputs, outputs]`."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vit_jax.layers.linear import lecun_normal
from vit_jax.layers.norm import standardise


class StandardisedConv(nn.Module):
    """A convolution with standardised weights and no bias (Qiao et al., 2019, arXiv 1903.10520).

    The kernel that is applied has mean 0 and variance 1 over the weights of each output channel,
    in float32: (w - E[w]) / sqrt(Var[w] + eps), as in timm; Google's code divides by
    (sqrt(Var[w]) + 1e-5) instead. The learned kernel is the one before.

    Padding is TensorFlow's "SAME": `[B, H, W, C]` to `[B, H/stride, W/stride, features]`, rounded
    up; where the zeros do not go evenly, one more is below and to the right.
    """

    features: int
    kernel_size: int
    stride: int = 1
    eps: float = 1e-8
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", lecun_normal, shape, self.param_dtype)
        kernel = standardise(kernel.astype(jnp.float32), self.eps, (0, 1, 2))
        return jax.lax.conv_general_dilated(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            (self.stride, self.stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
