# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Dropout and stochastic depth as pure functions of an explicit key; without a key they are off."""

import jax
import jax.numpy as jnp

Rate = float | jax.Array


def dropout(x: jax.Array, rate: Rate, key: jax.Array | None) -> jax.Array:
    """Zeroes each element with probability `rate` and divides the rest by `1 - rate`.

    A missing key or a Python rate of 0 returns `x` itself. The rate may be a traced scalar.
    """
    return _drop(x, rate, key, x.shape)


def drop_path(x: jax.Array, rate: Rate, key: jax.Array | None) -> jax.Array:
    """Stochastic depth (arXiv 1603.09382): zeroes whole examples of a residual branch `[B, ...]`.

    The examples kept are divided by `1 - rate`. A missing key or a Python rate of 0 returns `x`.
    """
    return _drop(x, rate, key, x.shape[:1] + (1,) * (x.ndim - 1))


def linear_drop_path(rate: float, depth: int) -> tuple[float, ...]:
    """Returns the drop rate of each of `depth` blocks, growing linearly from 0 to `rate`."""
    return tuple(rate * i / max(depth - 1, 1) for i in range(depth))


def _drop(x: jax.Array, rate: Rate, key: jax.Array | None, shape: tuple[int, ...]) -> jax.Array:
    if key is None or (isinstance(rate, float | int) and rate == 0):
        return x
    keep = 1.0 - jnp.asarray(rate, jnp.float32)
    kept = jax.random.bernoulli(key, keep, shape)
    return jnp.where(kept, x * (1.0 / keep).astype(x.dtype), jnp.zeros((), x.dtype))
