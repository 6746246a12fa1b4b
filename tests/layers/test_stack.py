# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The stack with a cycle of two blocks; cycles of one are tested through the models."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.errors import UserError
from vit_jax.layers.linear import Linear
from vit_jax.layers.regularisation import drop_path
from vit_jax.layers.stack import Stack, remat_policy, stack_layers, unstack_layers

RATES = (0.0, 0.2, 0.4, 0.6)


class Block(nn.Module):
    sign: float

    @nn.compact
    def __call__(self, x, noise, attention_maps):
        y = drop_path(jnp.tanh(Linear((4,), name="fc")(x)), noise.drop_path_rate, noise.key)
        return x + self.sign * y, (y[:, :1] if attention_maps else None)


CYCLE = (functools.partial(Block, 1.0), functools.partial(Block, -1.0))
X = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)


def params():
    shapes = jax.eval_shape(Stack(CYCLE, 4).init, jax.random.key(0), X)["params"]
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda s: rng.standard_normal(s.shape).astype(np.float32), shapes)


@pytest.mark.parametrize("remat", ["none", "full"])
@pytest.mark.parametrize("key", [None, jax.random.key(5)])
def test_a_scanned_cycle_of_two_equals_the_unrolled_one(key, remat):
    unrolled = Stack(CYCLE, 4, RATES, remat=remat)
    scanned = Stack(CYCLE, 4, RATES, remat=remat, scan=True)
    loose = params()
    stacked = stack_layers({"stage_0": loose})["stage_0"]
    assert set(stacked["blocks"]) == {"even", "odd"}
    flags = {"features": True, "attention_maps": True}
    out, found = unrolled.apply({"params": loose}, X, key, **flags)
    scanned_out, scanned_found = scanned.apply({"params": stacked}, X, key, **flags)
    np.testing.assert_allclose(scanned_out, out, rtol=1e-5, atol=1e-6)
    assert scanned_found.keys() == found.keys()
    assert set(found) == {f"block_0{i}{s}" for i in range(4) for s in ("", "/attention")}
    for name, value in found.items():
        np.testing.assert_allclose(scanned_found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_blocks_alternate_and_get_their_own_rate_and_key():
    """Rebuilds the noisy output block by block from the split of the key."""
    key, loose = jax.random.key(5), params()
    out, _ = Stack(CYCLE, 4, RATES).apply({"params": loose}, X, key)
    x = jnp.asarray(X)
    for i, (rate, noise) in enumerate(zip(RATES, jax.random.split(key, 4), strict=True)):
        p = loose[f"block_0{i}"]["fc"]
        x = x + (-1) ** i * drop_path(jnp.tanh(x @ p["kernel"] + p["bias"]), rate, noise)
    np.testing.assert_allclose(out, x, rtol=1e-5, atol=1e-6)


def test_conversion_of_nested_stages():
    tree = {"head": X, "stage_1": {"merge": {"kernel": X}, **params()}, "stage_0": params()}
    stacked = stack_layers(tree)
    assert set(stacked["stage_1"]) == {"merge", "blocks"}
    np.testing.assert_array_equal(
        stacked["stage_0"]["blocks"]["odd"]["fc"]["kernel"][1],
        tree["stage_0"]["block_03"]["fc"]["kernel"],
    )
    restored = unstack_layers(stacked)
    assert jax.tree.structure(restored) == jax.tree.structure(tree)
    jax.tree.map(np.testing.assert_array_equal, restored, tree)
    assert jax.tree.structure(stack_layers(stacked)) == jax.tree.structure(stacked)


def test_an_odd_depth_cannot_scan_pairs():
    with pytest.raises(UserError, match="divisible by 2, not 3"):
        Stack(CYCLE, 3, scan=True)


def test_unknown_remat_policy():
    with pytest.raises(UserError, match="did you mean 'full'"):
        remat_policy("fully")
