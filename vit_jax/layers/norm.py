# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Normalisation and gains, computed in float32 whatever the compute dtype."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis (Ba et al., 2016, arXiv 1607.06450).

    Statistics and arithmetic are float32 and the variance is the mean of squared deviations, not
    E[x^2] - E[x]^2, which loses digits where the mean is large. Output in `dtype`.
    """

    eps: float = 1e-6
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones_init(), width, self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros_init(), width, self.param_dtype)
        x = x.astype(jnp.float32)
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = jnp.square(centred).mean(axis=-1, keepdims=True)
        normal = centred * jax.lax.rsqrt(variance + self.eps)
        return (normal * scale.astype(jnp.float32) + bias.astype(jnp.float32)).astype(self.dtype)


class LayerScale(nn.Module):
    """Multiplies each channel of a residual branch by a learned `gamma` (arXiv 2103.17239, eq. 5).

    Attributes:
        initial: initial value of every gain.
    """

    initial: float
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = nn.initializers.constant(self.initial)
        gamma = self.param("gamma", init, x.shape[-1:], self.param_dtype)
        return x * gamma.astype(x.dtype)
