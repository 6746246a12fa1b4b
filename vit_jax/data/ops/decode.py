# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""From encoded bytes to pixels, and the random-resized crop that is fused with JPEG decoding."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar

from vit_jax.data.ops.geometry import METHODS, check_method, resize_image
from vit_jax.data.ops.op import Op, Record, Size, pair, register, uniform
from vit_jax.data.ops.pixels import luma
from vit_jax.data.tensorflow import import_tensorflow

ATTEMPTS = 10  # draws of a crop before falling back to the central one, as torchvision
SCALES = (1, 2, 4, 8)  # what libjpeg can shrink by while decoding


@register("decode")
@dataclasses.dataclass(frozen=True)
class Decode(Op):
    """Encoded bytes, or pixels already decoded, to uint8 `[h, w, channels]`.

    Reads JPEG (colour, grey, CMYK), PNG (also palette, alpha, 16 bits), the first frame of a GIF,
    BMP and WebP. Alpha is dropped, grey is repeated, colour becomes luma if `channels` is 1. Bytes
    that cannot be decoded raise InvalidArgumentError when the graph runs.

    Args:
        channels: 3, or 1 for grey data sets.
        recover: keep what is left of a truncated JPEG (the rest is grey) instead of refusing it.
    """

    channels: int = 3
    recover: bool = False

    def check(self) -> None:
        self.require(self.channels in (1, 3), f"channels must be 1 or 3, got {self.channels}")

    def output_size(self, size: Size | None) -> Size | None:
        return None

    def apply(self, image, seed):
        tf = import_tensorflow()
        if image.dtype != tf.string:
            return self.convert(image)
        return tf.cond(
            tf.image.is_jpeg(image),
            lambda: self.decode_jpeg(image),
            lambda: self.decode_other(image),
        )

    def jpeg_options(self, channels: int) -> dict[str, Any]:
        """Returns arguments of the JPEG decoder; TensorFlow's default is coarser, not faster."""
        return {
            "channels": channels,
            "dct_method": "INTEGER_ACCURATE",
            "try_recover_truncated": self.recover,
            "acceptable_fraction": 0.0 if self.recover else 1.0,
        }

    def decode_jpeg(self, contents):
        """Returns the pixels of a JPEG."""
        tf = import_tensorflow()
        return self.by_channels(
            contents, lambda channels: tf.io.decode_jpeg(contents, **self.jpeg_options(channels))
        )

    def by_channels(self, contents, decode: Callable[[int], Any]):
        """Returns `decode(channels)`; libjpeg makes no grey of CMYK, so that goes by way of RGB."""
        if self.channels == 3:
            return decode(3)
        tf = import_tensorflow()
        is_cmyk = tf.image.extract_jpeg_shape(contents)[2] == 4
        return tf.cond(is_cmyk, lambda: luma(decode(3)), lambda: decode(1))

    def decode_other(self, contents):
        """Returns the pixels of an encoded image that is not a JPEG."""
        tf = import_tensorflow()
        # Decoders differ in the channels they can convert to, so that is left to `convert`.
        image = tf.io.decode_image(contents, channels=0, expand_animations=False)
        image.set_shape([None, None, None])
        return self.convert(image)

    def convert(self, image):
        """Returns pixels `[h, w, 1 to 4]` with this op's number of channels."""
        image.shape.assert_has_rank(3)
        colour = to_colour(image)
        return colour if self.channels == 3 else luma(colour)


def to_colour(image):
    """Returns uint8 `[h, w, 3]` from grey or colour with or without alpha, `[h, w, 1 to 4]`."""
    tf = import_tensorflow()
    present = image.shape[-1] or tf.shape(image)[-1]
    last = tf.where(present < 3, 0, 2)
    return tf.gather(image, tf.minimum(tf.range(3), last), axis=-1)


@register("inception_crop", aliases=("random_resized_crop",))
@dataclasses.dataclass(frozen=True)
class InceptionCrop(Op):
    """Cuts a random part of the image and resizes it: the crop of GoogLeNet, arXiv 1409.4842.

    Draws as torchvision does: the area uniform in [area_min, area_max] of the image, the aspect
    ratio (width / height) log-uniform in `ratio`; after ten draws that do not fit, the largest
    central crop with a ratio within the bounds. Next to `decode`, only the part is decoded.

    Args:
        size: side, or (height, width), of the result.
        method: how to interpolate.
        antialias: average over all source pixels when shrinking, at about twice the cost.
        scaled_decode: let the JPEG decoder shrink parts at least twice (4, 8 times) as large as the
            result by 2 (4, 8). That averages, so that what comes out is 6 to 10 dB closer to an
            antialiased resize, in less time. The part is rounded to whole pixels of the
            smaller image.
    """

    size: int | Size
    area_min: float = 0.08
    area_max: float = 1.0
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    method: str = "bilinear"
    antialias: bool = False
    scaled_decode: bool = True

    random: ClassVar[bool] = True

    def check(self) -> None:
        self.require(min(pair(self.size)) > 0, f"size must be positive, got {self.size}")
        self.require(
            0 < self.area_min <= self.area_max <= 1,
            f"needs 0 < area_min <= area_max <= 1, got {self.area_min} and {self.area_max}",
        )
        self.require(0 < self.ratio[0] <= self.ratio[1], f"ratio must rise, got {self.ratio}")
        check_method(self, METHODS)

    def output_size(self, size: Size | None) -> Size | None:
        return pair(self.size)

    def window(self, shape, seed):
        """Returns the part to cut, int32 [top, left, height, width], of an image `[h, w, c]`."""
        tf = import_tensorflow()
        draws = uniform(seed, [4, ATTEMPTS])
        image = tf.cast(shape[:2], tf.float32)[:, None]
        area = self.area_min + (self.area_max - self.area_min) * draws[0]
        side = tf.sqrt(tf.reduce_prod(image) * area)
        low, high = (math.log(ratio) / 2 for ratio in self.ratio)
        skew = tf.exp(low + (high - low) * draws[1])  # the root of the aspect ratio
        parts = tf.maximum(tf.round(tf.stack([side / skew, side * skew])), 1)  # [2, ATTEMPTS]
        # The largest central part within the bounds stands behind the draws, and always fits.
        central = tf.minimum(image, image[::-1] * [[1 / self.ratio[0]], [self.ratio[1]]])
        parts = tf.concat([parts, tf.maximum(tf.round(central), 1)], axis=1)
        places = tf.pad(draws[2:], [[0, 0], [0, 1]], constant_values=0.5)
        corners = tf.floor(places * (image - parts + 1))
        chosen = tf.argmax(tf.reduce_all(parts <= image, axis=0))
        return tf.cast(tf.gather(tf.concat([corners, parts], axis=0), chosen, axis=1), tf.int32)

    def resize(self, image):
        """Returns a cut part resized to the size of the result."""
        return resize_image(image, pair(self.size), self.method, self.antialias)

    def apply(self, image, seed):
        tf = import_tensorflow()
        return self.resize(cut(image, self.window(tf.shape(image), seed)))


def cut(image, window):
    """Returns the part of an image inside a window [top, left, height, width]."""
    tf = import_tensorflow()
    return tf.slice(image, tf.pad(window[:2], [[0, 1]]), tf.concat([window[2:], [-1]], axis=0))


@dataclasses.dataclass(frozen=True)
class DecodeInceptionCrop(Op):
    """`decode|inception_crop` in one: of a JPEG, only what the crop needs is decoded."""

    decode: Decode
    crop: InceptionCrop

    name: ClassVar[str] = "decode|inception_crop"
    random: ClassVar[bool] = True

    @property
    def spec(self) -> str:
        return f"{self.decode.spec}|{self.crop.spec}"

    def output_size(self, size: Size | None) -> Size | None:
        return self.crop.output_size(size)

    def __call__(self, record: Record, seed) -> Record:
        tf = import_tensorflow()
        contents = record["image"]
        if contents.dtype != tf.string:
            return self.crop(self.decode(record, None), seed)
        is_jpeg = tf.image.is_jpeg(contents)
        shape, pixels = tf.cond(
            is_jpeg,
            lambda: (tf.image.extract_jpeg_shape(contents), self.nothing()),
            lambda: self.other_pixels(contents),
        )
        window = self.crop.window(shape, seed)
        scales = SCALES if self.crop.scaled_decode else SCALES[:1]
        size = tf.constant(pair(self.crop.size))
        index = sum(tf.cast(tf.reduce_all(window[2:] >= k * size), tf.int32) for k in scales[1:])
        shrunk = shrink(window, tf.bitwise.left_shift(1, index))
        # The decoder's scale is fixed in the graph, hence one branch for each.
        branches: list[Callable] = [
            functools.partial(self.decode_window, contents, shrunk, scale) for scale in scales
        ]
        branches.append(functools.partial(cut, pixels, window))
        part = tf.switch_case(tf.where(is_jpeg, index, len(scales)), branches)
        return {**record, "image": self.crop.resize(part)}

    def nothing(self):
        """Returns an image without pixels."""
        tf = import_tensorflow()
        return tf.zeros([0, 0, self.decode.channels], tf.uint8)

    def other_pixels(self, contents):
        """Returns the shape and the pixels of an encoded image that is not a JPEG."""
        pixels = self.decode.decode_other(contents)
        return import_tensorflow().shape(pixels), pixels

    def decode_window(self, contents, window, scale: int):
        """Returns a part of a JPEG, decoded at 1 / scale of its size; the window counts those."""
        raw_ops = import_tensorflow().raw_ops
        return self.decode.by_channels(
            contents,
            lambda channels: raw_ops.DecodeAndCropJpeg(
                contents=contents,
                crop_window=window,
                ratio=scale,
                **self.decode.jpeg_options(channels),
            ),
        )


def shrink(window, scale):
    """Returns the window of the image at 1 / scale of its size, its corners rounded."""
    tf = import_tensorflow()
    corners = tf.stack([window[:2], window[:2] + window[2:]])
    start, stop = tf.unstack((corners + scale // 2) // scale)
    return tf.concat([start, stop - start], axis=0)
