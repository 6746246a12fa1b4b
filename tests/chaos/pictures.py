# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Pictures of one colour each: whatever crops and flips leave of one says which it was."""

import pathlib

import numpy as np
from PIL import Image

TRAIN, VALIDATION = 72, 40  # an epoch of 4.5 batches of 16: batches run over its ends
SIZE = 8


def make(folder: pathlib.Path) -> None:
    """Writes two classes, one more blue than the other; red and green count the pictures."""
    for split, count in (("train", TRAIN), ("validation", VALIDATION)):
        for number in range(count):
            bright = number % 2
            path = folder / split / ("dark", "light")[bright] / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            colour = (number % 256, number // 256, 90 + 80 * bright + number % 7)
            Image.new("RGB", (SIZE, SIZE), colour).save(path)


def numbers(images: np.ndarray) -> list[int]:
    """Returns which pictures a batch uint8 `[b, H, W, 3]` shows."""
    middle = images[:, images.shape[1] // 2, images.shape[2] // 2].astype(int)
    return [int(n) for n in middle[:, 0] + 256 * middle[:, 1]]
