# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Ops that change pixel values where they are: colour, blur, erasing."""

import dataclasses
import math
from typing import ClassVar

from vit_jax.data.ops import pixels
from vit_jax.data.ops.device import STATISTICS
from vit_jax.data.ops.geometry import check_probability
from vit_jax.data.ops.op import Op, register, uniform
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.registry import near_misses


@dataclasses.dataclass(frozen=True)
class Sometimes(Op):
    """An op that acts with some probability and otherwise passes the image on."""

    random: ClassVar[bool] = True

    def check(self) -> None:
        check_probability(self)

    def apply(self, image, seed):
        tf = import_tensorflow()
        first, rest = tf.unstack(tf.random.split(seed, 2))
        return tf.cond(
            uniform(first, []) < self.probability,  # type: ignore[attr-defined]
            lambda: self.change(image, rest),
            lambda: image,
        )

    def change(self, image, seed):
        """Returns the changed image."""
        raise NotImplementedError


@register("grayscale", aliases=("greyscale",))
@dataclasses.dataclass(frozen=True)
class Grayscale(Sometimes):
    """Takes the colour away with some probability; the channels stay."""

    probability: float = 1.0

    def change(self, image, seed):
        return pixels.grey(image)


@register("invert")
@dataclasses.dataclass(frozen=True)
class Invert(Sometimes):
    """Makes the negative with some probability."""

    probability: float = 0.5

    def change(self, image, seed):
        return pixels.invert(image)


@register("solarize")
@dataclasses.dataclass(frozen=True)
class Solarize(Sometimes):
    """Inverts the values at or above the threshold with some probability."""

    threshold: int = 128
    probability: float = 0.5

    def check(self) -> None:
        super().check()
        self.require(0 <= self.threshold <= 256, f"threshold must be 0 to 256: {self.threshold}")

    def change(self, image, seed):
        return pixels.solarize(image, self.threshold)


@register("gaussian_blur")
@dataclasses.dataclass(frozen=True)
class GaussianBlur(Sometimes):
    """Blurs with some probability, sigma (in pixels) drawn uniformly."""

    sigma_min: float = 0.1
    sigma_max: float = 2.0
    probability: float = 0.5

    def check(self) -> None:
        super().check()
        self.require(
            0 < self.sigma_min <= self.sigma_max,
            f"needs 0 < sigma_min <= sigma_max, got {self.sigma_min} and {self.sigma_max}",
        )

    def change(self, image, seed):
        sigma = self.sigma_min + (self.sigma_max - self.sigma_min) * uniform(seed, [])
        return pixels.gaussian_blur(image, sigma, radius=math.ceil(3 * self.sigma_max))


@register("colour_jitter", aliases=("color_jitter",))
@dataclasses.dataclass(frozen=True)
class ColourJitter(Sometimes):
    """Changes brightness, contrast, saturation and hue, in random order.

    The first three are scaled by a factor uniform in [max(0, 1 - strength), 1 + strength]; the hue
    is turned by a part of the circle uniform in [-hue, hue].
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.0
    probability: float = 1.0

    def check(self) -> None:
        super().check()
        for field in ("brightness", "contrast", "saturation", "hue"):
            value = getattr(self, field)
            self.require(value >= 0, f"{field} must not be negative, got {value}")
        self.require(self.hue <= 0.5, f"hue must be at most 0.5, half the circle, got {self.hue}")

    def change(self, image, seed):
        tf = import_tensorflow()
        strengths = (
            (pixels.brightness, max(0.0, 1 - self.brightness), 1 + self.brightness),
            (pixels.contrast, max(0.0, 1 - self.contrast), 1 + self.contrast),
            (pixels.colour, max(0.0, 1 - self.saturation), 1 + self.saturation),
            (pixels.shift_hue, -self.hue, self.hue),
        )
        active = [strength for strength in strengths if strength[1] < strength[2]]
        draws = uniform(seed, [2, len(active)])
        order = tf.argsort(draws[0])
        for place in range(len(active)):
            branches = [
                lambda f=f, low=low, high=high, u=u, x=image: f(x, low + (high - low) * u)
                for (f, low, high), u in zip(active, tf.unstack(draws[1]), strict=True)
            ]
            image = tf.switch_case(order[place], branches)
        return image


@register("random_erasing")
@dataclasses.dataclass(frozen=True)
class RandomErasing(Sometimes):
    """Overwrites one random rectangle with some probability: arXiv 1708.04896.

    The area is uniform in [area_min, area_max] of the image, the aspect ratio (height / width)
    log-uniform in [ratio_min, 1 / ratio_min]; an image in which ten draws do not fit stays.

    Args:
        mode: "constant" fills with `fill`, "colour" with one random colour, "noise" draws every
            value; random values are normal with the mean and spread of ImageNet's pixels.
    """

    probability: float = 0.25
    area_min: float = 0.02
    area_max: float = 1 / 3
    ratio_min: float = 0.3
    mode: str = "noise"
    fill: tuple[int, int, int] = (124, 116, 104)

    MODES: ClassVar[tuple[str, ...]] = ("constant", "colour", "noise")
    ATTEMPTS: ClassVar[int] = 10

    def check(self) -> None:
        super().check()
        self.require(
            0 < self.area_min <= self.area_max <= 1,
            f"needs 0 < area_min <= area_max <= 1, got {self.area_min} and {self.area_max}",
        )
        self.require(0 < self.ratio_min <= 1, f"ratio_min must be in (0, 1], got {self.ratio_min}")
        hint = near_misses(self.mode, self.MODES) or f"; known: {', '.join(self.MODES)}"
        self.require(self.mode in self.MODES, f"unknown mode {self.mode!r}{hint}")
        self.require(
            min(self.fill) >= 0 and max(self.fill) <= 255, f"fill must be bytes, got {self.fill}"
        )

    def change(self, image, seed):
        tf = import_tensorflow()
        box_seed, fill_seed = tf.unstack(tf.random.split(seed, 2))
        shape = tf.shape(image)
        top, left, height, width = tf.unstack(self.box(shape[0], shape[1], box_seed))
        widths = [
            [top, shape[0] - top - height],
            [left, shape[1] - left - width],
            [0, 0],
        ]
        erased = tf.pad(tf.ones([height, width, 1], tf.bool), widths)
        filling = self.filling([height, width, image.shape[-1]], fill_seed)
        return tf.where(erased, tf.pad(filling, widths), image)

    def box(self, height, width, seed):
        """Returns the rectangle, int32 [top, left, height, width]; empty if no draw fits."""
        tf = import_tensorflow()
        draws = uniform(seed, [4, self.ATTEMPTS])
        image = tf.cast(tf.stack([height, width]), tf.float32)
        area = image[0] * image[1] * (self.area_min + (self.area_max - self.area_min) * draws[0])
        ratio = tf.exp(math.log(self.ratio_min) * (2 * draws[1] - 1))
        sides = tf.round(tf.sqrt(tf.stack([area * ratio, area / ratio], axis=1)))
        fits = tf.reduce_all((sides >= 1) & (sides < image), axis=1)
        sides *= tf.cast(fits, tf.float32)[:, None]
        chosen = tf.argmax(fits)
        corner = tf.floor(draws[2:, chosen] * (image - sides[chosen] + 1))
        return tf.cast(tf.concat([corner, sides[chosen]], axis=0), tf.int32)

    def filling(self, shape, seed):
        """Returns what erased pixels become, uint8 of that shape."""
        tf = import_tensorflow()
        channels = shape[-1]
        fill = self.fill if channels == 3 else (round(sum(self.fill) / 3),)
        if self.mode == "constant":
            return tf.broadcast_to(tf.constant(fill, tf.uint8), shape)
        drawn = [1, 1, channels] if self.mode == "colour" else shape
        noise = tf.random.stateless_normal(drawn, seed, alg="philox")
        mean, std = (255 * tf.constant(numbers) for numbers in STATISTICS["imagenet"])
        if channels == 1:
            mean, std = tf.reduce_mean(mean), tf.reduce_mean(std)
        return tf.broadcast_to(pixels.to_bytes(tf.round(noise * std + mean)), shape)
