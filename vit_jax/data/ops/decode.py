# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""From encoded bytes to pixels, and the random-resized crop that is fused with JPEG decoding."""

import dataclasses
from typing import ClassVar

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
            lambda: tf.io.decode_jpeg(
                image, channels=self.channels, try_recover_truncated=self.recover
            ),
            lambda: self.decode_other(image),
        )

    def decode_other(self, contents):
        """Returns the pixels of an encoded image that is not a JPEG."""
        tf = import_tensorflow()
        # The BMP decoder refuses to change the number of channels, so that is done here.
        image = tf.cond(
            tf.strings.substr(contents, 0, 2) == b"BM",
            lambda: to_channels(tf.io.decode_bmp(contents), 3),
            lambda: tf.io.decode_image(contents, channels=3, expand_animations=False),
        )
        image.set_shape([None, None, 3])
        return self.convert(image)

    def convert(self, image):
        """Returns pixels `[h, w, 1, 3 or 4]` with this op's number of channels."""
        image.shape.assert_has_rank(3)
        return to_channels(image, self.channels)


def to_channels(image, channels: int):
    """Returns uint8 `[h, w, channels]` from `[h, w, 1, 3 or 4]`; the last size may be unknown."""
    tf = import_tensorflow()
    present = image.shape[-1]
    if present is None:
        return tf.cond(
            tf.shape(image)[-1] == 1,
            lambda: to_channels(tf.ensure_shape(image, [None, None, 1]), channels),
            lambda: to_channels(tf.ensure_shape(image[..., :3], [None, None, 3]), channels),
        )
    if present == 1:
        return tf.tile(image, [1, 1, channels])
    colour = image[..., :3]
    return colour if channels == 3 else luma(colour)


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
            result by 2 (4, 8); an exact average that takes the place of antialiasing. The part
            is then rounded to whole pixels of the smaller image.
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

    def window(self, height, width, seed):
        """Returns the part to cut, int32 [top, left, height, width], in an image of that size."""
        tf = import_tensorflow()
        draws = uniform(seed, [4, ATTEMPTS])
        image = tf.stack([tf.cast(height, tf.float32), tf.cast(width, tf.float32)])
        area = image[0] * image[1] * (self.area_min + (self.area_max - self.area_min) * draws[0])
        low, high = self.ratio
        ratio = low * (high / low) ** draws[1]
        sides = tf.round(tf.sqrt(tf.stack([area / ratio, area * ratio], axis=1)))  # [ATTEMPTS, 2]
        fits = tf.reduce_all((sides >= 1) & (sides <= image), axis=1)
        # The largest central part within the bounds stands behind the draws, and always fits.
        central = tf.round(tf.minimum(image, tf.stack([image[1] / low, image[0] * high])))
        sides = tf.concat([sides, tf.maximum(central, 1)[None]], axis=0)
        position = tf.concat([draws[2:], [[0.5], [0.5]]], axis=1)
        chosen = tf.argmax(tf.concat([fits, [True]], axis=0))
        part = sides[chosen]
        corner = tf.floor(position[:, chosen] * (image - part + 1))
        return tf.cast(tf.concat([corner, part], axis=0), tf.int32)

    def resize(self, image):
        """Returns a cut part resized to the size of the result."""
        return resize_image(image, pair(self.size), self.method, self.antialias)

    def apply(self, image, seed):
        tf = import_tensorflow()
        shape = tf.shape(image)
        top, left, height, width = tf.unstack(self.window(shape[0], shape[1], seed))
        return self.resize(image[top : top + height, left : left + width])


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
        image = tf.cond(
            tf.image.is_jpeg(contents),
            lambda: self.decode_jpeg(contents, seed),
            lambda: self.crop.apply(self.decode.decode_other(contents), seed),
        )
        return {**record, "image": image}

    def decode_jpeg(self, contents, seed):
        """Returns the resized part of a JPEG."""
        tf = import_tensorflow()
        shape = tf.image.extract_jpeg_shape(contents)
        window = self.crop.window(shape[0], shape[1], seed)
        if not self.crop.scaled_decode:
            return self.crop.resize(self.decode_window(contents, window, 1))
        shrink = tf.reduce_min(window[2:] // tf.constant(pair(self.crop.size)))
        index = sum(tf.cast(shrink >= scale, tf.int32) for scale in SCALES[1:])
        # ratio is fixed in the graph, hence one branch for each.
        part = tf.switch_case(
            index, [lambda s=scale: self.decode_window(contents, window, s) for scale in SCALES]
        )
        return self.crop.resize(part)

    def decode_window(self, contents, window, scale: int):
        """Returns the window of a JPEG, decoded at 1 / scale of its size."""
        tf = import_tensorflow()
        return tf.raw_ops.DecodeAndCropJpeg(
            contents=contents,
            crop_window=window // scale,  # the window of the shrunk image
            channels=self.decode.channels,
            ratio=scale,
            try_recover_truncated=self.decode.recover,
            acceptable_fraction=0.0 if self.decode.recover else 1.0,
        )
