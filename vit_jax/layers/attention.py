# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Multi-head attention: one function that chooses its implementation, one module around it."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vit_jax.errors import UserError
from vit_jax.layers.linear import Initializer, Linear, xavier_uniform, zeros
from vit_jax.layers.norm import LayerNorm
from vit_jax.layers.regularisation import dropout
from vit_jax.registry import near_misses

IMPLEMENTATIONS = ("auto", "explicit", "xla", "cudnn")


@dataclasses.dataclass(frozen=True)
class AttentionCall:
    """What the choice of an implementation depends on.

    Attributes:
        platform: "cpu", "cuda", "rocm" or "tpu".
        capability: CUDA compute capability, (0, 0) elsewhere.
        dropout: whether attention dropout is in force.
        return_weights: whether the caller wants the attention weights.
    """

    platform: str
    dtype: str
    query_length: int
    key_length: int
    head_size: int
    capability: tuple[int, int] = (0, 0)
    bias: bool = False
    mask: bool = False
    dropout: bool = False
    return_weights: bool = False


def check_implementation(name: str) -> None:
    """Raises UserError, with the near misses, unless `name` is one of IMPLEMENTATIONS."""
    if name not in IMPLEMENTATIONS:
        hint = near_misses(name, IMPLEMENTATIONS) or f"; known: {', '.join(IMPLEMENTATIONS)}"
        raise UserError(f"unknown attention implementation {name!r}{hint}")


def choose_implementation(call: AttentionCall, requested: str = "auto") -> tuple[str, str]:
    """Returns the implementation to use ("explicit", "xla" or "cudnn") and the reason.

    "explicit" writes the two products and the softmax out, "xla" and "cudnn" are those of
    `jax.nn.dot_product_attention`. A request that cannot be met falls back to one that can.
    Pure: the same call gives the same answer on any machine.
    """
    check_implementation(requested)
    if requested == "explicit":
        return "explicit", "requested"
    if call.return_weights:
        return "explicit", "the attention weights are asked for"
    if call.dropout:
        return "explicit", "attention dropout"
    if requested == "xla":
        return "xla", "requested"
    if call.platform == "cpu":
        return "explicit", "faster on CPU"
    obstacle = _cudnn_obstacle(call)
    return ("xla", obstacle) if obstacle else ("cudnn", "its constraints hold")


def _cudnn_obstacle(call: AttentionCall) -> str:
    """Returns why cuDNN's fused attention cannot train on this call, or an empty string."""
    largest_head = 256 if call.capability >= (9, 0) else 128
    odd = call.query_length % 2 or call.key_length % 2
    obstacles = {
        f"cuDNN needs CUDA, not {call.platform}": call.platform != "cuda",
        f"cuDNN needs compute capability 8.0, not {call.capability}": call.capability < (8, 0),
        f"cuDNN needs 16-bit floats, not {call.dtype}": call.dtype not in ("bfloat16", "float16"),
        f"cuDNN needs a head size in 8, 16, ... {largest_head}, not {call.head_size}": (
            call.head_size % 8 != 0 or call.head_size > largest_head
        ),
        "cuDNN's gradient of a bias needs batch 1": call.bias,
        "cuDNN's mask needs even lengths": bool(call.mask and odd),
    }
    return next((text for text, holds in obstacles.items() if holds), "")


@functools.cache
def _platform() -> tuple[str, tuple[int, int]]:
    """Returns the kind of the default backend and its CUDA compute capability."""
    platform = jax.default_backend()
    if platform != "gpu":
        return platform, (0, 0)
    device = jax.devices()[0]
    if "rocm" in device.client.platform_version.lower():
        return "rocm", (0, 0)
    major, minor = device.compute_capability.split(".")
    return "cuda", (int(major), int(minor))


def dot_product_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    bias: jax.Array | None = None,
    mask: jax.Array | None = None,
    dropout_rate: float = 0.0,
    dropout_key: jax.Array | None = None,
    implementation: str = "auto",
    return_weights: bool = False,
) -> Any:
    """Softmax(q k^T / sqrt(K) + bias) v, the softmax in float32 (arXiv 1706.03762, eq. 1).

    Args:
        q: queries `[B, N, H, K]`; k and v, keys and values, are `[B, M, H, K]`.
        bias: added to the logits; broadcasts to `[B, H, N, M]`.
        mask: boolean, True where a query may look; broadcasts to `[B, H, N, M]`.
        dropout_rate: drops attention weights, in force when `dropout_key` is given.
        implementation: "auto", "explicit", "xla" or "cudnn": see `choose_implementation`.
        return_weights: also return the weights `[B, H, N, M]`, float32, before dropout.

    Returns:
        `[B, N, H, K]` in the dtype of `q`, or that and the weights.
    """
    platform, capability = _platform()
    call = AttentionCall(
        platform=platform,
        capability=capability,
        dtype=q.dtype.name,
        query_length=q.shape[1],
        key_length=k.shape[1],
        head_size=q.shape[-1],
        bias=bias is not None,
        mask=mask is not None,
        dropout=dropout_rate > 0 and dropout_key is not None,
        return_weights=return_weights,
    )
    chosen, _ = choose_implementation(call, implementation)
    if chosen != "explicit":
        library: Any = jax.nn.dot_product_attention
        return library(q, k, v, bias=bias, mask=mask, implementation=chosen)
    # The softmax divides by its sum after the product with v: fewer elements, 6 % of a ViT-S step.
    unnormalised, total = _softmax_parts(_attention_logits(q, k, bias, mask))
    dropped = dropout(unnormalised, dropout_rate, dropout_key).astype(v.dtype)
    out = jnp.einsum("bhnm,bmhk->bhnk", dropped, v, preferred_element_type=jnp.float32) / total
    out = out.astype(v.dtype).swapaxes(1, 2)
    return (out, unnormalised / total) if return_weights else out


def _attention_logits(
    q: jax.Array, k: jax.Array, bias: jax.Array | None, mask: jax.Array | None
) -> jax.Array:
    q = q * jnp.asarray(q.shape[-1] ** -0.5, q.dtype)
    logits = jnp.einsum("bnhk,bmhk->bhnm", q, k, preferred_element_type=jnp.float32)
    if bias is not None:
        logits = logits + bias.astype(jnp.float32)
    return logits if mask is None else jnp.where(mask, logits, jnp.finfo(jnp.float32).min)


def _softmax_parts(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the exponentials, at most 1, and their sum over the last axis."""
    largest = jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))
    exponentials = jnp.exp(logits - largest)
    return exponentials, exponentials.sum(axis=-1, keepdims=True)


class Attention(nn.Module):
    """Multi-head self-attention, `[B, N, D]` to `[B, N, D]`.

    Attributes:
        qk_norm: LayerNorm over the head size of queries and keys (arXiv 2302.05442, section 2).
        attention_dropout: rate on the attention weights, in force when a key is given.
        dropout: rate after the output projection, in force when a key is given.
        implementation: see `choose_implementation`.
    """

    num_heads: int
    qkv_bias: bool = True
    qk_norm: bool = False
    norm_eps: float = 1e-6
    attention_dropout: float = 0.0
    dropout: float = 0.0
    implementation: str = "auto"
    kernel_init: Initializer = xavier_uniform
    bias_init: Initializer = zeros
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        key: jax.Array | None = None,
        *,
        bias: jax.Array | None = None,
        mask: jax.Array | None = None,
        return_weights: bool = False,
    ) -> Any:
        """Returns the output, or the output and the weights `[B, H, N, N]` if asked for."""
        width = x.shape[-1]
        linear = functools.partial(
            Linear,
            kernel_init=self.kernel_init,
            bias_init=self.bias_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )
        heads = (self.num_heads, width // self.num_heads)
        qkv = linear(heads, stacked=(3,), use_bias=self.qkv_bias, name="qkv")(x)
        q, k, v = (qkv[..., i, :, :] for i in range(3))
        if self.qk_norm:
            norm = functools.partial(LayerNorm, self.norm_eps, self.dtype, self.param_dtype)
            q, k = norm(name="q_norm")(q), norm(name="k_norm")(k)
        keys = (None, None) if key is None else jax.random.split(key)
        out = dot_product_attention(
            q,
            k,
            v,
            bias=bias,
            mask=mask,
            dropout_rate=self.attention_dropout,
            dropout_key=keys[0],
            implementation=self.implementation,
            return_weights=return_weights,
        )
        out, weights = out if return_weights else (out, None)
        out = linear((width,), num_inputs=2, name="out")(out)
        out = dropout(out, self.dropout, keys[1])
        return (out, weights) if return_weights else out
