# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The loader people write by hand: PIL decodes and resizes, numpy normalises, as torchvision does.

Per image: open, convert to RGB, a crop of 8-100 % of the area and aspect 3/4-4/3 resized
bilinearly, a flip half of the time, float32, channels first, normalised with ImageNet's statistics;
stacked to a batch. One thread: compare CPU seconds.
"""

import io
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL
from PIL import Image

from vit_jax.data.sources import create_source

MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
STD = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]


def crop_box(random: np.random.Generator, width: int, height: int) -> tuple[int, int, int, int]:
    """Returns (left, top, right, bottom) of a random crop: ten tries, then the whole image."""
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1.0)
        aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = random.integers(width - w + 1), random.integers(height - h + 1)
            return int(left), int(top), int(left) + w, int(top) + h
    return 0, 0, width, height


def load(encoded: bytes, size: int, random: np.random.Generator) -> np.ndarray:
    """Returns one training image, float32 [3, size, size]."""
    image: Image.Image = Image.open(io.BytesIO(encoded)).convert("RGB")
    image = image.crop(crop_box(random, *image.size))
    image = image.resize((size, size), Image.Resampling.BILINEAR)
    if random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)).astype(np.float32)
    pixels /= 255
    pixels -= MEAN
    pixels /= STD
    return pixels


class Contender:
    """Batches of randomly drawn records of the job's source."""

    def __init__(self, job: SimpleNamespace):
        self._job = job
        self._source = create_source(job.source, job.split, job.data_dir or None)
        self._random = np.random.default_rng(0)

    def run(self, steps: int) -> None:
        """Loads `steps` batches."""
        for _ in range(steps):
            indices = self._random.integers(len(self._source), size=self._job.batch_size)
            records = [self._source[int(i)] for i in indices]
            np.stack([load(r["image"], self._job.image_size, self._random) for r in records])

    def facts(self) -> dict[str, Any]:
        """Returns the version of PIL."""
        return {"framework": f"pillow {PIL.__version__}"}
