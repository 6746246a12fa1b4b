# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The usual preprocessing of evaluation, from the facts of a model."""

import math

from vit_jax.data.ops.device import STATISTICS
from vit_jax.data.ops.language import Ops, parse

Numbers = tuple[float, ...]


def evaluation_ops(
    size: tuple[int, int],
    mean: Numbers,
    std: Numbers,
    *,
    crop_fraction: float = 1.0,
    interpolation: str = "bicubic",
) -> Ops:
    """Returns the ops that see a colour image as timm's evaluation does.

    The shorter side is resized to `floor(size / crop_fraction)` and the centre cut out. A size that
    is not square is resized to as it is: cutting would show one axis less of the image.

    Args:
        size: (height, width) in pixels.
        mean, std: of pixels in [0, 1], one number a channel.
        crop_fraction: side of the crop over that of the resized image.
        interpolation: of the resize.
    """
    height, width = size
    resize = f"resize(({height}, {width}), {interpolation})"
    if height == width:
        side = math.floor(height / crop_fraction)
        resize = f"resize_small({side}, {interpolation})|central_crop({height})"
    named = [name for name, known in STATISTICS.items() if known == _shortest(mean, std)]
    statistics = named[0] if named else f"{mean}, {std}"
    return parse(f"decode|{resize}|normalise({statistics})")


def _shortest(mean: Numbers, std: Numbers) -> tuple[Numbers, Numbers]:
    """Returns one number for all channels where they have the same."""
    if len(set(mean)) == len(set(std)) == 1:
        return mean[:1], std[:1]
    return mean, std
