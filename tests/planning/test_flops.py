# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""FLOPs counted on the jaxpr against closed forms and XLA's analysis."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from vit_jax.planning.flops import forward_flops, train_step_flops


def abstract(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def xla_flops(fn, *args):
    return jax.jit(fn).lower(*args).cost_analysis()["flops"]


def test_batched_matmul_is_two_per_multiply_add():
    fn = functools.partial(jnp.einsum, "bnhk,bmhk->bhnm")
    args = (abstract(3, 5, 2, 7), abstract(3, 11, 2, 7))
    assert forward_flops(fn, *args) == 2 * 3 * 2 * 5 * 11 * 7 == xla_flops(fn, *args)


@pytest.mark.parametrize(
    ("size", "kernel", "options"),
    [
        (12, (4, 4, 3, 8), {"window_strides": (4, 4), "padding": "VALID"}),
        (9, (3, 3, 6, 8), {"window_strides": (2, 2), "padding": "SAME"}),
        (9, (3, 2, 2, 6), {"window_strides": (1, 1), "padding": "SAME", "feature_group_count": 3}),
        (
            7,
            (3, 3, 6, 8),
            {"window_strides": (1, 1), "padding": ((2, 1), (0, 3)), "rhs_dilation": (2, 1)},
        ),
        (
            5,
            (3, 4, 6, 8),
            {"window_strides": (1, 1), "padding": ((2, 2), (3, 3)), "lhs_dilation": (2, 3)},
        ),
    ],
)
def test_convolutions_agree_with_xla(size, kernel, options):
    channels = kernel[2] * options.get("feature_group_count", 1)
    fn = functools.partial(
        lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options
    )
    args = (abstract(2, size, size, channels), abstract(*kernel))
    assert forward_flops(fn, *args) == xla_flops(fn, *args)


def test_gradient_of_a_convolution_agrees_with_xla():
    conv = functools.partial(
        lax.conv_general_dilated,
        window_strides=(2, 2),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    args = (abstract(2, 9, 9, 4), abstract(3, 3, 4, 8))
    out = jax.eval_shape(conv, *args)

    def pullback(x, w, g):
        value, transpose = jax.vjp(conv, x, w)
        return value, transpose(g)

    assert forward_flops(pullback, *args, out) == xla_flops(pullback, *args, out)


def test_calls_and_loops_are_entered_and_multiplied():
    x, w = abstract(8, 16), abstract(16, 16)
    once = 2 * 8 * 16 * 16

    @jax.custom_jvp
    def custom(x):
        return x @ x.T

    custom.defjvp(lambda p, t: (custom(*p), custom(*t)))

    assert forward_flops(jax.jit(jnp.dot), x, w) == once
    assert forward_flops(jax.checkpoint(jnp.dot), x, w) == once
    assert forward_flops(custom, x) == 2 * 8 * 8 * 16

    def scanned(x, w):
        return lax.scan(
            lambda c, _: (lax.scan(lambda d, _: (d @ w, None), c, length=3)[0], None), x, length=5
        )

    assert forward_flops(scanned, x, w) == 15 * once
    assert forward_flops(lambda x, w: lax.fori_loop(0, 7, lambda _, c: c @ w, x), x, w) == 7 * once
    branches = [lambda x, w: x, lambda x, w: x @ w, lambda x, w: x @ w @ w]
    index = jax.ShapeDtypeStruct((), jnp.int32)
    assert forward_flops(lambda i, x, w: lax.switch(i, branches, x, w), index, x, w) == 2 * once


def test_shard_map_counts_every_device():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    rows, whole = PartitionSpec("data"), PartitionSpec()
    fn = jax.shard_map(jnp.dot, mesh=mesh, in_specs=(rows, whole), out_specs=rows)
    assert forward_flops(fn, abstract(8, 16), abstract(16, 4)) == 2 * 8 * 16 * 4


def test_a_loop_of_unknown_length_is_refused():
    def loop(x):
        return lax.while_loop(lambda c: c.sum() < 1e3, lambda c: c @ c, x)

    with pytest.raises(NotImplementedError, match="while loop"):
        forward_flops(loop, abstract(4, 4))


def test_training_costs_three_forward_passes():
    x, w1, w2 = abstract(8, 16), abstract(16, 32), abstract(32, 4)

    def forward(x, w1, w2):
        return jnp.tanh(x @ w1) @ w2

    assert train_step_flops(forward_flops(forward, x, w1, w2)) == 3 * 2 * 8 * (16 * 32 + 32 * 4)

    def step(x, w1, w2, g):
        value, transpose = jax.vjp(forward, x, w1, w2)
        return value, transpose(g)

    measured = forward_flops(step, x, w1, w2, abstract(8, 4))
    assert measured == train_step_flops(forward_flops(forward, x, w1, w2))
