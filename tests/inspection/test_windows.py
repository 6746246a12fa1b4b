# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Swin's windows put back on the picture: against what the layer itself lets through."""

import functools
import itertools
import math

import jax
import numpy as np
import pytest

from vit_jax.inspection import look, windows
from vit_jax.inspection.geometry import Block, Windows, blocks
from vit_jax.inspection.survey import uniform_distance
from vit_jax.layers.window import WindowAttention, fit_window
from vit_jax.models import create_model, init_params

CASES = {
    "plain": ((8, 8), (4, 4), False, True),
    "shifted": ((8, 8), (4, 4), True, True),
    "padded": ((5, 7), (3, 4), False, True),
    "padded and shifted": ((5, 7), (3, 4), True, True),
    "shifted before it is padded": ((5, 7), (3, 4), True, False),
    "one window": ((3, 3), (4, 4), True, True),
}


def a_block(name):
    grid, window, shifted, pad_first = CASES[name]
    fitted, shift = fit_window(window, grid)
    where = Windows(fitted, shift if shifted else (0, 0), pad_first)
    return Block("block_00", grid, 4, 0, 2, where)


@functools.cache
def layer(name):
    """Returns window attention as a function, its random parameters, and a random map for it."""
    grid, window, shifted, pad_first = CASES[name]
    attention = WindowAttention(2, window, shifted, pad_first)
    x = np.random.default_rng().normal(size=(1, *grid, 4)).astype(np.float32)
    shapes = jax.eval_shape(lambda: attention.init(jax.random.key(0), x))
    draw = np.random.default_rng()
    params = jax.tree.map(lambda s: draw.normal(0, 0.5, s.shape).astype(np.float32), shapes)
    return jax.jit(functools.partial(attention.apply, return_weights=True)), params["params"], x


@pytest.mark.parametrize("name", CASES)
def test_a_query_sees_what_the_layer_lets_it_see(name):
    """The places whose change changes the output of a query are those said to be visible."""
    attention, params, x = layer(name)
    block = a_block(name)
    rows, columns = block.grid
    places = list(itertools.product(range(rows), range(columns)))
    changed = np.repeat(x, 1 + len(places), axis=0)
    for i, (row, column) in enumerate(places):
        changed[1 + i, row, column] += 3
    answers = np.asarray(attention({"params": params}, changed)[0])
    different = np.abs(answers[1:] - answers[0]).max(axis=-1) > 1e-5
    for row, column in places:
        seen = different[:, row, column].reshape(rows, columns)
        np.testing.assert_array_equal(windows.visible(block, (row, column)), seen)


@pytest.mark.parametrize("name", CASES)
def test_maps_lie_where_their_values_come_from(name):
    """With values that tell their place, the output is the map on the picture times the values."""
    attention, params, x = layer(name)
    block = a_block(name)
    expected, maps = map(np.asarray, attention({"params": params}, x))
    qkv, out = params["qkv"], params["out"]
    kernel, bias = np.asarray(qkv["kernel"])[:, 2], np.asarray(qkv["bias"])[2]
    values = np.einsum("hwd,dnk->hwnk", x[0], kernel)  # the bias comes from padding as well
    for query in itertools.product(*map(range, block.grid)):
        rows = windows.on_image(maps, block, query)[0]
        heads = np.einsum("nhw,hwnk->nk", rows, values) + bias
        np.testing.assert_allclose(
            np.einsum("nk,nkd->d", heads, out["kernel"]) + out["bias"],
            expected[0][query],
            rtol=2e-4,
            atol=2e-4,
        )
        assert rows[:, ~windows.visible(block, query)].max(initial=0) < 1e-20


@pytest.mark.parametrize("name", CASES)
def test_distance_is_measured_on_the_picture(name):
    """Query by query from the maps on the picture, weights on padding left out."""
    attention, params, x = layer(name)
    block = a_block(name)
    maps = np.asarray(attention({"params": params}, x)[1])
    reached = []
    for query in itertools.product(*map(range, block.grid)):
        rows = windows.on_image(maps.astype(np.float64), block, query)[0]
        y, x = np.indices(block.grid)
        apart = 4 * np.hypot(y - query[0], x - query[1])
        reached.append((rows * apart).sum((1, 2)) / rows.sum((1, 2)))
    np.testing.assert_allclose(
        windows.mean_distance(maps, block), np.mean(reached, axis=0), rtol=1e-6
    )


@pytest.mark.parametrize("name", CASES)
def test_what_uniform_attention_would_be_is_the_mean_over_what_is_seen(name):
    """Each query, the mean distance to the places that it sees, itself among them."""
    block = a_block(name)
    places = np.array(list(np.ndindex(block.grid)))
    means = []
    for row, column in places:
        seen = np.argwhere(windows.visible(block, (row, column)))
        means.append(np.hypot(*(seen - [row, column]).T).mean())
    assert uniform_distance(block) == pytest.approx(block.pixels * np.mean(means), rel=1e-6)


def test_uniform_attention_of_a_vit_leaves_out_the_class_token():
    block = Block("block_00", (2, 3), 5, prefix=2, heads=1)
    places = np.array(list(np.ndindex(2, 3)))
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    assert uniform_distance(block) == pytest.approx(5 * apart.mean())


def test_uniform_attention_in_windows_looks_as_far_as_a_window_is_wide():
    block = a_block("plain")
    maps = np.full((2, 4, 3, 16, 16), 1 / 16)
    places = list(itertools.product(range(4), repeat=2))
    expected = 4 * np.mean([math.dist(a, b) for a, b in itertools.product(places, repeat=2)])
    np.testing.assert_allclose(windows.mean_distance(maps, block), [expected] * 3, rtol=1e-12)


def test_bias_tables_are_what_a_query_adds_to_its_surroundings():
    """Without queries and keys, scores are the biases: logarithms of ratios of the real maps."""
    model = create_model(
        "swin_tiny_patch4_window7_224", 2, image_size=(24, 32), patch_size=4, width=8,
        depths=(2, 2), num_heads=(2, 4), window_size=(3, 4),
    )  # fmt: skip
    draw = np.random.default_rng()
    params = jax.tree.map(
        lambda s: draw.normal(size=s.shape).astype(np.float32),
        jax.eval_shape(lambda: init_params(model, jax.random.key(0))),
    )
    for stage, name in itertools.product(("stage_0", "stage_1"), ("block_00", "block_01")):
        qkv = params[stage][name]["attn"]["qkv"]
        qkv["kernel"][:, :2], qkv["bias"][:2] = 0, 0
    images = draw.normal(size=(1, 24, 32, 3)).astype(np.float32)
    inside = look.collect(model, params, images)
    tables = windows.bias_tables(model.spec, params)
    assert list(tables) == [b.name for b in blocks(model.spec)]
    for block in blocks(model.spec):
        query = block.grid[0] // 2, block.grid[1] // 2
        rows, table = windows.on_image(inside.maps[block.name], block, query)[0], tables[block.name]
        seen = windows.visible(block, query)
        middle = table.shape[1] // 2, table.shape[2] // 2
        for y, x in np.argwhere(seen):
            bias = table[:, middle[0] + y - query[0], middle[1] + x - query[1]]
            ratio = np.log(rows[:, y, x] / rows[:, query[0], query[1]])
            np.testing.assert_allclose(
                ratio, bias - table[:, middle[0], middle[1]], rtol=1e-4, atol=1e-4
            )
