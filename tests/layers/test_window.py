# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Windows against loops over pixels.

The reference never rolls a map: the windows of a shifted layer are the cells of a grid that starts
at the shift, cut off at the borders of the padded map, and a pixel attends to its own cell.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vit_jax.layers import window as windows

# map size, window: square, rectangular, padded on one axis or both, one axis or both covered
CASES = [
    ((8, 8), (4, 4)),
    ((6, 8), (3, 4)),
    ((7, 10), (4, 4)),
    ((9, 5), (4, 3)),
    ((4, 12), (4, 4)),
    ((3, 9), (5, 4)),
    ((2, 3), (4, 4)),
    ((7, 7), (7, 7)),
]


def _cells(size, window, shift):
    """The cell (row, column) of every pixel of a padded map, and the padded size."""
    padded = [-(-s // w) * w for s, w in zip(size, window, strict=True)]
    pixels = itertools.product(range(padded[0]), range(padded[1]))
    return {
        p: tuple((a - s) // w for a, s, w in zip(p, shift, window, strict=True)) for p in pixels
    }, padded


@pytest.mark.parametrize(("size", "window"), CASES)
def test_windows_shrink_and_lose_their_shift_where_they_cover_the_map(size, window):
    fitted, shift = windows.fit_window(window, size)
    for s, w, f, step in zip(size, window, fitted, shift, strict=True):
        assert (f, step) == ((w, w // 2) if s > w else (s, 0))


def test_partition_cuts_windows_row_by_row_and_merge_undoes_it():
    x = np.random.default_rng().standard_normal((2, 6, 8, 3)).astype(np.float32)
    cut = np.asarray(windows.partition(jnp.asarray(x), (3, 4)))
    assert cut.shape == (2, 4, 12, 3)
    for y, c in itertools.product(range(6), range(8)):
        index, inside = (y // 3) * 2 + c // 4, (y % 3) * 4 + c % 4
        np.testing.assert_array_equal(cut[:, index, inside], x[:, y, c])
    np.testing.assert_array_equal(windows.merge(jnp.asarray(cut), (3, 4), (6, 8)), x)


def test_padding_appends_zeros_below_and_right():
    x = np.random.default_rng().standard_normal((2, 5, 6, 3)).astype(np.float32)
    padded = np.asarray(windows.pad_to_multiple(jnp.asarray(x), (4, 3)))
    assert padded.shape == (2, 8, 6, 3)
    np.testing.assert_array_equal(padded[:, :5], x)
    assert not padded[:, 5:].any()


def test_cyclic_shift_brings_the_shifted_pixel_to_the_corner_and_back():
    x = np.random.default_rng().standard_normal((2, 5, 6, 3)).astype(np.float32)
    shifted = windows.cyclic_shift(jnp.asarray(x), (2, 1))
    np.testing.assert_array_equal(shifted[:, 0, 0], x[:, 2, 1])
    np.testing.assert_array_equal(shifted[:, 4, 5], x[:, 1, 0])
    np.testing.assert_array_equal(windows.cyclic_shift(shifted, (-2, -1)), x)


@pytest.mark.parametrize(("size", "window"), CASES)
def test_mask_lets_a_pixel_see_its_own_cell_alone(size, window):
    window, shift = windows.fit_window(window, size)
    cells, padded = _cells(size, window, shift)
    label = np.arange(padded[0] * padded[1], dtype=np.float32).reshape(1, *padded, 1)
    rolled = windows.partition(windows.cyclic_shift(jnp.asarray(label), shift), window)
    places = [[divmod(int(i), padded[1]) for i in w] for w in np.asarray(rolled)[0, :, :, 0]]
    mask = windows.shift_mask(tuple(padded), window, shift)
    assert mask.shape == (len(places), len(places[0]), len(places[0]))
    seen = {p: set() for p in cells}
    for w, here in enumerate(places):
        for (i, a), (j, b) in itertools.product(enumerate(here), repeat=2):
            assert mask[w, i, j] in (0.0, windows.MASKED)
            if mask[w, i, j] == 0.0:
                seen[a].add(b)
    for a, b in itertools.product(cells, repeat=2):
        assert (b in seen[a]) == (cells[a] == cells[b])


@pytest.mark.parametrize(
    ("table_window", "window"),
    [((3, 3), (3, 3)), ((4, 2), (4, 2)), ((4, 5), (2, 5)), ((4, 4), (3, 1))],
)
def test_relative_bias_is_the_tables_row_of_the_offset(table_window, window):
    (H, W), (h, w) = table_window, window
    rng = np.random.default_rng()
    table = rng.standard_normal(((2 * H - 1) * (2 * W - 1), 2)).astype(np.float32)
    bias = np.asarray(windows.relative_bias(jnp.asarray(table), table_window, window))
    assert bias.shape == (2, h * w, h * w)
    pixels = list(itertools.product(range(h), range(w)))
    for (i, a), (j, b) in itertools.product(enumerate(pixels), repeat=2):
        row = (a[0] - b[0] + H - 1) * (2 * W - 1) + a[1] - b[1] + W - 1
        np.testing.assert_array_equal(bias[:, i, j], table[row])


def _attend(pixels, params, table_window, window, shift):
    """Window attention of one map, pixels `[H, W, D]`, in float64, pixel by pixel."""
    size, (table_h, table_w) = pixels.shape[:2], table_window
    cells, padded = _cells(size, window, shift)
    full = np.zeros((*padded, pixels.shape[-1]))
    full[: size[0], : size[1]] = pixels
    q, k, v = np.moveaxis(
        np.einsum("yxd,dthk->yxthk", full, params["qkv"]["kernel"]) + params["qkv"]["bias"], 2, 0
    )
    out = np.zeros(pixels.shape)
    for a in itertools.product(range(size[0]), range(size[1])):
        peers = [b for b in cells if cells[b] == cells[a]]
        rows = [
            (a[0] - b[0] + table_h - 1) * (2 * table_w - 1) + a[1] - b[1] + table_w - 1
            for b in peers
        ]
        keys, values = np.stack([k[b] for b in peers]), np.stack([v[b] for b in peers])
        scores = np.einsum("hk,nhk->nh", q[a], keys) / np.sqrt(q.shape[-1])
        weights = np.exp(scores + params["relative_position_bias"][rows])
        weights /= weights.sum(axis=0)
        heads = np.einsum("nh,nhk->hk", weights, values)
        out[a] = np.einsum("hk,hkd->d", heads, params["out"]["kernel"]) + params["out"]["bias"]
    return out


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("size", "window"), CASES)
def test_window_attention_equals_a_loop_over_pixels(size, window, shifted):
    rng = np.random.default_rng()
    x = rng.standard_normal((2, *size, 6)).astype(np.float32)
    layer = windows.WindowAttention(num_heads=2, window=window, shifted=shifted)
    params = jax.eval_shape(layer.init, jax.random.key(0), x)["params"]
    params = jax.tree.map(lambda p: rng.standard_normal(p.shape).astype(np.float32), params)
    out = layer.apply({"params": params}, x)
    fitted, shift = windows.fit_window(window, size)
    shift = shift if shifted else (0, 0)
    wanted = np.stack([_attend(one, params, window, fitted, shift) for one in x])
    np.testing.assert_allclose(out, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())


def test_window_attention_returns_the_weights_it_used():
    rng = np.random.default_rng()
    x = rng.standard_normal((2, 6, 7, 6)).astype(np.float32)
    layer = windows.WindowAttention(num_heads=2, window=(4, 4), shifted=True)
    variables = layer.init(jax.random.key(0), x)
    out, weights = layer.apply(variables, x, return_weights=True)
    assert weights.shape == (2, 4, 2, 16, 16)
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(out, layer.apply(variables, x), atol=1e-5)
    closed = windows.shift_mask((8, 8), (4, 4), (2, 2)) != 0
    assert np.asarray(weights).transpose(1, 3, 4, 0, 2)[closed].max() < 1e-30
