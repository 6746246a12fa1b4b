# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Augmentation policies: RandAugment, AutoAugment, TrivialAugment, 3-Augment.

A policy picks among named transforms; a table turns a level in [0, 1] (magnitude / 10) and a random
sign into the strength of each. Only the picked branch runs.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from vit_jax.data.ops import pixels
from vit_jax.data.ops.colour import ColourJitter, GaussianBlur
from vit_jax.data.ops.geometry import affine, check_fill, check_probability, rotation
from vit_jax.data.ops.op import Op, register, uniform
from vit_jax.data.ops.tables import (
    AUTOAUGMENT,
    CIFAR10_POLICY,
    IMAGENET_POLICY,
    INCREASING,
    STANDARD,
    TRIVIAL,
    SubPolicy,
    Table,
)
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.registry import near_misses


def _width(image):
    tf = import_tensorflow()
    return tf.cast(tf.shape(image)[1], tf.float32)


def _height(image):
    tf = import_tensorflow()
    return tf.cast(tf.shape(image)[0], tf.float32)


# name -> f(image, strength, fill). Shears keep the corner, translations are in parts of the side,
# translations_px in pixels, as in Pillow-based policies.
TRANSFORMS: dict[str, Callable[[Any, Any, int], Any]] = {
    "identity": lambda x, v, fill: x,
    "autocontrast": lambda x, v, fill: pixels.autocontrast(x),
    "equalize": lambda x, v, fill: pixels.equalize(x),
    "invert": lambda x, v, fill: pixels.invert(x),
    "posterize": lambda x, v, fill: pixels.posterize(x, v),
    "solarize": lambda x, v, fill: pixels.solarize(x, v),
    "solarize_add": lambda x, v, fill: pixels.solarize_add(x, v),
    "colour": lambda x, v, fill: pixels.colour(x, v),
    "contrast": lambda x, v, fill: pixels.contrast(x, v),
    "brightness": lambda x, v, fill: pixels.brightness(x, v),
    "sharpness": lambda x, v, fill: pixels.sharpness(x, v),
    "rotate": lambda x, v, fill: affine(x, rotation(x, v), fill),
    "shear_x": lambda x, v, fill: affine(x, (1, v, 0, 0, 1, 0), fill),
    "shear_y": lambda x, v, fill: affine(x, (1, 0, 0, v, 1, 0), fill),
    "translate_x": lambda x, v, fill: affine(x, (1, 0, v * _width(x), 0, 1, 0), fill),
    "translate_y": lambda x, v, fill: affine(x, (1, 0, 0, 0, 1, v * _height(x)), fill),
    "translate_x_px": lambda x, v, fill: affine(x, (1, 0, v, 0, 1, 0), fill),
    "translate_y_px": lambda x, v, fill: affine(x, (1, 0, 0, 0, 1, v), fill),
}


def transform(image, names: Sequence[str], index, table: Table, level, sign, fill: int):
    """Returns the image after the transform `names[index]`, at the strength the table gives."""
    tf = import_tensorflow()
    branches = [
        lambda name=name: TRANSFORMS[name](image, table[name](level, sign), fill) for name in names
    ]
    return tf.switch_case(index, branches)


def pick(draw, count: int):
    """Returns an index below `count`, int32, from a number uniform in [0, 1)."""
    tf = import_tensorflow()
    return tf.cast(tf.floor(draw * count), tf.int32)


def coin(draw):
    """Returns -1.0 or 1.0 from a number uniform in [0, 1)."""
    return import_tensorflow().where(draw < 0.5, -1.0, 1.0)


@register("randaugment")
@dataclasses.dataclass(frozen=True)
class RandAugment(Op):
    """A few transforms drawn from fifteen, with replacement: arXiv 1909.13719.

    The transforms and ranges are timm's (those of EfficientNet's code without Cutout, for which
    there is `random_erasing`), with bilinear interpolation. `rand-m9-mstd0.5-inc1` of DeiT and Swin
    is `randaugment(2, 9, probability=0.5, magnitude_std=0.5, increasing=True)`.

    Args:
        num_layers: transforms an image.
        magnitude: 10 is the full range; more goes beyond it (AugReg uses 15 and 20).
        probability: of each layer to act.
        magnitude_std: spread of normal noise on the magnitude, cut to [0, max(10, magnitude)].
        increasing: every strength grows with the magnitude; otherwise some fall, as published.
        fill: the value beyond a moved image.
    """

    num_layers: int = 2
    magnitude: float = 9.0
    probability: float = 1.0
    magnitude_std: float = 0.0
    increasing: bool = False
    fill: int = 128

    random: ClassVar[bool] = True

    def check(self) -> None:
        self.require(self.num_layers > 0, f"num_layers must be positive, got {self.num_layers}")
        for field in ("magnitude", "magnitude_std"):
            value = getattr(self, field)
            self.require(0 <= value <= 30, f"{field} must be within [0, 30], got {value}")
        check_probability(self)
        check_fill(self, self.fill)

    def apply(self, image, seed):
        tf = import_tensorflow()
        table = INCREASING if self.increasing else STANDARD
        # "identity" stands last, for layers that do not act.
        names = [*sorted(table), "identity"]
        table = {**table, "identity": TRIVIAL["identity"]}
        for layer_seed in tf.unstack(tf.random.split(seed, self.num_layers)):
            draws = uniform(layer_seed, [3])
            acts = draws[1] < self.probability
            index = tf.where(acts, pick(draws[0], len(names) - 1), len(names) - 1)
            level = self.level(layer_seed)
            image = transform(image, names, index, table, level, coin(draws[2]), self.fill)
        return image

    def level(self, seed):
        """Returns the level of one layer, magnitude / 10 with noise."""
        tf = import_tensorflow()
        magnitude = tf.constant(self.magnitude)
        if self.magnitude_std:
            noise_seed = tf.random.fold_in(seed, 1)
            noise = tf.random.stateless_normal([], noise_seed, alg="philox")
            noisy = magnitude + self.magnitude_std * noise
            magnitude = tf.clip_by_value(noisy, 0.0, max(10.0, self.magnitude))
        return magnitude / 10


@register("autoaugment")
@dataclasses.dataclass(frozen=True)
class AutoAugment(Op):
    """One of 25 learned pairs of transforms: arXiv 1805.09501, ranges of its authors' code.

    Args:
        policy: "imagenet" or "cifar10".
        fill: the value beyond a moved image.
    """

    policy: str = "imagenet"
    fill: int = 128

    random: ClassVar[bool] = True
    POLICIES: ClassVar[dict[str, tuple[SubPolicy, ...]]] = {
        "imagenet": IMAGENET_POLICY,
        "cifar10": CIFAR10_POLICY,
    }

    def check(self) -> None:
        hint = near_misses(self.policy, self.POLICIES) or f"; known: {', '.join(self.POLICIES)}"
        self.require(self.policy in self.POLICIES, f"unknown policy {self.policy!r}{hint}")
        check_fill(self, self.fill)

    def apply(self, image, seed):
        tf = import_tensorflow()
        policy = self.POLICIES[self.policy]
        names = sorted({name for pair in policy for name, _, _ in pair})
        table = {**AUTOAUGMENT, "identity": TRIVIAL["identity"]}
        draws = uniform(seed, [5])
        chosen = pick(draws[0], len(policy))
        for half in (0, 1):
            parts = [pair[half] for pair in policy]
            index = tf.gather([names.index(name) for name, _, _ in parts], chosen)
            acts = draws[1 + half] < tf.gather([probability for _, probability, _ in parts], chosen)
            level = tf.gather([magnitude / 10 for _, _, magnitude in parts], chosen)
            image = transform(
                image,
                [*names, "identity"],
                tf.where(acts, index, len(names)),
                table,
                level,
                coin(draws[3 + half]),
                self.fill,
            )
        return image


@register("trivialaugment")
@dataclasses.dataclass(frozen=True)
class TrivialAugment(Op):
    """One transform of fourteen at one of 31 strengths, both uniform: arXiv 2103.10158 (wide)."""

    fill: int = 0

    random: ClassVar[bool] = True
    LEVELS: ClassVar[int] = 31

    def check(self) -> None:
        check_fill(self, self.fill)

    def apply(self, image, seed):
        tf = import_tensorflow()
        names = sorted(TRIVIAL)
        draws = uniform(seed, [3])
        level = tf.floor(draws[1] * self.LEVELS) / (self.LEVELS - 1)
        index = pick(draws[0], len(names))
        return transform(image, names, index, TRIVIAL, level, coin(draws[2]), self.fill)


@register("three_augment")
@dataclasses.dataclass(frozen=True)
class ThreeAugment(Op):
    """DeiT III's augmentation, arXiv 2204.07118: grey, solarised or blurred, then colour jitter.

    Args:
        jitter: strength of brightness, contrast and saturation jitter; 0 leaves it out.
    """

    jitter: float = 0.3

    random: ClassVar[bool] = True

    def check(self) -> None:
        self.require(self.jitter >= 0, f"jitter must not be negative, got {self.jitter}")

    def apply(self, image, seed):
        tf = import_tensorflow()
        pick_seed, blur_seed, jitter_seed = tf.unstack(tf.random.split(seed, 3))
        image = tf.switch_case(
            pick(uniform(pick_seed, []), 3),
            [
                lambda: pixels.grey(image),
                lambda: pixels.solarize(image, 128),
                lambda: GaussianBlur(0.1, 2.0).change(image, blur_seed),
            ],
        )
        if not self.jitter:
            return image
        return ColourJitter(self.jitter, self.jitter, self.jitter).apply(image, jitter_seed)
