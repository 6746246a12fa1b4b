# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""One picture: whether training can decode it, and a smaller copy of it."""

import dataclasses
import io

import numpy as np

from vit_jax.data.ops.decode import Decode
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.errors import UserError

SMALLEST, LARGEST_QUALITY = 8, 100


class DamagedError(Exception):
    """A picture that cannot be decoded."""


@dataclasses.dataclass(frozen=True)
class Treatment:
    """What is done to a picture.

    Attributes:
        resize: the shorter side in pixels; 0 copies the bytes as they are.
        quality: of the JPEG that a resized picture becomes.
    """

    resize: int = 0
    quality: int = 95

    def __post_init__(self) -> None:
        if self.resize and self.resize < SMALLEST:
            raise UserError(f"--resize={self.resize} must be 0 (off) or at least {SMALLEST} pixels")
        if not 1 <= self.quality <= LARGEST_QUALITY:
            raise UserError(f"--quality={self.quality} must be within 1 and {LARGEST_QUALITY}")

    def __call__(self, contents: bytes) -> bytes:
        """Returns the picture as it is kept.

        Every picture is decoded, by the decoder that training uses, to find the damaged ones. With
        `resize` the shorter side becomes `resize` by antialiased bicubic interpolation and the
        picture an RGB JPEG; one that is small enough stays as it is if it is a JPEG in colour or
        grey.

        Raises:
            DamagedError: it cannot be decoded.
        """
        pixels = decode(contents)
        height, width, _ = pixels.shape
        shorter = min(height, width)
        if not self.resize or (shorter <= self.resize and _is_plain_jpeg(contents)):
            return contents
        from PIL import Image

        image = Image.fromarray(pixels)
        if shorter > self.resize:
            size = tuple(max(1, round(side * self.resize / shorter)) for side in (width, height))
            image = image.resize(size, Image.Resampling.BICUBIC)
        result = io.BytesIO()
        image.save(result, "JPEG", quality=self.quality)
        return result.getvalue()


def decode(contents: bytes) -> np.ndarray:
    """Returns uint8 `[h, w, 3]`; DamagedError if the bytes cannot be decoded."""
    if not contents:
        raise DamagedError("an empty file")
    tf = import_tensorflow()
    try:
        pixels = Decode().apply(tf.constant(contents), None).numpy()
    except tf.errors.OpError as error:
        raise DamagedError(_reason(error)) from None
    if pixels.ndim != 3 or not pixels.size:
        raise DamagedError(f"decodes to the shape {pixels.shape}")
    return pixels


def _reason(error: Exception) -> str:
    """Returns what TensorFlow says is wrong, without the name of its op."""
    message = str(getattr(error, "message", error)).strip().splitlines()[0]
    return message.partition("}} ")[2].partition(" [Op:")[0] or message


def _is_plain_jpeg(contents: bytes) -> bool:
    tf = import_tensorflow()
    if not tf.image.is_jpeg(contents):
        return False
    return int(tf.image.extract_jpeg_shape(contents)[2]) in (1, 3)
