# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Pixel functions and affine maps against Pillow, scipy and numpy."""

import colorsys

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage

from vit_jax.data.ops import geometry, pixels
from vit_jax.data.tensorflow import import_tensorflow

tf = import_tensorflow()
RNG = np.random.default_rng(0)


def noise(height=23, width=31, channels=3):
    return RNG.integers(0, 256, (height, width, channels), np.uint8)


def soft(height=40, width=52):
    """A picture with a narrow, skewed histogram and large smooth parts."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 9 + c) * np.cos(y / (7 + c)) for c in range(3)], -1)
    return np.uint8(90 + 50 * waves + RNG.integers(0, 3, waves.shape))


def distance(ours, theirs):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.dtype == np.uint8
    assert ours.shape == theirs.shape
    return np.abs(ours.astype(int) - theirs.astype(int)).max()


PILLOW = {
    "invert": lambda x, v: ImageOps.invert(x),
    "autocontrast": lambda x, v: ImageOps.autocontrast(x),
    "equalize": lambda x, v: ImageOps.equalize(x),
    "posterize": lambda x, v: ImageOps.posterize(x, v),
    "solarize": lambda x, v: ImageOps.solarize(x, v),
    "brightness": lambda x, v: ImageEnhance.Brightness(x).enhance(v),
    "contrast": lambda x, v: ImageEnhance.Contrast(x).enhance(v),
    "colour": lambda x, v: ImageEnhance.Color(x).enhance(v),
    "sharpness": lambda x, v: ImageEnhance.Sharpness(x).enhance(v),
}
FACTORS = (0.0, 0.1, 0.63, 1.0, 1.45, 1.9, 2.8)
STRENGTHS = {
    "posterize": (1, 3, 4, 8),
    "solarize": (0, 77, 128, 256),
    **dict.fromkeys(("brightness", "contrast", "colour", "sharpness"), FACTORS),
}


@pytest.mark.parametrize("picture", [noise, soft])
@pytest.mark.parametrize("name", PILLOW)
def test_values_are_pillows(name, picture):
    image = picture()
    for strength in STRENGTHS.get(name, (None,)):
        arguments = () if strength is None else (strength,)
        ours = getattr(pixels, name)(tf.constant(image), *arguments)
        theirs = PILLOW[name](Image.fromarray(image), strength)
        # Blends may fall on either side of a truncation; whole-number rules may not differ at all.
        tolerance = 1 if strength in FACTORS and name in STRENGTHS and strength != 1 else 0
        assert distance(ours, theirs) <= tolerance, (name, strength)


@pytest.mark.parametrize("name", ["equalize", "autocontrast"])
def test_flat_and_two_valued_channels(name):
    image = np.zeros((9, 9, 3), np.uint8)
    image[..., 0], image[:4, :, 1], image[0, 0, 2] = 7, 200, 255
    ours = getattr(pixels, name)(tf.constant(image))
    assert distance(ours, PILLOW[name](Image.fromarray(image), None)) == 0


def test_posterize_to_nothing_is_black():
    assert not np.any(pixels.posterize(tf.constant(noise()), 0))


@pytest.mark.parametrize("amount", [0, 55.0, 110, 300.0])
def test_solarize_add_touches_only_the_dark_half(amount):
    image = noise()
    expected = np.where(image < 128, np.minimum(image.astype(int) + int(amount), 255), image)
    assert distance(pixels.solarize_add(tf.constant(image), amount), np.uint8(expected)) == 0


def test_luma_is_pillows():
    image = noise()
    ours = pixels.luma(tf.constant(image))
    assert distance(ours[..., 0], Image.fromarray(image).convert("L")) == 0
    every_grey = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
    assert distance(pixels.grey(tf.constant(every_grey)), every_grey) == 0


@pytest.mark.parametrize("name", ["equalize", "autocontrast", "contrast", "colour", "sharpness"])
def test_one_channel_images(name):
    image = noise(channels=1)
    arguments = () if name in ("equalize", "autocontrast") else (1.7,)
    ours = getattr(pixels, name)(tf.constant(image), *arguments)
    theirs = PILLOW[name](Image.fromarray(image[..., 0]), *(arguments or (None,)))
    assert distance(ours[..., 0], theirs) <= len(arguments)


@pytest.mark.parametrize("sigma", [0.1, 0.8, 2.0])
def test_gaussian_blur_is_a_gaussian(sigma):
    image = noise()
    expected = ndimage.gaussian_filter(
        image.astype(np.float64), (sigma, sigma, 0), mode="nearest", radius=6
    )
    ours = np.asarray(pixels.gaussian_blur(tf.constant(image), sigma, 6))
    assert np.abs(ours - expected).max() <= 0.5 + 1e-3


def test_hue_turns_around_the_colour_circle():
    image = noise(5, 5)
    ours = pixels.shift_hue(tf.constant(image), 0.3)

    def turned(pixel):
        h, s, v = colorsys.rgb_to_hsv(*(pixel / 255))
        return [round(255 * x) for x in colorsys.hsv_to_rgb((h + 0.3) % 1, s, v)]

    assert distance(ours, np.apply_along_axis(turned, -1, image)) <= 1


FILL = 99
MATRICES = {
    "shear": (1, 0.31, 0, 0, 1, 0),
    "translate": (1, 0, 4.6, 0, 1, -3.3),
    "scale": (0.7, 0, 3, 0, 1.2, -2),
}


def differing_share(ours, theirs):
    """Share of pixels off by over one level: those next to the fill may be, Pillow clamps them."""
    off = np.abs(np.asarray(ours).astype(int) - np.asarray(theirs).astype(int)).max(-1) > 1
    inside = ndimage.binary_erosion(np.any(np.asarray(theirs) != FILL, -1), iterations=2)
    assert inside.mean() > 0.2
    assert not (off & inside).any()
    outside = ndimage.binary_erosion(np.all(np.asarray(theirs) == FILL, -1), iterations=2)
    assert not (off & outside).any()
    return off.mean()


@pytest.mark.parametrize("name", MATRICES)
def test_affine_maps_are_pillows(name):
    image = soft()
    size = (image.shape[1], image.shape[0])
    theirs = Image.fromarray(image).transform(
        size,
        Image.Transform.AFFINE,
        MATRICES[name],
        Image.Resampling.BILINEAR,
        fillcolor=(FILL,) * 3,
    )
    ours = geometry.affine(tf.constant(image), MATRICES[name], FILL)
    assert differing_share(ours, theirs) < 0.1


@pytest.mark.parametrize("degrees", [-71.0, 13.0, 90.0])
def test_rotation_is_pillows(degrees):
    image = soft()
    theirs = Image.fromarray(image).rotate(
        degrees, Image.Resampling.BILINEAR, fillcolor=(FILL,) * 3
    )
    tensor = tf.constant(image)
    ours = geometry.affine(tensor, geometry.rotation(tensor, degrees), FILL)
    assert differing_share(ours, theirs) < 0.1


def test_identity_map_changes_nothing():
    image = noise()
    assert distance(geometry.affine(tf.constant(image), (1, 0, 0, 0, 1, 0), FILL), image) == 0
