# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Pictures show what they are given: the right pixels, and red only around mistakes."""

import json

import numpy as np
import pytest
from PIL import Image

from vit_jax import pictures

RED = np.array([0xB0, 0x00, 0x20])


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def share_of(image, colour):
    return float((np.abs(image - colour).max(-1) < 8).mean())


def test_small_images_stay_sharp(tmp_path):
    """An 8x8 image is drawn as 64 flat squares of its own colours, not blurred."""
    rng = np.random.default_rng(5)
    image = rng.choice(np.arange(0, 256, 36, dtype=np.uint8), (8, 8, 3))
    drawn = pixels(pictures.grid(tmp_path / "g.png", [image], ["one"]))
    known = {tuple(colour) for colour in image.reshape(-1, 3)}
    found = [tuple(c) in known for c in drawn[drawn.shape[0] // 2 :: 3, ::3].reshape(-1, 3)]
    assert np.mean(found) > 0.5  # the rest is margin
    for colour in list(known)[:20]:
        assert share_of(drawn, np.array(colour)) > 0.3 / 64


def test_only_mistakes_are_red(tmp_path):
    images = np.full((4, 16, 16, 1), 128, np.uint8)
    guesses = {"right": "abcd", "wrong": "badc", "none": ""}
    for name, letters in guesses.items():
        told = [(letter, 0.9) for letter in letters] or None
        pictures.grid(tmp_path / f"{name}.png", images, "abcd", told, title="title")
    assert share_of(pixels(tmp_path / "wrong.png"), RED) > 0.02
    assert share_of(pixels(tmp_path / "right.png"), RED) == 0
    assert share_of(pixels(tmp_path / "none.png"), RED) == 0


@pytest.mark.parametrize("count", [1, 7, 8, 9, 32])
def test_every_image_gets_its_place(tmp_path, count):
    """Image k is one grey of its own; all greys are found, in reading order."""
    greys = np.linspace(20, 220, count).astype(np.uint8)
    images = [np.full((8, 8, 1), grey, np.uint8) for grey in greys]
    drawn = pixels(pictures.grid(tmp_path / "g.png", images, ["x"] * count))
    places = []
    for grey in greys:
        rows, columns = np.nonzero(np.abs(drawn - int(grey)).max(-1) <= 1)
        assert len(rows) > 1_000
        places.append((round(float(np.median(rows)) / 20), float(np.median(columns))))
    assert places == sorted(places)


def test_images_of_several_sizes_and_long_names(tmp_path):
    images = [np.zeros(shape, np.uint8) for shape in ((8, 8, 1), (100, 60, 3), (64, 200, 3))]
    names = ["a very long name of a class, in words", "grün", "蓝"]  # no font here has the last
    path = pictures.grid(tmp_path / "g.png", images, names, [(name, 0.5) for name in names])
    assert len(path.read_bytes()) > 1_000


def test_curves_show_every_split_that_is_there(tmp_path):
    lines = [
        {"step": s, "split": "train", "loss": 1 / s, "accuracy": 1 - 1 / s, "learning_rate": 1e-3}
        for s in range(1, 100)
    ]
    blue, red, green = ([0x44, 0x77, 0xAA], [0xCC, 0x66, 0x77], [0x11, 0x77, 0x33])

    def draw(lines):
        path = tmp_path / "metrics.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        image = pixels(pictures.curves(path, tmp_path / "curves.png"))
        return [share_of(image, np.array(c)) > 0 for c in (blue, red, green)]

    assert draw(lines) == [True, False, False]
    lines.append({"step": 50, "split": "validation", "loss": 0.3, "accuracy": 0.8})
    assert draw(lines) == [True, True, False]
    lines.append({"step": 99, "split": "test", "loss": None, "accuracy": 0.8})  # None: not finite
    assert draw(lines) == [True, True, True]


def test_a_confusion_matrix_shows_its_counts_as_shades(tmp_path):
    """Rows are true classes: what was taken for another is dark beside the diagonal."""
    counts = np.diag([10, 10, 0, 10])
    counts[2] = [0, 0, 0, 10]  # all of the third class were taken for the fourth
    drawn = pixels(pictures.confusion(tmp_path / "c.png", counts, list("abcd"), "title"))
    dark = np.abs(drawn - np.array([8, 48, 107])).max(-1) < 8
    (top, *_, bottom), (left, *_, right) = (np.flatnonzero(dark.sum(axis) > 20) for axis in (1, 0))
    matrix = dark[top : bottom + 1, left : right + 1]
    rows, columns = (np.linspace(0, size, 5).astype(int) for size in matrix.shape)
    shades = [
        [matrix[rows[i] : rows[i + 1], columns[j] : columns[j + 1]].mean() for j in range(4)]
        for i in range(4)
    ]
    np.testing.assert_array_equal(np.array(shades) > 0.5, counts > 0)


def test_bars_of_confused_pairs_are_as_long_as_they_are_frequent(tmp_path):
    pairs = [(0, 1, 40), (2, 3, 20), (1, 0, 10)]
    names = [f"class {i}" for i in range(50)]
    drawn = pixels(pictures.confused_pairs(tmp_path / "p.png", pairs, np.full(50, 60), names))
    red = (np.abs(drawn - np.array([0xCC, 0x66, 0x77])).max(-1) < 8).sum(1)
    lengths = [int(np.median(red[start:stop])) for start, stop in _runs(red > 0)]
    np.testing.assert_allclose(np.array(lengths) / lengths[0], [1, 0.5, 0.25], atol=0.01)


def _runs(on):
    edges = np.flatnonzero(np.diff(np.concatenate([[0], on.astype(int), [0]])))
    return edges.reshape(-1, 2)
