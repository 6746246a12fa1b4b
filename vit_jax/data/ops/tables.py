# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The numbers of the published augmentation policies.

A table maps the name of a transform to its strength, as a function of the level (magnitude / 10)
and a random sign; names without a strength map to `none`. Only arithmetic is used, so that tensors
and numbers serve alike.
"""

from collections.abc import Callable, Mapping
from typing import Any

Table = Mapping[str, Callable[[Any, Any], Any]]
SubPolicy = tuple[tuple[str, float, int], tuple[str, float, int]]  # (transform, probability, 0..9)


def none(level, sign):
    """The strength of a transform that has none."""
    return 0.0 * level


def signed(top: float) -> Callable[[Any, Any], Any]:
    """A strength from 0 to `top`, either way."""
    return lambda level, sign: sign * top * level


def straight(low: float, high: float) -> Callable[[Any, Any], Any]:
    """A strength from `low` to `high`."""
    return lambda level, sign: low + (high - low) * level


def around_one(reach: float) -> Callable[[Any, Any], Any]:
    """A factor that moves away from 1, either way, by up to `reach`."""
    return lambda level, sign: 1 + sign * reach * level


def steps(low: int, high: int, half: float = 0.0) -> Callable[[Any, Any], Any]:
    """A whole strength: `low` and `(high - low) * level`, cut (half = 0) or rounded (0.5)."""
    direction = 1 if high > low else -1
    reach = abs(high - low)
    # 1e-4 keeps whole products whole in float32.
    return lambda level, sign: low + direction * ((reach * level + half + 1e-4) // 1)


def _enhance(strength: Callable[[Any, Any], Any]) -> dict[str, Callable[[Any, Any], Any]]:
    return dict.fromkeys(("colour", "contrast", "brightness", "sharpness"), strength)


_COMMON: dict[str, Callable[[Any, Any], Any]] = {
    "autocontrast": none,
    "equalize": none,
    "invert": none,
    "rotate": signed(30.0),
    "shear_x": signed(0.3),
    "shear_y": signed(0.3),
}

# RandAugment as EfficientNet, AugReg and timm's `rand-m9` have it. Half of its strengths fall with
# the level (posterize keeps int(4 * level) bits); translations are 100 pixels of 224.
STANDARD: Table = {
    **_COMMON,
    **_enhance(straight(0.1, 1.9)),
    "posterize": steps(0, 4),
    "solarize": steps(0, 256),
    "solarize_add": steps(0, 110),
    "translate_x": signed(0.45),
    "translate_y": signed(0.45),
}

# timm's `inc1`, the one of DeiT and Swin: every strength grows with the level.
INCREASING: Table = {
    **STANDARD,
    **_enhance(around_one(0.9)),
    "posterize": steps(4, 0),
    "solarize": steps(256, 0),
}

# AutoAugment, arXiv 1805.09501, as its authors released it: translations of 10 pixels of 32.
AUTOAUGMENT: Table = {
    **_COMMON,
    **_enhance(straight(0.1, 1.9)),
    "posterize": steps(4, 0),
    "solarize": steps(256, 0),
    "translate_x": signed(10 / 32),
    "translate_y": signed(10 / 32),
}

# TrivialAugment's wide space, arXiv 2103.10158, table 6.
TRIVIAL: Table = {
    "identity": none,
    "autocontrast": none,
    "equalize": none,
    "rotate": signed(135.0),
    "shear_x": signed(0.99),
    "shear_y": signed(0.99),
    "translate_x_px": signed(32.0),
    "translate_y_px": signed(32.0),
    **_enhance(around_one(0.99)),
    "posterize": steps(8, 2, half=0.5),
    "solarize": straight(255, 0),
}


def _policy(text: str) -> tuple[SubPolicy, ...]:
    """Reads lines of `transform probability magnitude, transform probability magnitude`."""
    policy = []
    for line in text.strip().splitlines():
        first, second = (half.split() for half in line.split(","))
        policy.append(
            (
                (first[0], float(first[1]), int(first[2])),
                (second[0], float(second[1]), int(second[2])),
            )
        )
    return tuple(policy)


# Table 9 of the paper.
IMAGENET_POLICY = _policy("""
posterize 0.4 8, rotate 0.6 9
solarize 0.6 5, autocontrast 0.6 5
equalize 0.8 8, equalize 0.6 3
posterize 0.6 7, posterize 0.6 6
equalize 0.4 7, solarize 0.2 4
equalize 0.4 4, rotate 0.8 8
solarize 0.6 3, equalize 0.6 7
posterize 0.8 5, equalize 1.0 2
rotate 0.2 3, solarize 0.6 8
equalize 0.6 8, posterize 0.4 6
rotate 0.8 8, colour 0.4 0
rotate 0.4 9, equalize 0.6 2
equalize 0.0 7, equalize 0.8 8
invert 0.6 4, equalize 1.0 8
colour 0.6 4, contrast 1.0 8
rotate 0.8 8, colour 1.0 2
colour 0.8 8, solarize 0.8 7
sharpness 0.4 7, invert 0.6 8
shear_x 0.6 5, equalize 1.0 9
colour 0.4 0, equalize 0.6 3
equalize 0.4 7, solarize 0.2 4
solarize 0.6 5, autocontrast 0.6 5
invert 0.6 4, equalize 1.0 8
colour 0.6 4, contrast 1.0 8
equalize 0.8 8, equalize 0.6 3
""")

# Table 7 of the paper.
CIFAR10_POLICY = _policy("""
invert 0.1 7, contrast 0.2 6
rotate 0.7 2, translate_x 0.3 9
sharpness 0.8 1, sharpness 0.9 3
shear_y 0.5 8, translate_y 0.7 9
autocontrast 0.5 8, equalize 0.9 2
shear_y 0.2 7, posterize 0.3 7
colour 0.4 3, brightness 0.6 7
sharpness 0.3 9, brightness 0.7 9
equalize 0.6 5, equalize 0.5 1
contrast 0.6 7, sharpness 0.6 5
colour 0.7 7, translate_x 0.5 8
equalize 0.3 7, autocontrast 0.4 8
translate_y 0.4 3, sharpness 0.2 6
brightness 0.9 6, colour 0.2 8
solarize 0.5 2, invert 0.0 3
equalize 0.2 0, autocontrast 0.6 0
equalize 0.2 8, equalize 0.6 4
colour 0.9 9, equalize 0.6 6
autocontrast 0.8 4, solarize 0.2 8
brightness 0.1 3, colour 0.7 0
solarize 0.4 5, autocontrast 0.9 3
translate_y 0.9 9, translate_y 0.7 9
autocontrast 0.9 2, solarize 0.8 3
equalize 0.8 8, invert 0.1 3
translate_y 0.7 9, autocontrast 0.9 1
""")
