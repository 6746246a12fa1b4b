# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The small layers against closed forms in float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.errors import UserError
from vit_jax.layers.linear import Linear
from vit_jax.layers.mlp import ACTIVATIONS, Mlp, activation, gelu
from vit_jax.layers.norm import LayerNorm, LayerScale
from vit_jax.layers.patch import PatchEmbed
from vit_jax.layers.pooling import AttentionPool
from vit_jax.layers.position import sincos_2d
from vit_jax.layers.regularisation import drop_path, dropout, linear_drop_path

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def random_params(module, *args):
    shapes = jax.eval_shape(module.init, jax.random.key(0), *args)["params"]
    return jax.tree.map(lambda s: normal(*s.shape), shapes)


def test_layer_norm_keeps_digits_where_the_mean_is_large():
    x, scale, bias = 1e3 + normal(3, 5, 32), normal(32), normal(32)
    out = LayerNorm(eps=1e-3).apply({"params": {"scale": scale, "bias": bias}}, x)
    wide = x.astype(np.float64)
    centred = wide - wide.mean(-1, keepdims=True)
    desired = centred / np.sqrt(wide.var(-1, keepdims=True) + 1e-3) * scale + bias
    np.testing.assert_allclose(out, desired, atol=5e-4)  # float32 resolves 1e3 to 6e-5


def test_layer_norm_computes_in_float32_and_leaves_in_its_dtype():
    x = jnp.asarray(normal(4, 64), jnp.bfloat16)
    params = {"scale": jnp.ones(64), "bias": jnp.zeros(64)}
    out = LayerNorm(dtype=jnp.bfloat16).apply({"params": params}, x)
    assert out.dtype == jnp.bfloat16
    exact = LayerNorm().apply({"params": params}, x)
    np.testing.assert_array_equal(out, exact.astype(jnp.bfloat16))


def test_layer_scale():
    gamma, x = normal(8), normal(2, 3, 8)
    np.testing.assert_array_equal(LayerScale(0.1).apply({"params": {"gamma": gamma}}, x), x * gamma)


def test_linear_at_true_rank():
    x = normal(2, 5, 6, 4)
    linear = Linear((3,), stacked=(2,), num_inputs=2)
    params = random_params(linear, x)
    assert params["kernel"].shape == (6, 4, 2, 3)
    desired = np.einsum("bnij,ijsk->bnsk", x, params["kernel"]) + params["bias"]
    np.testing.assert_allclose(linear.apply({"params": params}, x), desired, rtol=1e-4, atol=1e-4)


def test_stacked_projections_are_initialised_one_by_one():
    kernel = Linear((4, 16), stacked=(3,)).init(jax.random.key(0), normal(2, 64))["params"][
        "kernel"
    ]
    for i in range(3):
        limit = math.sqrt(6 / (64 + 64))
        assert np.abs(kernel[:, i]).max() == pytest.approx(limit, rel=0.01)
    assert np.abs(np.corrcoef(kernel.swapaxes(0, 1).reshape(3, -1)) - np.eye(3)).max() < 0.1


@pytest.mark.parametrize("use_bias", [True, False])
def test_patch_embedding_equals_the_convolution(use_bias):
    images = normal(2, 12, 20, 3)
    embed = PatchEmbed(4, 7, use_bias=use_bias)
    params = random_params(embed, images)
    assert set(params) == ({"kernel", "bias"} if use_bias else {"kernel"})
    desired = jax.lax.conv_general_dilated(
        images, params["kernel"], (4, 4), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    out = embed.apply({"params": params}, images)
    np.testing.assert_allclose(out, desired + params.get("bias", 0), rtol=1e-4, atol=1e-4)


def test_patch_embedding_refuses_what_does_not_divide():
    with pytest.raises(UserError, match=r"14x16 is not divisible by patch_size 4; .* 16x16"):
        PatchEmbed(4, 8).init(jax.random.key(0), normal(1, 14, 16, 3))


def _gelu(x):
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


_gelu_all = np.vectorize(_gelu)

CLOSED_FORMS = {
    "gelu": _gelu,
    "gelu_tanh": lambda x: (
        0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "quick_gelu": lambda x: x / (1 + math.exp(-1.702 * x)),
    "relu": lambda x: max(x, 0.0),
    "silu": lambda x: x / (1 + math.exp(-x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    x = np.linspace(-6, 6, 101, dtype=np.float32)
    desired = [CLOSED_FORMS[name](float(v)) for v in x]
    np.testing.assert_allclose(ACTIVATIONS[name](x), desired, atol=2e-6)
    assert ACTIVATIONS[name](jnp.asarray(x, jnp.bfloat16)).dtype == jnp.bfloat16


def test_gelu_in_bfloat16_rounds_once():
    x = jnp.linspace(-8, 8, 1001, dtype=jnp.bfloat16)
    desired = _gelu_all(np.asarray(x, np.float64))
    np.testing.assert_allclose(gelu(x).astype(jnp.float32), desired, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 2**-8)])
def test_slope_of_gelu_against_float64_and_what_it_keeps(dtype, tolerance):
    x = jnp.linspace(-8, 8, 1001, dtype=dtype)
    wide = np.asarray(x, np.float64)
    desired = (_gelu_all(wide + 1e-6) - _gelu_all(wide - 1e-6)) / 2e-6
    backward = jax.vjp(gelu, x)[1]
    assert [leaf.dtype for leaf in jax.tree.leaves(backward) if leaf.size > 1] == [dtype]
    slope = backward(jnp.ones_like(x))[0].astype(jnp.float32)
    np.testing.assert_allclose(slope, desired, rtol=tolerance, atol=1e-6)


def test_unknown_activation():
    with pytest.raises(UserError, match="did you mean 'gelu'"):
        activation("gelo")


def test_mlp():
    x = normal(2, 3, 8)
    mlp = Mlp(16)
    p = random_params(mlp, x)
    hidden = _gelu_all(x @ p["fc1"]["kernel"] + p["fc1"]["bias"])
    desired = hidden @ p["fc2"]["kernel"] + p["fc2"]["bias"]
    np.testing.assert_allclose(mlp.apply({"params": p}, x), desired, rtol=1e-4, atol=1e-4)


def test_mlp_dropout_is_off_without_a_key():
    x, mlp = normal(2, 3, 8), Mlp(16, dropout=0.5)
    params = {"params": random_params(mlp, x)}
    np.testing.assert_array_equal(mlp.apply(params, x), Mlp(16).apply(params, x))
    dropped = mlp.apply(params, x, jax.random.key(0))
    assert 0.2 < (dropped == 0).mean() < 0.8


@pytest.mark.parametrize(("height", "width", "dim"), [(3, 5, 16), (1, 4, 8)])
def test_sincos_table(height, width, dim):
    table = sincos_2d(height, width, dim, temperature=100.0)
    assert table.shape == (height * width, dim)
    assert table.dtype == np.float32
    quarter = dim // 4
    for y in range(height):
        for x in range(width):
            row = table[y * width + x]
            for i in range(quarter):
                f = 100.0 ** (-i / (quarter - 1))
                desired = [math.sin(x * f), math.cos(x * f), math.sin(y * f), math.cos(y * f)]
                np.testing.assert_allclose(row[i::quarter], desired, atol=1e-6)


def test_sincos_needs_a_width_of_four_parts():
    with pytest.raises(UserError, match="not 10"):
        sincos_2d(2, 2, 10)


@pytest.mark.parametrize("drop", [dropout, drop_path])
def test_dropping_is_exactly_off_without_a_key_or_a_rate(drop):
    x = jnp.asarray(normal(4, 3))
    assert drop(x, 0.5, None) is x
    assert drop(x, 0.0, jax.random.key(0)) is x


@pytest.mark.parametrize("traced", [False, True])
def test_dropout_zeroes_a_share_and_scales_the_rest(traced):
    x = jnp.asarray(normal(200, 100))
    rate = jnp.float32(0.3) if traced else 0.3
    out = (
        jax.jit(dropout)(x, rate, jax.random.key(1))
        if traced
        else dropout(x, 0.3, jax.random.key(1))
    )
    kept = out != 0
    assert kept.mean() == pytest.approx(0.7, abs=5 * math.sqrt(0.21 / x.size))
    np.testing.assert_allclose(out[kept], x[kept] / 0.7, rtol=1e-5)


def test_drop_path_drops_whole_examples():
    x = jnp.ones((2000, 3, 2), jnp.bfloat16)
    out = np.asarray(drop_path(x, 0.25, jax.random.key(2)), np.float32)
    assert out.dtype == np.float32
    per_example = out.reshape(2000, -1)
    assert (per_example == per_example[:, :1]).all()
    assert (per_example[:, 0] == 0).mean() == pytest.approx(0.25, abs=0.05)
    assert set(np.unique(out)) == {0.0, np.float32(jnp.bfloat16(1 / 0.75))}


def test_drop_path_grows_linearly():
    assert linear_drop_path(0.3, 4) == pytest.approx((0, 0.1, 0.2, 0.3))
    assert linear_drop_path(0.3, 1) == (0,)


def test_attention_pool():
    x = normal(2, 6, 8)
    pool = AttentionPool(2, 16)
    p = random_params(pool, x)
    out, weights = pool.apply({"params": p}, x, return_weights=True)
    q = np.einsum("pd,dhk->phk", p["probe"], p["q"]["kernel"]) + p["q"]["bias"]
    k, v = np.einsum("bnd,dchk->cbnhk", x, p["kv"]["kernel"]) + p["kv"]["bias"][:, None, None]
    logits = np.einsum("phk,bmhk->bhpm", q, k).astype(np.float64) / 2
    desired = np.exp(logits - logits.max(-1, keepdims=True))
    desired /= desired.sum(-1, keepdims=True)
    np.testing.assert_allclose(weights, desired, atol=1e-5)
    y = np.einsum("bhpm,bmhk,hkd->bpd", desired, v, p["out"]["kernel"])[:, 0] + p["out"]["bias"]
    centred = y - y.mean(-1, keepdims=True)
    z = centred / np.sqrt(y.var(-1, keepdims=True) + 1e-6) * p["norm"]["scale"] + p["norm"]["bias"]
    hidden = _gelu_all(z @ p["mlp"]["fc1"]["kernel"] + p["mlp"]["fc1"]["bias"])
    y = y + hidden @ p["mlp"]["fc2"]["kernel"] + p["mlp"]["fc2"]["bias"]
    np.testing.assert_allclose(out, y, rtol=1e-4, atol=1e-3)
