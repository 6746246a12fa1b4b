# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Pictures as they come: the odd, the broken, and what lies beside them."""

import io
import pathlib

import numpy as np
from PIL import Image

COLOURS = {"red ones": 0, "grün": 1, "蓝": 2}
"""Class folders; the picture of a class is bright in one channel."""

NOT_PICTURES = ("notes.txt", "photo.tif", ".hidden.jpg", "README")
BROKEN = ("truncated.jpg", "text.jpg", "empty.jpg")
ODD = (
    "cmyk.jpg", "sixteen bits.png", "moving.gif", "one pixel.png", "wide.jpg", "tall.png",
    "ünï cödé 图.JPG", "UPPER.PNG",
)  # fmt: skip


def picture(channel, height=24, width=28, seed=0):
    """Returns a noisy PIL image, bright in one channel."""
    pixels = np.random.default_rng(seed).integers(0, 90, (height, width, 3))
    pixels[..., channel] += 120
    return Image.fromarray(pixels.astype(np.uint8))


def encode(image, kind="JPEG", **options):
    contents = io.BytesIO()
    image.save(contents, kind, **options)
    return contents.getvalue()


def odd_picture(name, channel=0):
    """Returns the bytes of one of `ODD`, `BROKEN` or `NOT_PICTURES`."""
    if name == "truncated.jpg":
        whole = encode(picture(channel, 100, 100))
        return whole[: len(whole) // 2]
    make = {
        "cmyk.jpg": lambda: encode(picture(channel).convert("CMYK")),
        "sixteen bits.png": lambda: encode(
            Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 160), "PNG"
        ),
        "moving.gif": lambda: encode(
            picture(channel), "GIF", save_all=True, append_images=[picture(1)]
        ),
        "one pixel.png": lambda: encode(picture(channel, 1, 1), "PNG"),
        "wide.jpg": lambda: encode(picture(channel, 20, 20_000)),
        "tall.png": lambda: encode(picture(channel, 20_000, 20), "PNG"),
        "UPPER.PNG": lambda: encode(picture(channel), "PNG"),
        "ünï cödé 图.JPG": lambda: encode(picture(channel)),
        "empty.jpg": lambda: b"",
    }
    return make.get(name, lambda: b"this is no picture")()


def fill(root, names=(), each=20):
    """Writes `each` plain pictures a class, and the odd files `names` into the first."""
    root = pathlib.Path(root)
    for name, channel in COLOURS.items():
        folder = root / name
        folder.mkdir(parents=True)
        for i in range(each):
            (folder / f"{i:02d}.jpg").write_bytes(encode(picture(channel, seed=i)))
    for name in names:
        (root / next(iter(COLOURS)) / name).write_bytes(odd_picture(name))
    return root
