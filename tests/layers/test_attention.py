# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Attention against its definition in float64; the choice of implementation as a table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.errors import UserError
from vit_jax.layers.attention import (
    Attention,
    AttentionCall,
    choose_implementation,
    dot_product_attention,
)

H100 = {
    "platform": "cuda",
    "capability": (9, 0),
    "dtype": "bfloat16",
    "query_length": 197,
    "key_length": 197,
    "head_size": 64,
}


@pytest.mark.parametrize(
    ("changes", "requested", "chosen", "reason"),
    [
        ({}, "auto", "cudnn", "constraints hold"),
        ({}, "cudnn", "cudnn", "constraints hold"),
        ({}, "xla", "xla", "requested"),
        ({}, "explicit", "explicit", "requested"),
        ({"platform": "cpu", "capability": (0, 0)}, "auto", "explicit", "faster on CPU"),
        ({"platform": "cpu", "capability": (0, 0)}, "cudnn", "explicit", "faster on CPU"),
        ({"platform": "cpu"}, "xla", "xla", "requested"),
        ({"platform": "tpu", "capability": (0, 0)}, "auto", "explicit", "faster on TPU"),
        ({"platform": "rocm"}, "cudnn", "xla", "needs CUDA, not rocm"),
        ({"capability": (7, 5)}, "auto", "xla", "capability 8.0"),
        ({"dtype": "float32"}, "auto", "xla", "16-bit floats, not float32"),
        ({"dtype": "float16"}, "auto", "cudnn", "constraints hold"),
        ({"head_size": 60}, "auto", "xla", "head size in 8, 16, ... 256, not 60"),
        ({"head_size": 104}, "auto", "cudnn", "constraints hold"),
        ({"head_size": 256}, "auto", "cudnn", "constraints hold"),
        ({"head_size": 256, "capability": (8, 0)}, "auto", "xla", "... 128, not 256"),
        ({"bias": True, "query_length": 64, "key_length": 64}, "auto", "xla", "gradient of a bias"),
        ({"mask": True}, "auto", "xla", "even lengths"),
        ({"mask": True, "query_length": 64, "key_length": 64}, "auto", "cudnn", "constraints hold"),
        ({"dropout": True}, "auto", "explicit", "dropout"),
        ({"return_weights": True}, "cudnn", "explicit", "weights are asked for"),
        ({"split_tokens": True}, "cudnn", "xla", "all tokens on each device"),
    ],
)
def test_choice_of_implementation(changes, requested, chosen, reason):
    implementation, why = choose_implementation(AttentionCall(**H100 | changes), requested)
    assert implementation == chosen
    assert reason in why


def test_unknown_implementation_names_the_near_miss():
    with pytest.raises(UserError, match="did you mean 'explicit'"):
        choose_implementation(AttentionCall(**H100), "explicitly")


def inputs(queries=5, keys=7, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(2, queries, 3, 4), (2, keys, 3, 4), (2, keys, 3, 4), (1, 3, queries, keys)]
    q, k, v, bias = (2 * rng.standard_normal(s).astype(np.float32) for s in shapes)
    mask = rng.random((2, 1, queries, keys)) < 0.7
    mask[..., 0] = True
    return q, k, v, bias, mask


def reference(q, k, v, bias=0.0, mask=True):
    """The definition, in float64."""
    logits = np.einsum("bnhk,bmhk->bhnm", q, k, dtype=np.float64)
    logits = np.where(mask, logits / np.sqrt(q.shape[-1]) + bias, -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("bhnm,bmhk->bnhk", weights, v), weights


@pytest.mark.parametrize("implementation", ["auto", "explicit", "xla"])
@pytest.mark.parametrize(("use_bias", "use_mask"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_agrees_with_the_definition(implementation, use_bias, use_mask):
    q, k, v, bias, mask = inputs()
    out = dot_product_attention(
        q,
        k,
        v,
        bias=bias if use_bias else None,
        mask=mask if use_mask else None,
        implementation=implementation,
    )
    desired, _ = reference(q, k, v, bias if use_bias else 0.0, mask if use_mask else True)
    np.testing.assert_allclose(out, desired, rtol=1e-5, atol=1e-5)


def test_weights_and_huge_logits():
    q, k, v, bias, _ = inputs()
    out, weights = dot_product_attention(100 * q, k, v, bias=bias, return_weights=True)
    desired, desired_weights = reference(100 * q, k, v, bias)
    np.testing.assert_allclose(weights, desired_weights, atol=1e-4)
    np.testing.assert_allclose(out, desired, atol=1e-3)


def test_gradients_of_the_implementations_agree():
    q, k, v, bias, mask = inputs()

    def loss(implementation, *args):
        out = dot_product_attention(
            *args[:3], bias=args[3], mask=mask, implementation=implementation
        )
        return jnp.sin(out).sum()

    gradients = [
        jax.grad(loss, argnums=(1, 2, 3, 4))(implementation, q, k, v, bias)
        for implementation in ("explicit", "xla")
    ]
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_bfloat16_keeps_its_dtype_and_a_float32_softmax():
    q, k, v, _, _ = (jnp.asarray(a, jnp.bfloat16) for a in inputs())
    out, weights = dot_product_attention(q, k, v, return_weights=True)
    assert out.dtype == jnp.bfloat16
    assert weights.dtype == jnp.float32
    desired, desired_weights = reference(*(np.asarray(a, np.float64) for a in (q, k, v)))
    np.testing.assert_allclose(weights, desired_weights, atol=0.02)
    np.testing.assert_allclose(np.asarray(out, np.float32), desired, atol=0.05)


def test_bfloat16_gradients_against_float64():
    rng = np.random.default_rng()
    q, k, v, d_out = (jnp.asarray(rng.standard_normal((2, 33, 3, 16)), "bfloat16") for _ in "qkvo")

    def definition(q, k, v):
        weights = jax.nn.softmax(jnp.einsum("bnhk,bmhk->bhnm", q, k) / np.sqrt(q.shape[-1]))
        return jnp.einsum("bhnm,bmhk->bnhk", weights, v)

    with jax.enable_x64(True):
        exact = [a.astype(jnp.float64) for a in (q, k, v, d_out)]
        desired = [np.asarray(d) for d in jax.vjp(definition, *exact[:3])[1](exact[3])]
    for ours, best in zip(jax.vjp(dot_product_attention, q, k, v)[1](d_out), desired, strict=True):
        error = np.asarray(ours, np.float64) - best
        # Rounding the result alone gives 0.0017; weights and logits rounded twice, 0.0033.
        assert ours.dtype == jnp.bfloat16
        assert np.sqrt(np.square(error).mean() / np.square(best).mean()) < 0.0026


def test_backward_pass_keeps_one_array_of_all_pairs_in_the_dtype_of_the_values():
    q, k, v, bias, mask = inputs()
    q, k, v = (jnp.asarray(a, jnp.bfloat16) for a in (q, k, v))
    backward = jax.vjp(lambda *a: dot_product_attention(*a, bias=bias, mask=mask), q, k, v)[1]
    pairs = [leaf.dtype for leaf in jax.tree.leaves(backward) if leaf.shape[-2:] == (5, 7)]
    assert pairs == [jnp.bfloat16]


def test_attention_dropout_is_right_on_average():
    q, k, v, _, _ = inputs()
    one = jax.jit(lambda key: dot_product_attention(q, k, v, dropout_rate=0.3, dropout_key=key))
    outs = jax.vmap(one)(jax.random.split(jax.random.key(0), 1000))
    desired, _ = reference(q, k, v)
    np.testing.assert_allclose(outs.mean(0), desired, atol=5 * outs.std() / np.sqrt(1000))
    assert outs.std(0).max() > 0.1


def test_module_equals_the_definition_with_normalised_queries_and_keys():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 6, 12)).astype(np.float32)
    module = Attention(3, qk_norm=True)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    params = jax.tree.map(lambda s: rng.standard_normal(s.shape).astype(np.float32), shapes)
    out, weights = module.apply({"params": params}, x, return_weights=True)
    qkv = np.einsum("bnd,dchk->cbnhk", x, params["qkv"]["kernel"])
    q, k, v = qkv + params["qkv"]["bias"][:, None, None]

    def norm(a, p):
        a = (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-6)
        return a * p["scale"] + p["bias"]

    y, desired_weights = reference(norm(q, params["q_norm"]), norm(k, params["k_norm"]), v)
    desired = np.einsum("bnhk,hkd->bnd", y, params["out"]["kernel"]) + params["out"]["bias"]
    np.testing.assert_allclose(weights, desired_weights, atol=1e-5)
    np.testing.assert_allclose(out, desired, rtol=1e-4, atol=1e-4)
