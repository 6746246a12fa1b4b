# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The ResNet (arXiv 1512.03385) ahead of a hybrid ViT: GroupNorm and standardised weights.

Blocks activate after the sum, unlike those of BiT, and stride in their 3 x 3 convolution.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vit_jax.layers.convolution import StandardisedConv
from vit_jax.layers.linear import zeros
from vit_jax.layers.norm import GroupNorm
from vit_jax.layers.stack import remat_policy

EXPANSION = 4  # a bottleneck's output channels over those of its 3 x 3 convolution


def resnet_stride(num_stages: int) -> int:
    """Returns the pixels of the image a pixel of the last map: 4 of the root, 2 a later stage."""
    return 4 * 2 ** max(num_stages - 1, 0)


class Root(nn.Module):
    """7 x 7 convolution, norm, ReLU, 3 x 3 pooling: `[B, H, W, C]` to `[B, H/4, W/4, width]`."""

    width: int
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        dtypes: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = StandardisedConv(self.width, 7, 2, name="conv", **dtypes)(images)
        x = jax.nn.relu(GroupNorm(name="norm", **dtypes)(x))
        return nn.max_pool(x, (3, 3), (2, 2), "SAME")


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions added to the input, then ReLU.

    `[B, H, W, C]` to `[B, H/stride, W/stride, 4 width]`; where that is another shape, the input is
    projected to it. The branch is zero at first.
    """

    width: int
    stride: int = 1
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dtypes: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        conv: Any = functools.partial(StandardisedConv, **dtypes)
        norm: Any = functools.partial(GroupNorm, **dtypes)
        outputs = EXPANSION * self.width
        y = jax.nn.relu(norm(name="norm1")(conv(self.width, 1, name="conv1")(x)))
        y = jax.nn.relu(norm(name="norm2")(conv(self.width, 3, self.stride, name="conv2")(y)))
        y = norm(scale_init=zeros, name="norm3")(conv(outputs, 1, name="conv3")(y))
        if x.shape != y.shape:
            x = norm(name="norm_proj")(conv(outputs, 1, self.stride, name="conv_proj")(x))
        return jax.nn.relu(x + y)


class Stage(nn.Module):
    """`depth` bottlenecks, the first of which strides: `block_00`, `block_01`, ..."""

    depth: int
    width: int
    stride: int
    remat: str = "none"
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        block: Any = rematerialised(Bottleneck, self.remat)
        dtypes: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        for i in range(self.depth):
            stride = 1 if i else self.stride
            x = block(self.width, stride, name=f"block_{i:02d}", **dtypes)(x)
        return x


class ResNet(nn.Module):
    """The maps of a ResNet: `[B, H, W, C]` to `[B, h, w, d]`, sides divided and rounded up.

    Attributes:
        depths: bottlenecks of each stage; () for the root alone.
        width: channels of the root; stage i has `4 * width * 2**i`.
        remat: a key of `vit_jax.layers.stack.REMAT_POLICIES`, for the root and each bottleneck.
    """

    depths: tuple[int, ...]
    width: int = 64
    remat: str = "none"
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        dtypes: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = rematerialised(Root, self.remat)(self.width, name="root", **dtypes)(images)
        for i, depth in enumerate(self.depths):
            stage = Stage(
                depth, self.width * 2**i, 2 if i else 1, self.remat, name=f"stage_{i}", **dtypes
            )
            x = stage(x)
        return x


def rematerialised(module: Any, remat: str) -> Any:
    """Returns a module class whose insides the backward pass computes again, as `remat` says."""
    policy = remat_policy(remat)
    return module if policy is None else nn.remat(module, policy=policy)
