# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What parameters and features show: positions, filters, token mixing, colours."""

import functools
import itertools

import jax
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from vit_jax.inspection import features, mixing, positions
from vit_jax.layers.position import sincos_2d
from vit_jax.layers.stack import stack_layers
from vit_jax.models import create_model, init_params

TINY = {"image_size": (16, 24), "patch_size": 4, "width": 16, "depth": 2}
VIT = TINY | {"num_heads": 2, "mlp_dim": 16}


def parameters(model):
    draw = np.random.default_rng()
    shapes = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    return jax.tree.map(lambda s: draw.normal(size=s.shape).astype(np.float32), shapes)


def test_positions_of_sines_are_as_alike_as_their_frequencies_say():
    """The cosine of two places is the mean of cos(f dx) and cos(f dy) over the frequencies f."""
    width, grid = 32, (3, 4)
    frequencies = 1e4 ** -np.linspace(0, 1, width // 4)
    found = positions.similarity(sincos_2d(*grid, width).reshape(*grid, width))
    for y, x, v, u in itertools.product(range(3), range(4), range(3), range(4)):
        expected = np.mean([np.cos(frequencies * (y - v)), np.cos(frequencies * (x - u))])
        assert found[y, x, v, u] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("fields", "prefix"),
    [
        ({"pool": "cls"}, 1),
        ({"pool": "cls", "distilled": True, "num_registers": 2}, 4),
        ({"pool": "cls", "no_embed_class": True}, 0),
        ({"pool": "gap"}, 0),
        ({"pool": "gap", "position": "sincos"}, None),
    ],
)
def test_the_table_is_what_moves_a_patch(fields, prefix):
    """A black picture's patches differ by their positions alone; the table is of these."""
    model = create_model("vit_tiny_patch16_224", 2, **VIT, **fields)
    params = parameters(model)
    apply = jax.jit(functools.partial(model.apply, features=True))
    _, found = apply({"params": params}, np.zeros((1, 16, 24, 3)))
    patches = np.asarray(found["stem"])[0, model.spec.num_prefix :]
    table = positions.table(model.spec, params).reshape(24, -1)
    np.testing.assert_allclose(
        patches - patches[0], table - table[0], rtol=1e-4, atol=1e-5, err_msg=str(prefix)
    )


def test_components_of_filters_of_known_rank():
    """Filters mixed from two orthogonal pictures: these come back, by their variance."""
    draw = np.random.default_rng()
    basis, _ = np.linalg.qr(draw.normal(size=(4 * 4 * 3, 2)))
    weights = draw.normal(size=(2, 500))
    weights -= weights.mean(1, keepdims=True)
    second = weights[1] - weights[0] * (weights[1] @ weights[0]) / (weights[0] @ weights[0])
    mixed = 3 * np.outer(basis[:, 0], weights[0]) + np.outer(basis[:, 1], second)
    kernel = (mixed + draw.normal(size=(48, 1))).reshape(4, 4, 3, 500)
    components, shares = positions.patch_components(kernel, 5)
    np.testing.assert_allclose(
        np.abs(np.einsum("kpqc,pqcd->kd", components[:2], basis.reshape(4, 4, 3, 2))),
        np.eye(2),
        atol=1e-6,
    )
    variances = np.array([9 * weights[0] @ weights[0], second @ second])
    np.testing.assert_allclose(shares[:2], variances / variances.sum(), rtol=1e-6)
    np.testing.assert_allclose(shares[2:], 0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "fields", "path"),
    [
        ("vit_tiny_patch16_224", VIT, "patch_embed/kernel"),
        ("mixer_s16_224", TINY | {"token_mlp_dim": 8, "channel_mlp_dim": 8}, "patch_embed/kernel"),
        (
            "vit_tiny_r_s16_p8_224",
            {"image_size": 32, "patch_size": 8, "width": 16, "depth": 1, "num_heads": 2,
             "mlp_dim": 8, "stem_width": 32},
            "stem/root/conv/kernel",
        ),
        ("resnet18", {"image_size": 32, "depths": (1,), "width": 8}, "root/conv/kernel"),
    ],
)  # fmt: skip
def test_the_kernel_that_reads_pixels(name, fields, path):
    model = create_model(name, 2, **fields)
    params = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), params)
    found, kernel = positions.pixel_kernel(model.spec, zeros)
    assert found == path
    assert kernel.shape[2] == 3


@pytest.mark.parametrize("name", ["vit_tiny_r_s16_p8_224", "resnetv2_50x1_bit", "resnet18"])
def test_a_standardised_kernel_is_shown_as_it_is_applied(name):
    """What a constant or a factor adds to a filter changes nothing that the network sees."""
    spec = create_model(name, 2).spec
    kernel = np.random.default_rng().normal(size=(7, 7, 3, 5)).astype(np.float32)
    changed = kernel * [1, 2, 3, 4, 5] + [5, 4, 3, 2, 1]
    path = "root/conv/kernel" if name.startswith("resnet") else "stem/root/conv/kernel"
    params = [unflatten_dict({path: k.astype(np.float32)}, sep="/") for k in (kernel, changed)]
    first, second = (positions.pixel_kernel(spec, p)[1] for p in params)
    if name == "resnet18":
        np.testing.assert_array_equal(second, changed.astype(np.float32))
        return
    np.testing.assert_allclose(second, first, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(first.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(first.std((0, 1, 2)), 1, rtol=1e-4)


@pytest.mark.parametrize("scanned", [False, True])
def test_token_weights_are_what_hidden_units_answer_to(scanned):
    """A unit's answer to a picture's tokens is the sum of its weights times them."""
    shape = TINY | {"token_mlp_dim": 6, "channel_mlp_dim": 8}
    model = create_model("mixer_s16_224", 2, **shape, scan=scanned)
    plain = parameters(create_model("mixer_s16_224", 2, **shape))
    found = mixing.token_weights(model.spec, stack_layers(plain) if scanned else plain)
    assert list(found) == ["block_00", "block_01"]
    for name, weights in found.items():
        assert weights.shape == (6, 4, 6)
        tokens = np.random.default_rng().normal(size=(4, 6, 3))
        answers = tokens.reshape(24, 3).T @ plain[name]["token_mlp"]["fc1"]["kernel"]
        np.testing.assert_allclose(
            np.einsum("mhw,hwc->cm", weights, tokens), answers, rtol=1e-5, atol=1e-6
        )


def test_waves_and_their_opposites_are_paired_and_sorted_by_frequency():
    y, x = np.mgrid[:8, :8]
    waves = [np.cos(2 * np.pi * (u * x + v * y) / 8) for v, u in ((0, 1), (2, 0), (2, 2), (3, 3))]
    units = np.array([sign * (1 + i) * wave for i, wave in enumerate(waves) for sign in (1, -1)])
    np.testing.assert_allclose(
        mixing.frequencies(units)[::2], [1 / 8, 2 / 8, 8**0.5 / 8, 18**0.5 / 8], rtol=1e-9
    )
    mixed = np.random.default_rng().permutation(8)
    order = mixing.opposed_pairs(units[mixed])
    assert [set(mixed[order[i : i + 2]]) for i in range(0, 8, 2)] == [
        {0, 1}, {2, 3}, {4, 5}, {6, 7},
    ]  # fmt: skip


def test_the_odd_unit_comes_last():
    order = mixing.opposed_pairs(np.random.default_rng().normal(size=(5, 3, 4)))
    assert sorted(order) == list(range(5))


def test_principal_components_of_features_of_known_rank():
    """Two hidden coordinates come back up to sign; a third does not exist."""
    draw = np.random.default_rng()
    basis, _ = np.linalg.qr(draw.normal(size=(20, 2)))
    hidden, _ = np.linalg.qr(np.pad(draw.normal(size=(60, 2)), ((0, 0), (1, 0)), constant_values=1))
    hidden = hidden[:, 1:] * [5, 2]  # orthogonal to a constant: no mean
    found, shares = features.principal(hidden @ basis.T + draw.normal(size=20))
    signs = np.sign((found[:, :2] * hidden).sum(0))
    np.testing.assert_allclose(found[:, :2] * signs, hidden, atol=1e-6)
    np.testing.assert_allclose(found[:, 2], 0, atol=1e-5)
    np.testing.assert_allclose(shares, [25 / 29, 4 / 29, 0], atol=1e-9)


def test_colours_are_components_from_least_to_most():
    draw = np.random.default_rng()
    maps = draw.normal(size=(3, 4, 5, 8))
    found = features.colours(maps)
    values, _ = features.principal(maps.reshape(-1, 8))
    assert found.shape == (3, 4, 5, 3)
    np.testing.assert_allclose(found.reshape(-1, 3).min(0), 0, atol=1e-12)
    np.testing.assert_allclose(found.reshape(-1, 3).max(0), 1, atol=1e-12)
    np.testing.assert_array_equal(
        found.reshape(-1, 3).argsort(0), values.argsort(0), err_msg="the order is kept"
    )


def test_the_foreground_is_what_borders_are_not():
    """An object in the middle of each picture, far away in features: the rest is black."""
    draw = np.random.default_rng()
    maps = draw.normal(size=(2, 6, 6, 8))
    inside = np.zeros((6, 6), bool)
    inside[2:5, 2:4] = True
    maps[:, inside] += 40 * draw.normal(size=8)
    np.testing.assert_array_equal(features.in_front(maps), np.stack([inside] * 2))
    found = features.colours(maps, foreground=True)
    assert not found[:, ~inside].any()
    assert found[:, inside].max() == pytest.approx(1)


def test_one_channel_has_one_colour():
    found = features.colours(np.random.default_rng().normal(size=(1, 2, 2, 1)))
    assert not found[..., 1:].any()
