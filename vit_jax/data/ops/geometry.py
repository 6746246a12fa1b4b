# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Ops that move pixels: resizing, cropping, padding, flipping, affine maps."""

import dataclasses
import math
from typing import ClassVar

from vit_jax.data.ops.op import Op, Size, pair, register, uniform
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.registry import near_misses

METHODS = ("bilinear", "bicubic", "lanczos3", "area", "nearest")
LONGEST = 16  # times as long as wide, what `resize_small` leaves of an image
PADDINGS = ("constant", "reflect", "edge")


def check_method(op: Op, known: tuple[str, ...]) -> None:
    """Refuses an op whose `method` is unknown."""
    method = op.method  # type: ignore[attr-defined]
    hint = near_misses(method, known) or f"; known: {', '.join(known)}"
    op.require(method in known, f"unknown method {method!r}{hint}")


def resize_image(image, size, method: str, antialias: bool):
    """Returns uint8 `[h, w, c]` resized to (height, width), rounded and clipped."""
    tf = import_tensorflow()
    resized = tf.image.resize(image, size, method=method, antialias=antialias)
    if resized.dtype == tf.uint8:  # nearest
        return resized
    if method in ("bicubic", "lanczos3"):  # these overshoot
        resized = tf.clip_by_value(resized, 0, 255)
    return tf.cast(tf.round(resized), tf.uint8)


@register("resize")
@dataclasses.dataclass(frozen=True)
class Resize(Op):
    """Resizes to a size, side or (height, width), whatever the aspect ratio."""

    size: int | Size
    method: str = "bilinear"
    antialias: bool = True

    def check(self) -> None:
        self.require(min(pair(self.size)) > 0, f"size must be positive, got {self.size}")
        check_method(self, METHODS)

    def output_size(self, size: Size | None) -> Size | None:
        return pair(self.size)

    def apply(self, image, seed):
        return resize_image(image, pair(self.size), self.method, self.antialias)


@register("resize_small")
@dataclasses.dataclass(frozen=True)
class ResizeSmall(Op):
    """Resizes the shorter side to `size`, keeping the aspect ratio; the longer is rounded down.

    Of an image more than `LONGEST` times as long as wide only the middle is resized, that much of
    it: a crop behind it sees no more, and a line of pixels would fill the memory.
    """

    size: int
    method: str = "bilinear"
    antialias: bool = True

    def check(self) -> None:
        self.require(self.size > 0, f"size must be positive, got {self.size}")
        check_method(self, METHODS)

    def output_size(self, size: Size | None) -> Size | None:
        if size is None:
            return None
        longest = LONGEST * min(size)
        height, width = (min(side, longest) for side in size)
        return (self.size * height // min(size), self.size * width // min(size))

    def apply(self, image, seed):
        tf = import_tensorflow()
        whole = tf.shape(image)[:2]
        shape = tf.minimum(whole, LONGEST * tf.reduce_min(whole))
        start = tf.pad((whole - shape) // 2, [[0, 1]])
        image = tf.slice(image, start, tf.concat([shape, [-1]], axis=0))
        return resize_image(
            image, self.size * shape // tf.reduce_min(shape), self.method, self.antialias
        )


@register("pad")
@dataclasses.dataclass(frozen=True)
class Pad(Op):
    """Adds `padding` pixels on every side: `fill`, the mirrored image, or its edge repeated."""

    padding: int
    mode: str = "constant"
    fill: int = 0

    def check(self) -> None:
        self.require(self.padding >= 0, f"padding must not be negative, got {self.padding}")
        check_padding(self, self.mode, self.fill)

    def output_size(self, size: Size | None) -> Size | None:
        return size and (size[0] + 2 * self.padding, size[1] + 2 * self.padding)

    def apply(self, image, seed):
        return pad_image(image, self.padding, self.mode, self.fill)


def check_padding(op: Op, mode: str, fill: int) -> None:
    """Refuses an op whose padding mode is unknown or whose fill is no byte."""
    hint = near_misses(mode, PADDINGS) or f"; known: {', '.join(PADDINGS)}"
    op.require(mode in PADDINGS, f"unknown padding mode {mode!r}{hint}")
    check_fill(op, fill)


def check_fill(op: Op, fill: int) -> None:
    """Refuses an op whose fill is no byte."""
    op.require(0 <= fill <= 255, f"fill must be between 0 and 255, got {fill}")


def pad_image(image, padding: int, mode: str, fill: int):
    """Returns the image with `padding` more pixels on every side."""
    tf = import_tensorflow()
    if mode == "edge":
        for axis in (0, 1):
            length = tf.shape(image)[axis]
            rows = tf.clip_by_value(tf.range(-padding, length + padding), 0, length - 1)
            image = tf.gather(image, rows, axis=axis)
        return image
    widths = [[padding, padding], [padding, padding], [0, 0]]
    return tf.pad(image, widths, mode, constant_values=fill if mode == "constant" else 0)


@register("central_crop")
@dataclasses.dataclass(frozen=True)
class CentralCrop(Op):
    """Cuts the middle, side or (height, width); a smaller image is first padded with black."""

    size: int | Size

    def check(self) -> None:
        self.require(min(pair(self.size)) > 0, f"size must be positive, got {self.size}")

    def output_size(self, size: Size | None) -> Size | None:
        return pair(self.size)

    def apply(self, image, seed):
        tf = import_tensorflow()
        size = tf.constant(pair(self.size))
        shape = tf.shape(image)[:2]
        missing = tf.maximum(size - shape, 0)
        before = missing // 2
        widths = tf.concat([tf.stack([before, missing - before], axis=1), [[0, 0]]], axis=0)
        image = tf.cond(tf.reduce_any(missing > 0), lambda: tf.pad(image, widths), lambda: image)
        # Half a pixel is rounded to even, as torchvision does.
        surplus = tf.cast(tf.shape(image)[:2] - size, tf.float32)
        top, left = tf.unstack(tf.cast(tf.round(surplus / 2), tf.int32))
        height, width = pair(self.size)
        return image[top : top + height, left : left + width]


@register("random_crop")
@dataclasses.dataclass(frozen=True)
class RandomCrop(Op):
    """Cuts a part of fixed size at a random place, after padding every side by `padding` pixels.

    `random_crop(32, padding=4)` is the augmentation of CIFAR; with the image's own size it is a
    random shift. An image that is too small raises InvalidArgumentError when the graph runs.
    """

    size: int | Size
    padding: int = 0
    mode: str = "constant"
    fill: int = 0

    random: ClassVar[bool] = True

    def check(self) -> None:
        self.require(min(pair(self.size)) > 0, f"size must be positive, got {self.size}")
        self.require(self.padding >= 0, f"padding must not be negative, got {self.padding}")
        check_padding(self, self.mode, self.fill)

    def output_size(self, size: Size | None) -> Size | None:
        return pair(self.size)

    def apply(self, image, seed):
        tf = import_tensorflow()
        if self.padding:
            image = pad_image(image, self.padding, self.mode, self.fill)
        height, width = pair(self.size)
        free = tf.cast(tf.shape(image)[:2] - (height, width) + 1, tf.float32)
        corner = tf.cast(tf.floor(uniform(seed, [2]) * free), tf.int32)
        return tf.slice(image, tf.concat([corner, [0]], axis=0), [height, width, -1])


@dataclasses.dataclass(frozen=True)
class RandomFlip(Op):
    """Reverses one axis of the image with some probability."""

    probability: float = 0.5

    random: ClassVar[bool] = True
    axis: ClassVar[int]

    def check(self) -> None:
        check_probability(self)

    def apply(self, image, seed):
        tf = import_tensorflow()
        return tf.cond(
            uniform(seed, []) < self.probability,
            lambda: tf.reverse(image, [self.axis]),
            lambda: image,
        )


def check_probability(op: Op) -> None:
    """Refuses an op whose `probability` is none."""
    probability = op.probability  # type: ignore[attr-defined]
    op.require(0 <= probability <= 1, f"probability must be within [0, 1], got {probability}")


@register("flip")
@dataclasses.dataclass(frozen=True)
class Flip(RandomFlip):
    """Mirrors left and right with some probability."""

    axis: ClassVar[int] = 1


@register("vertical_flip")
@dataclasses.dataclass(frozen=True)
class VerticalFlip(RandomFlip):
    """Turns upside down with some probability."""

    axis: ClassVar[int] = 0


def affine(image, matrix, fill: int):
    """Returns the image moved by an affine map, with bilinear interpolation.

    Args:
        image: uint8 `[h, w, c]`.
        matrix: (a, b, c, d, e, f), numbers or scalar tensors: the output at (x, y) is the input at
            (a x + b y + c, d x + e y + f), counted from the image's corner (Pillow's convention).
        fill: the value beyond the image.
    """
    tf = import_tensorflow()
    a, b, c, d, e, f = (tf.cast(value, tf.float32) for value in matrix)
    # The kernel counts from the centre of the first pixel, and truncates what it interpolates.
    c, f = c + (a + b - 1) / 2, f + (d + e - 1) / 2
    zero = tf.zeros([])
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=tf.stack([a, b, c, d, e, f, zero, zero])[None],
        output_shape=tf.shape(image)[:2],
        fill_value=float(fill),
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )[0]


def about_centre(image, a, b, d, e, shift_x=0.0, shift_y=0.0):
    """Returns the matrix of `affine` that keeps the centre, then shifts the input by pixels."""
    tf = import_tensorflow()
    shape = tf.cast(tf.shape(image), tf.float32)
    x, y = shape[1] / 2, shape[0] / 2
    return (a, b, x - a * x - b * y + shift_x, d, e, y - d * x - e * y + shift_y)


def rotation(image, degrees):
    """Returns the matrix of `affine` that turns the image counter-clockwise about its centre."""
    tf = import_tensorflow()
    angle = degrees * (math.pi / 180)
    cos, sin = tf.cos(angle), tf.sin(angle)
    return about_centre(image, cos, -sin, sin, cos)


@register("random_affine")
@dataclasses.dataclass(frozen=True)
class RandomAffine(Op):
    """Turns, scales, shears and shifts about the centre, each uniformly at random.

    Args:
        degrees: turned by up to this much either way.
        scale: range of the factor by which the content grows.
        translate: shifted by up to this part of the height and of the width either way.
        shear: x moves by up to this times y, either way.
        fill: the value beyond the image.
    """

    degrees: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    translate: float = 0.0
    shear: float = 0.0
    fill: int = 0

    random: ClassVar[bool] = True

    def check(self) -> None:
        for field in ("degrees", "translate", "shear"):
            value = getattr(self, field)
            self.require(value >= 0, f"{field} must not be negative, got {value}")
        self.require(0 < self.scale[0] <= self.scale[1], f"scale must rise, got {self.scale}")
        check_fill(self, self.fill)

    def apply(self, image, seed):
        tf = import_tensorflow()
        draws = uniform(seed, [5])
        turn, shear, shift_x, shift_y = tf.unstack(2 * draws[:4] - 1)
        angle = turn * (self.degrees * math.pi / 180)
        grow = self.scale[0] + (self.scale[1] - self.scale[0]) * draws[4]
        cos, sin, shear = tf.cos(angle) / grow, tf.sin(angle) / grow, shear * self.shear
        shape = tf.cast(tf.shape(image), tf.float32) * self.translate
        matrix = about_centre(
            image,
            cos,
            cos * shear - sin,
            sin,
            sin * shear + cos,
            shift_x * shape[1],
            shift_y * shape[0],
        )
        return affine(image, matrix, self.fill)
