# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What the trace says of programs whose cost is known by hand."""

import jax
import jax.numpy as jnp
import pytest

from vit_jax.planning import trace

ROWS, WIDTH, HIDDEN, LAYERS = 24, 16, 40, 5


def shape(*sizes, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(sizes, dtype)


def traced(fn, *arguments, split=()):
    return trace.read(jax.make_jaxpr(fn)(*arguments).jaxpr, split)


def mlp(x, first, second):
    return jnp.tanh(x @ first) @ second


def loss(weights, x):
    """Layers of width 16, one after the other or in a loop."""
    stacked = isinstance(weights, jax.Array)
    if stacked:
        return jax.lax.scan(lambda x, w: (jnp.sin(x @ w), None), x, weights)[0].sum()
    for weight in weights:
        x = jnp.sin(x @ weight)
    return x.sum()


def test_products_read_and_write_each_operand_once():
    found = traced(
        mlp, shape(ROWS, WIDTH), shape(WIDTH, HIDDEN), shape(HIDDEN, WIDTH, dtype=jnp.float32)
    )
    assert found.flops == 2 * 2 * ROWS * WIDTH * HIDDEN
    assert found.product_bytes == 4 * 2 * (ROWS * WIDTH + WIDTH * HIDDEN + ROWS * HIDDEN)


def test_sums_over_what_a_tensor_axis_splits():
    kernels = [((WIDTH, HIDDEN), 1), ((HIDDEN, WIDTH), 0)]
    arguments = shape(ROWS, WIDTH), shape(WIDTH, HIDDEN), shape(HIDDEN, WIDTH)
    forward = traced(mlp, *arguments, split=kernels)
    assert forward.tensor_sums == 4 * ROWS * WIDTH  # of the second product alone
    both = traced(jax.grad(lambda *a: mlp(*a).sum(), (0, 1, 2)), *arguments, split=kernels)
    assert both.tensor_sums == 2 * 4 * ROWS * WIDTH  # and of the gradient of the input


@pytest.mark.parametrize("loop", [False, True])
def test_activations_are_what_the_backward_pass_needs(loop):
    """Each layer keeps its input and the derivative of the sine; one more is in the making."""
    weights = shape(LAYERS, WIDTH, WIDTH) if loop else [shape(WIDTH, WIDTH)] * LAYERS
    few, many = (traced(jax.grad(loss), weights, shape(n, WIDTH)) for n in (512, 1024))
    found = few.at(many, times=3)
    array = 4 * 3 * 512 * WIDTH
    assert 2 * LAYERS - 1 <= found.activations / array <= 2 * LAYERS + 4
    assert found.flops == 3 * few.flops
    assert found.live_bytes == pytest.approx(few.live_bytes + 2 * found.activations / 3)


def test_rematerialised_layers_keep_their_inputs_and_compute_twice():
    def kept(x, weights):
        layer = jax.checkpoint(lambda x, w: (jnp.sin(x @ w), None))
        return jax.lax.scan(layer, x, weights)[0].sum()

    weights = shape(50, WIDTH, WIDTH)
    plain, remat = (
        traced(jax.grad(f, argument), *arguments)
        for f, argument, arguments in (
            (loss, 0, (weights, shape(4096, WIDTH))),
            (kept, 1, (shape(4096, WIDTH), weights)),
        )
    )
    assert remat.flops == pytest.approx(plain.flops * 4 / 3, rel=0.01)
    assert remat.live_bytes < 0.6 * plain.live_bytes


def test_views_take_no_memory():
    def plain(x):
        return jnp.sin(x) * 2

    def viewed(x):
        y = jnp.sin(x)
        return (y.reshape(-1, 2).T.astype(jnp.bfloat16).astype(jnp.float32) * 2).T.reshape(x.shape)

    x = shape(128, 64)
    assert traced(viewed, x).live_bytes == traced(plain, x).live_bytes == 2 * 4 * 128 * 64


def test_parts_share_their_memory():
    one = traced(mlp, shape(ROWS, WIDTH), shape(WIDTH, HIDDEN), shape(HIDDEN, WIDTH))
    four = one.times(4)
    assert (four.flops, four.live_bytes) == (4 * one.flops, one.live_bytes)
