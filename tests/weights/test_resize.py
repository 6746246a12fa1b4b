# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Resizes against those of timm, Swin, vision_transformer and big_vision, and their properties."""

import functools
import pathlib

import jax
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from resize_cases import BIASES, KERNELS, POSITIONS, PREFIX, references

from vit_jax.errors import UserError
from vit_jax.weights.resize import (
    BIAS_METHODS,
    KERNEL_METHODS,
    POSITION_METHODS,
    patch_kernel,
    position_table,
    relative_position_bias,
)

GOLDEN = pathlib.Path(__file__).parent / "golden" / "resize.npz"
CASES = {
    **{f"position/{i}/{m}": c for i, c in enumerate(POSITIONS) for m in POSITION_METHODS},
    **{f"bias/{i}/{m}": c for i, c in enumerate(BIASES) for m in BIAS_METHODS},
    **{f"kernel/{i}/{m}": c for i, c in enumerate(KERNELS) for m in KERNEL_METHODS},
}
sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


def ours(name, array):
    old, new = CASES[name]
    kind, _, method = name.split("/")
    if kind == "position":
        return position_table(array, old, new, prefix=PREFIX, method=method)
    if kind == "bias":
        return relative_position_bias(array, old, new, method=method)
    return patch_kernel(array, new, method=method)


def check(arrays):
    assert arrays.keys() - CASES.keys() == {name.rpartition("/")[0] for name in CASES}
    for name in CASES:
        mine, theirs = ours(name, arrays[name.rpartition("/")[0]]), arrays[name]
        assert mine.dtype == np.float32
        # They compute in float32, values up to 4 through matrices of condition up to 2.
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=2e-5, err_msg=name)


def test_agrees_with_stored_resizes():
    with np.load(GOLDEN) as stored:
        check(dict(stored))


def test_agrees_with_fresh_resizes():
    pytest.importorskip("torch")
    pytest.importorskip("timm")
    check(references(np.random.SeedSequence().entropy))


@given(old=sizes, new=sizes)
def test_positions_are_those_of_jax_and_scipy(old, new):
    grid = np.random.default_rng(old + new).normal(size=(*old, 2))
    table = grid.reshape(-1, 2)
    for method, reference in {
        "bicubic": jax.image.resize(grid, (*new, 2), "cubic", antialias=True),
        "zoom": scipy.ndimage.zoom(grid, (new[0] / old[0], new[1] / old[1], 1), order=1),
    }.items():
        resized = position_table(table, old, new, method=method).reshape(*new, 2)
        np.testing.assert_allclose(resized, reference, atol=1e-5, err_msg=method)


@given(size=sizes, patch=sizes)
def test_the_same_size_is_the_same_table(size, patch):
    rng = np.random.default_rng(size + patch)
    table = rng.normal(size=(PREFIX + size[0] * size[1], 3)).astype("f4")
    for method in POSITION_METHODS:
        resized = position_table(table, size, size, prefix=PREFIX, method=method)
        np.testing.assert_array_equal(resized, table)
    bias = rng.normal(size=((2 * size[0] - 1) * (2 * size[1] - 1), 3)).astype("f4")
    for method in BIAS_METHODS:
        np.testing.assert_array_equal(relative_position_bias(bias, size, size, method=method), bias)
    kernel = rng.normal(size=(*patch, 3, 2)).astype("f4")
    for method in KERNEL_METHODS:
        np.testing.assert_array_equal(patch_kernel(kernel, patch, method=method), kernel)


@given(old=sizes, new=sizes, value=st.floats(-5, 5))
def test_constants_stay_constant_and_prefix_rows_stay_as_they_are(old, new, value):
    table = np.full((PREFIX + old[0] * old[1], 2), value)
    table[:PREFIX] = [[1, 2], [3, 4]]
    for method in POSITION_METHODS:
        resized = position_table(table, old, new, prefix=PREFIX, method=method)
        np.testing.assert_array_equal(resized[:PREFIX], table[:PREFIX])
        np.testing.assert_allclose(resized[PREFIX:], value, atol=1e-12)
        assert len(resized) == PREFIX + new[0] * new[1]
    bias = np.full(((2 * old[0] - 1) * (2 * old[1] - 1), 2), value)
    for method in BIAS_METHODS:
        resized = relative_position_bias(bias, old, new, method=method)
        np.testing.assert_allclose(resized, value, atol=1e-12)


@given(old=sizes, new=sizes)
def test_rows_and_columns_are_resized_apart(old, new):
    between = (new[0], old[1])
    rng = np.random.default_rng(old + new)
    table = rng.normal(size=(old[0] * old[1], 2))
    for method in POSITION_METHODS:
        to = functools.partial(position_table, method=method)
        np.testing.assert_allclose(
            to(to(table, old, between), between, new), to(table, old, new), atol=1e-12
        )
    kernel = rng.normal(size=(*old, 1, 2))
    for method in KERNEL_METHODS:
        to = functools.partial(patch_kernel, method=method)
        np.testing.assert_allclose(to(to(kernel, between), new), to(kernel, new), atol=1e-9)


@given(old=sizes, growth=sizes)
def test_a_larger_patch_sees_in_a_resized_image_what_the_smaller_saw(old, growth):
    new = (old[0] + growth[0], old[1] + growth[1])
    rng = np.random.default_rng(old + growth)
    kernel, patch = rng.normal(size=(*old, 3, 2)), rng.normal(size=(*old, 3))
    for method in KERNEL_METHODS:
        larger = position_table(patch.reshape(-1, 3), old, new).reshape(*new, 3)
        if method == "bilinear":
            larger = np.asarray(jax.image.resize(patch.astype("f4"), (*new, 3), "linear"))
        seen = np.einsum("hwc,hwcd->d", larger, patch_kernel(kernel, new, method=method))
        np.testing.assert_allclose(seen, np.einsum("hwc,hwcd->d", patch, kernel), atol=1e-4)


def test_relative_positions_stay_odd_and_even():
    """A bias that depends on the side alone, or on the distance alone, still does so after."""
    dy, dx = np.meshgrid(np.arange(-6, 7.0), np.arange(-6, 7.0), indexing="ij")
    table = np.stack([np.cos(dy + 2 * dx), np.sin(dy + 2 * dx)], axis=-1).reshape(-1, 2)
    for method in BIAS_METHODS:
        resized = relative_position_bias(table, (7, 7), (12, 10), method=method)
        np.testing.assert_allclose(resized[::-1] * [1, -1], resized, atol=1e-12)


def test_tables_of_another_size_are_refused():
    with pytest.raises(UserError, match="198 rows is not one of 14x14 patches and 1 tokens"):
        position_table(np.zeros((198, 4)), (14, 14), (24, 24), prefix=1)
    with pytest.raises(UserError, match="7x8, which has 195"):
        relative_position_bias(np.zeros((169, 4)), (7, 8), (12, 12))


def test_an_unknown_method_is_refused_with_the_near_miss():
    with pytest.raises(UserError, match="'bicubik'; did you mean 'bicubic'"):
        position_table(np.zeros((4, 4)), (2, 2), (3, 3), method="bicubik")
    with pytest.raises(UserError, match="'zoom'; known: bicubic, geometric"):
        relative_position_bias(np.zeros((9, 4)), (2, 2), (2, 2), method="zoom")
