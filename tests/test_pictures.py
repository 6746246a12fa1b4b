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
    drawn = pixels(pictures.grid(tmp_path / "g.png", [image], [0], ["one"]))
    known = {tuple(colour) for colour in image.reshape(-1, 3)}
    found = [tuple(c) in known for c in drawn[drawn.shape[0] // 2 :: 3, ::3].reshape(-1, 3)]
    assert np.mean(found) > 0.5  # the rest is margin
    for colour in list(known)[:20]:
        assert share_of(drawn, np.array(colour)) > 0.3 / 64


def test_only_mistakes_are_red(tmp_path):
    images = np.full((4, 16, 16, 1), 128, np.uint8)
    right, wrong = np.eye(4), np.eye(4)[[1, 0, 3, 2]]
    names = ["a", "b", "c", "d"]
    for name, probabilities in (("right", right), ("wrong", wrong), ("none", None)):
        pictures.grid(tmp_path / f"{name}.png", images, range(4), names, probabilities)
    assert share_of(pixels(tmp_path / "wrong.png"), RED) > 0.02
    assert share_of(pixels(tmp_path / "right.png"), RED) == 0
    assert share_of(pixels(tmp_path / "none.png"), RED) == 0


@pytest.mark.parametrize("count", [1, 7, 8, 9, 32])
def test_every_image_gets_its_place(tmp_path, count):
    """Image k is one grey of its own; all greys are found, in reading order."""
    greys = np.linspace(20, 220, count).astype(np.uint8)
    images = [np.full((8, 8, 1), grey, np.uint8) for grey in greys]
    drawn = pixels(pictures.grid(tmp_path / "g.png", images, [0] * count, ["x"]))
    places = []
    for grey in greys:
        rows, columns = np.nonzero(np.abs(drawn - int(grey)).max(-1) <= 1)
        assert len(rows) > 1_000
        places.append((round(float(np.median(rows)) / 20), float(np.median(columns))))
    assert places == sorted(places)


def test_images_of_several_sizes_and_long_names(tmp_path):
    images = [np.zeros(shape, np.uint8) for shape in ((8, 8, 1), (100, 60, 3), (64, 200, 3))]
    names = ["a very long name of a class, in words", "b", "c"]
    path = pictures.grid(tmp_path / "g.png", images, [0, 1, 2], names, np.eye(3))
    assert path.stat().st_size > 1_000


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
