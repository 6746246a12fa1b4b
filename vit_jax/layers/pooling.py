# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Pooling of tokens by attention."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vit_jax.layers.attention import dot_product_attention
from vit_jax.layers.linear import Initializer, Linear, xavier_uniform, zeros
from vit_jax.layers.mlp import Mlp
from vit_jax.layers.norm import LayerNorm


class AttentionPool(nn.Module):
    """Multi-head attention pooling: a learned probe looks at all tokens (arXiv 2106.04560).

    `y = attention(probe, x)`, then `y + mlp(norm(y))`, as in big_vision and timm: one norm only,
    ahead of the MLP. `[B, N, D]` to `[B, D]`; with `return_weights` also `[B, H, 1, N]`.
    """

    num_heads: int
    mlp_dim: int
    activation: str = "gelu"
    norm_eps: float = 1e-6
    kernel_init: Initializer = xavier_uniform
    bias_init: Initializer = zeros
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, return_weights: bool = False) -> Any:
        width = x.shape[-1]
        heads = (self.num_heads, width // self.num_heads)
        dtypes: dict[str, Any] = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        linear: Any = functools.partial(Linear, kernel_init=self.kernel_init, **dtypes)
        probe = self.param("probe", xavier_uniform, (1, width), self.param_dtype)
        q = linear(heads, name="q")(probe.astype(self.dtype))
        kv = linear(heads, stacked=(2,), name="kv")(x)
        q = jnp.broadcast_to(q, (x.shape[0], *q.shape))
        y = dot_product_attention(
            q, kv[..., 0, :, :], kv[..., 1, :, :], return_weights=return_weights
        )
        y, weights = y if return_weights else (y, None)
        y = linear((width,), num_inputs=2, name="out")(y)
        mlp = Mlp(
            self.mlp_dim,
            self.activation,
            kernel_init=self.kernel_init,
            bias_init=self.bias_init,
            name="mlp",
            **dtypes,
        )
        y = y + mlp(LayerNorm(self.norm_eps, name="norm", **dtypes)(y))
        return (y[:, 0], weights) if return_weights else y[:, 0]
