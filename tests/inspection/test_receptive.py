# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Receptive fields of known geometry."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.inspection import receptive
from vit_jax.models import create_model, init_variables


def convolve(kernel, x, stride=1):
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def stacked(kernels, x):
    found = {}
    for i, kernel in enumerate(kernels):
        x = convolve(kernel, x)
        found[f"block_{i:02d}"] = x
    return found


def test_stacked_convolutions_see_two_pixels_more_each():
    """3x3 after 3x3: a square of 3, 5, 7 pixels around the middle, nothing else."""
    draw = np.random.default_rng()
    kernels = [draw.normal(size=(3, 3, c, 4)).astype(np.float32) for c in (3, 4, 4)]
    images = draw.normal(size=(5, 15, 15, 3)).astype(np.float32)
    for i, field in enumerate(receptive.fields(stacked, kernels, images).values(), start=1):
        expected = np.zeros((15, 15), bool)
        expected[7 - i : 8 + i, 7 - i : 8 + i] = True
        np.testing.assert_array_equal(field > 0, expected)
        assert field.sum() == pytest.approx(1)


def test_the_field_of_box_filters_is_a_binomial():
    """Ones convolved n times: the outer product of the coefficients of (1 + x + x^2)^n."""
    kernels = [np.ones((3, 3, 1, 1), np.float32)] * 3
    images = np.zeros((2, 11, 11, 1), np.float32)
    line = np.zeros(11)
    line[5] = 1
    for field in receptive.fields(stacked, kernels, images).values():
        line = np.convolve(line, [1, 1, 1], "same")
        weights = line / line.sum()
        np.testing.assert_allclose(field, np.outer(weights, weights), rtol=1e-5, atol=1e-9)
        variance = weights @ (np.arange(11) - 5) ** 2  # of each axis; n * 2/3
        assert receptive.spread(field) == pytest.approx(np.sqrt(2 * variance), rel=1e-5)


def test_the_place_is_where_it_is_said_to_be():
    kernel = np.random.default_rng().normal(size=(1, 1, 3, 2)).astype(np.float32)

    def maps(kernel, x):
        return {"fine": convolve(kernel, x), "coarse": convolve(kernel, x, 4)}

    found = receptive.fields(maps, kernel, np.ones((1, 8, 12, 3), np.float32), at=(0.8, 0.3))
    assert np.unravel_index(found["fine"].argmax(), (8, 12)) == (6, 3)
    assert found["coarse"].nonzero()[0].tolist() == [4]  # the second row of two begins at pixel 4


def test_signs_are_others_for_every_seed():
    """Of the sum and the difference of two pixels, equal signs leave one, others the other."""
    images = np.ones((1, 1, 2, 1), np.float32)

    def maps(_, x):
        pair = jnp.stack([x[..., 0, 0] + x[..., 1, 0], x[..., 0, 0] - x[..., 1, 0]], -1)
        return {"pair": pair[:, :, None]}

    found = [receptive.fields(maps, (), images, seed=seed)["pair"] for seed in range(8)]
    assert {tuple(field[0]) for field in found} == {(1, 0), (0, 1)}


def test_a_place_of_a_map_that_reaches_beyond_the_picture():
    """Four tokens of 32 pixels on 100: pixel 50 is of the second, as where attention is asked."""
    model = create_model(
        "swin_tiny_patch4_window7_224", 2, image_size=100, depths=(1, 1, 1, 1), width=4,
        num_heads=(1, 1, 1, 1), window_size=1,
    )  # fmt: skip
    images = np.random.default_rng().normal(size=(2, 100, 100, 3)).astype(np.float32)
    variables = random_variables(model, (100, 100))
    found = receptive.of_model(model, variables, images, (0.505, 0.505), ["block_03"])
    rows, columns = np.nonzero(found["block_03"])
    assert (rows.min(), rows.max()) == (columns.min(), columns.max()) == (32, 63)


def random_variables(model, size):
    shapes = jax.eval_shape(lambda: init_variables(model, jax.random.key(0), (*size, 3)))
    draw = np.random.default_rng()
    params, rest = jax.tree.map(
        lambda s: (
            np.abs(draw.normal(0.3, 0.1, s.shape)).astype(np.float32)
            * draw.choice(np.array([-1, 1], np.float32), s.shape)
        ),
        shapes,
    )
    return {"params": params, **jax.tree.map(np.abs, rest)}


def test_a_resnet_sees_what_its_convolutions_reach():
    """3x3 root and two blocks of two 3x3: fields of 3, 7 and 11 pixels."""
    model = create_model(
        "resnet18", 2, image_size=24, depths=(2,), width=4, block="basic", root="3x3"
    )
    images = np.random.default_rng().normal(size=(4, 24, 24, 3)).astype(np.float32)
    found = receptive.of_model(model, random_variables(model, (24, 24)), images)
    assert list(found) == ["stem", "block_00", "block_01"]
    for field, side in zip(found.values(), (3, 7, 11), strict=True):
        rows, columns = np.nonzero(field)
        assert np.ptp(rows) + 1 <= side
        assert np.ptp(columns) + 1 <= side
    assert len(np.unique(rows)) == 11


@pytest.mark.parametrize("pool", ["cls", "gap"])
def test_a_vit_sees_its_patch_and_then_everything(pool):
    model = create_model(
        "vit_tiny_patch16_224", 2, image_size=12, patch_size=4, width=8, depth=1, num_heads=2,
        mlp_dim=8, pool=pool,
    )  # fmt: skip
    images = np.random.default_rng().normal(size=(3, 12, 12, 3)).astype(np.float32)
    found = receptive.of_model(model, random_variables(model, (12, 12)), images)
    patch = np.zeros((12, 12), bool)
    patch[4:8, 4:8] = True
    np.testing.assert_array_equal(found["stem"] > 0, patch)
    assert (found["block_00"] > 0).all()


def test_a_field_averages_over_the_inputs():
    """The derivative of x^2 is 2x: the mean over inputs of |x|, whatever the signs."""
    images = np.random.default_rng().normal(size=(6, 3, 3, 1)).astype(np.float32)
    square = functools.partial(lambda _, x: {"one": jnp.square(x).sum((1, 2, 3), keepdims=True)})
    field = receptive.fields(square, (), images)["one"]
    expected = np.abs(images).mean(0)[..., 0]
    np.testing.assert_allclose(field, expected / expected.sum(), rtol=1e-5)


def test_what_answers_to_nothing_has_an_empty_field():
    images = np.ones((1, 4, 4, 1), np.float32)
    field = receptive.fields(lambda _, x: {"none": 0 * x}, (), images)["none"]
    assert not field.any()
    assert receptive.spread(field) == 0
