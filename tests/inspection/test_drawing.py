# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Figures show what they are given, where they say."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from vit_jax import pictures
from vit_jax.inspection import drawing


def pixels(figure: Figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)


def where(image, colour):
    """Returns (top, bottom, left, right) of a colour."""
    rows, columns = np.nonzero(np.abs(image - colour).max(-1) <= 1)
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_tiles_lie_in_rows_and_columns_pixel_by_pixel():
    """Four colours, one place empty: squares of the side asked for, in reading order."""
    colours = {(0, 0): (200, 10, 10), (0, 1): (10, 200, 10), (1, 0): (10, 10, 200)}
    tile = {place: np.full((5, 5, 3), colour, np.uint8) for place, colour in colours.items()}
    rows = [[tile[0, 0], tile[0, 1]], [tile[1, 0], None]]
    with pictures.style():
        image = pixels(drawing.tiles(rows, row_names=["a", "b"], title="title", side=40))
    boxes = {place: where(image, np.array(colour)) for place, colour in colours.items()}
    for top, bottom, left, right in boxes.values():
        assert abs(bottom - top + 1 - 40) <= 1
        assert abs(right - left + 1 - 40) <= 1
    assert boxes[0, 0][1] < boxes[1, 0][0]
    assert boxes[0, 0][3] < boxes[0, 1][2]
    assert boxes[0, 0][2] == boxes[1, 0][2]


def test_a_map_is_brightest_where_it_is_largest():
    weights = np.random.default_rng().permutation(64).reshape(8, 8) / 63
    light = drawing.heat(weights).sum(-1).astype(int).ravel()
    assert (np.diff(light[np.argsort(weights.ravel())]) >= 0).all()
    half = drawing.heat(weights / 2, high=1.0)
    np.testing.assert_array_equal(half[weights == 1], drawing.heat(np.array([[0.5, 1]]))[0, :1])


def test_signs_are_colours():
    red, white, blue = drawing.signed(np.array([[2.0, 0.0, -2.0]]))[0].astype(int)
    assert red[0] > red[2] + 50
    assert blue[2] > blue[0] + 50
    assert white.min() > 230


def test_the_frame_lies_around_its_square():
    tile = drawing.marked(np.zeros((96, 96, 3), np.uint8), (24, 48), 12)
    assert where(tile.astype(int), np.array(drawing.MARK)) == (24, 35, 48, 59)
    assert not tile[26:34, 50:58].any()
    assert not drawing.marked(np.zeros((8, 8, 3), np.uint8), (0, 0), 4)[4:].any()


def test_a_map_over_a_picture_keeps_both():
    """Where nothing is looked at the picture is darker; where all is, it is of the map's colour."""
    picture = np.full((8, 8, 3), 200, np.uint8)
    weights = np.zeros((2, 2))
    weights[0, 1] = 1
    seen = drawing.overlay(picture, weights)
    assert seen[6, 1].max() <= 80
    assert seen[1, 6].sum() > 2 * seen[6, 1].sum()
    np.testing.assert_array_equal(seen[:4, 4:], np.broadcast_to(seen[0, 4], (4, 4, 3)))


def test_small_pictures_become_squares():
    picture = np.random.default_rng().integers(0, 256, (8, 6, 1), dtype=np.uint8)
    large, times = drawing.enlarged(picture)
    assert times == 12
    np.testing.assert_array_equal(large[5::12, 5::12, 0], picture[..., 0])
    np.testing.assert_array_equal(drawing.scaled(large, (8, 6))[..., 0], picture[..., 0])


def test_units_of_a_mosaic_come_in_pairs():
    values = np.stack([np.full((2, 2), sign) for sign in (1.0, -1.0) * 3])
    sheet = drawing.mosaic(values, columns=4, cell=5).astype(int)
    assert sheet.shape == (2 * 10 + 10, 4 * 10 + 10 + 1, 3)
    red, blue = drawing.signed(np.array([[1.0, -1.0]]))[0].astype(int)
    np.testing.assert_array_equal(sheet[3, 3], red)
    np.testing.assert_array_equal(sheet[3, 15], blue)
    np.testing.assert_array_equal(sheet[25, 3], red)
    assert (sheet[25, 30:] == 255).all()


@pytest.mark.parametrize("grid", [(4, 6), (28, 14)])
def test_a_tile_of_positions_is_brightest_at_its_own(grid):
    """Cosines of the identity: of every tile that is drawn one place is yellow."""
    tokens = grid[0] * grid[1]
    figure = drawing.positions(np.eye(tokens).reshape(*grid, *grid))
    image = pixels(figure)
    yellow = np.abs(image - np.array([253, 231, 37])).max(-1) <= 2
    step = -(-max(grid) // 16)  # of more than 16 rows or columns not all are drawn
    drawn = [np.arange(step // 2, n, step) for n in grid]
    sheet = yellow[34:-40, 60:-100]  # between the names and the scale
    side = 560 // max(map(len, drawn))  # of the longer side of a tile
    high, wide = (side * n // max(grid) for n in grid)
    for i, row in enumerate(drawn[0]):
        for j, column in enumerate(drawn[1]):
            top, left = i * (high + 4), j * (wide + 4)
            spots = np.argwhere(sheet[top : top + high, left : left + wide])
            at = (spots.mean(0) + 0.5) * grid / [high, wide] - 0.5
            np.testing.assert_allclose(at, [row, column], atol=0.6)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [
        str(r + 1) for r in drawn[0]
    ]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == [
        str(c + 1) for c in drawn[1]
    ]


def test_every_head_is_a_point_at_its_height():
    far = {"block_00": np.array([1.0, 2.0]), "block_01": np.array([3.0, 4.0, 5.0])}
    figure = drawing.distances(far, {"block_00": 2.5, "block_01": 2.5})
    (axes,) = figure.axes
    points = [collection.get_offsets().tolist() for collection in axes.collections]
    assert points == [[[0, 1], [0, 2]], [[1, 3], [1, 4], [1, 5]]]
    mean, uniform = (line.get_ydata() for line in axes.lines)
    assert list(mean) == [1.5, 4]
    assert list(uniform) == [2.5, 2.5]


def test_reaches_stand_at_their_depths():
    far = {"a": {0.0: 1.0, 0.5: 2.0}, "cost_$5_$6": {0.0: 3.0, 1 / 3: 4.0, 1.0: 5.0}}
    figure = drawing.reaches(far)
    pixels(figure)  # a name is no formula
    (axes,) = figure.axes
    assert [dict(zip(*line.get_data(), strict=True)) for line in axes.lines] == list(far.values())
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(far)


def test_filters_are_scaled_alone_around_grey():
    components = np.zeros((8, 4, 4, 3))
    components[0, 0, 0] = [2, -2, 0]
    components[1, 0, 0] = [0.1, -0.1, 0]
    image = pixels(drawing.filters(components, columns=4))
    assert (np.abs(image - np.array([255, 0, 128])).max(-1) <= 1).sum() == pytest.approx(
        2 * 18**2, rel=0.1
    )
