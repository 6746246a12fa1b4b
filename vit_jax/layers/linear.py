# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The one matrix product with learned weights, at the true rank of its operands."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Initializer = Callable[..., jax.Array]

xavier_uniform: Initializer = nn.initializers.xavier_uniform()
lecun_normal: Initializer = nn.initializers.lecun_normal()
zeros: Initializer = nn.initializers.zeros_init()


class Linear(nn.Module):
    """Contracts the last axes of the input with a kernel `[*inputs, *stacked, *outputs]`.

    The kernel keeps its true rank (`[D, 3, H, K]` rather than `[D, 3HK]`), so that sharding rules
    and decay masks can speak of heads. It is initialised as the `[prod(inputs), prod(outputs)]`
    matrix it stands for, one a stacked projection.

    Attributes:
        outputs: sizes of the output axes.
        stacked: sizes of axes that hold separate projections of one input (query, key, value).
        num_inputs: how many trailing axes of the input are contracted.

    Input `[..., *inputs]`, output `[..., *stacked, *outputs]` in `dtype`.
    """

    outputs: tuple[int, ...]
    stacked: tuple[int, ...] = ()
    num_inputs: int = 1
    use_bias: bool = True
    kernel_init: Initializer = xavier_uniform
    bias_init: Initializer = zeros
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inputs = x.shape[-self.num_inputs :]
        features = (*self.stacked, *self.outputs)
        kernel = self.param("kernel", self._init_kernel, inputs)
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        x_axes = tuple(range(x.ndim - self.num_inputs, x.ndim))
        y = jax.lax.dot_general(x, kernel, ((x_axes, tuple(range(self.num_inputs))), ((), ())))
        if self.use_bias:
            bias = self.param("bias", self.bias_init, features, self.param_dtype)
            y = y + bias.astype(self.dtype)
        return y

    def _init_kernel(self, key: jax.Array, inputs: tuple[int, ...]) -> jax.Array:
        matrix = (math.prod(inputs), math.prod(self.outputs))
        keys = jax.random.split(key, math.prod(self.stacked))
        kernels = [self.kernel_init(k, matrix, self.param_dtype) for k in keys]
        kernel = jnp.stack(kernels, axis=1) if self.stacked else kernels[0]
        return kernel.reshape(*inputs, *self.stacked, *self.outputs)
