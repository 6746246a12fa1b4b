# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Resizing, cropping, padding, flipping and random ops against Pillow, numpy and properties."""

import numpy as np
import pytest
from PIL import Image

from vit_jax.data.ops import parse
from vit_jax.data.tensorflow import import_tensorflow

tf = import_tensorflow()
RNG = np.random.default_rng(0)


def noise(height=24, width=36, channels=3):
    return RNG.integers(0, 256, (height, width, channels), np.uint8)


def run(text, image, seed=(1, 2)):
    ops = parse(f"decode(channels={image.shape[-1]})|{text}")
    return np.asarray(ops.host({"image": tf.constant(image)}, list(seed))["image"])


def many(text, image, count):
    """The results of `count` seeds, through one graph."""
    ops = parse(f"decode(channels={image.shape[-1]})|{text}")
    graph = tf.function(lambda seed: ops.host({"image": tf.constant(image)}, seed)["image"])
    offset = int(RNG.integers(1 << 30))
    return np.stack([graph(tf.constant([offset, i])) for i in range(count)])


def by_pillow(image, size, method, **options):
    resized = Image.fromarray(image).resize(size[::-1], Image.Resampling[method], **options)
    return np.asarray(resized).astype(int)


@pytest.mark.parametrize(
    ("method", "pillow"),
    [("bilinear", "BILINEAR"), ("bicubic", "BICUBIC"), ("lanczos3", "LANCZOS")],
)
@pytest.mark.parametrize("size", [(10, 9), (60, 50), (24, 12)])
def test_resize_is_pillows(method, pillow, size):
    image = noise() // 3 + 80  # Pillow cuts what overshoots between its two passes
    ours = run(f"resize({size}, {method})", image)
    assert np.abs(ours - by_pillow(image, size, pillow)).max() <= 1


def test_resize_nearest_and_area():
    image = noise()
    np.testing.assert_array_equal(run("resize((12, 12), nearest, False)", image), image[1::2, 1::3])
    blocks = image.reshape(12, 2, 12, 3, 3).mean((1, 3))
    assert np.abs(run("resize(12, area)", image) - blocks).max() <= 0.51


@pytest.mark.parametrize(
    ("shape", "expected"), [((24, 36), (10, 15)), ((37, 24), (15, 10)), ((9, 9), (10, 10))]
)
def test_resize_small_keeps_the_aspect_ratio(shape, expected):
    image = noise(*shape) // 3 + 80
    ours = run("resize_small(10, bicubic)", image)
    assert ours.shape[:2] == expected
    assert np.abs(ours - by_pillow(image, expected, "BICUBIC")).max() <= 1


def test_central_crop_cuts_the_middle_and_pads_what_is_missing():
    image = noise(24, 36)
    np.testing.assert_array_equal(run("central_crop(10)", image), image[7:17, 13:23])
    np.testing.assert_array_equal(run("central_crop((24, 36))", image), image)
    small = run("central_crop(30)", image)
    np.testing.assert_array_equal(small[3:27], image[:, 3:33])
    assert not small[:3].any()
    assert not small[27:].any()


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_padding_is_numpys(mode):
    image = noise(8, 9)
    options = {"constant_values": 7} if mode == "constant" else {}
    expected = np.pad(image, ((3, 3), (3, 3), (0, 0)), mode, **options)
    np.testing.assert_array_equal(run(f"pad(3, {mode}, fill=7)", image), expected)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_random_crops_are_parts_of_the_padded_image_and_reach_every_place(mode):
    image = noise(5, 6, 1)
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode)
    crops = many(f"random_crop((5, 6), padding=1, mode={mode})", image, 150)
    windows = np.lib.stride_tricks.sliding_window_view(padded[..., 0], (5, 6)).reshape(9, 5, 6)
    places = (crops[:, None, :, :, 0] == windows).all((2, 3))
    assert (places.sum(1) >= 1).all()
    counts = places.sum(0)
    assert counts.min() > 3
    assert counts.max() < 36


def test_random_crop_refuses_images_that_are_too_small():
    with pytest.raises(tf.errors.InvalidArgumentError):
        run("random_crop(10)", noise(9, 12))


@pytest.mark.parametrize(("name", "axis"), [("flip", 1), ("vertical_flip", 0)])
def test_flips(name, axis):
    image = noise(4, 5)
    flipped = many(f"{name}(0.3)", image, 200)
    is_flipped = (flipped == np.flip(image, axis)).all((1, 2, 3))
    assert ((flipped == image).all((1, 2, 3)) ^ is_flipped).all()
    assert 0.15 < is_flipped.mean() < 0.45


def centre_of_mass(images):
    weights = images[..., 0].astype(float)
    y, x = np.mgrid[: weights.shape[1], : weights.shape[2]]
    total = weights.sum((1, 2))
    return np.stack([(weights * y).sum((1, 2)) / total, (weights * x).sum((1, 2)) / total], 1)


def test_random_affine_stays_within_its_ranges():
    image = np.zeros((31, 41, 1), np.uint8)
    image[11:20, 16:25] = 250  # a square about the centre (15, 20)
    shifted = centre_of_mass(many("random_affine(translate=0.1)", image, 60)) - (15, 20)
    assert (np.abs(shifted) <= (3.11, 4.11)).all()
    assert (np.abs(shifted).max(0) > (2, 3)).all()
    scaled = many("random_affine(scale=(0.8, 1.3))", image, 60)
    assert np.abs(centre_of_mass(scaled) - (15, 20)).max() < 0.1
    sides = np.sqrt(scaled.sum((1, 2, 3)) / 250)
    assert 0.76 * 9 < sides.min() < 0.9 * 9 < 1.2 * 9 < sides.max() < 1.32 * 9
    turned = many("random_affine(degrees=30, shear=0.2)", image, 20)
    assert np.abs(centre_of_mass(turned) - (15, 20)).max() < 0.15
    np.testing.assert_allclose(turned.sum((1, 2, 3)) / 250, 81, rtol=0.03)


def test_random_affine_without_ranges_is_the_identity():
    image = noise()
    np.testing.assert_array_equal(run("random_affine", image), image)


def test_erased_part_is_one_rectangle_of_the_asked_size():
    image = np.full((40, 50, 3), 77, np.uint8)
    text = "random_erasing(1.0, 0.1, 0.3, ratio_min=0.5, mode=constant, fill=(1, 2, 3))"
    erased = many(text, image, 80)
    cut = (erased != 77).all(3)
    assert ((erased == (1, 2, 3)).all(3) == cut).all()
    rows, columns = cut.any(2), cut.any(1)
    assert (cut == rows[:, :, None] & columns[:, None, :]).all()
    area, ratio = cut.mean((1, 2)), rows.sum(1) / columns.sum(1)
    assert 0.08 < area.min() < 0.14 < 0.26 < area.max() < 0.32
    assert 0.45 < ratio.min() < 0.8
    assert 1.3 < ratio.max() < 2.2


def test_erasing_by_noise_and_by_colour():
    image = np.zeros((30, 30, 3), np.uint8)
    noisy = run("random_erasing(1.0, 0.3, 0.33)", image)
    inside = noisy[noisy.any(2)]
    np.testing.assert_allclose(inside.mean(0), (124, 116, 104), atol=16)
    np.testing.assert_allclose(inside.std(0), (57, 56, 56), atol=14)
    plain = run("random_erasing(1.0, 0.3, 0.33, mode=colour)", image)
    assert len(np.unique(plain.reshape(-1, 3), axis=0)) == 2
    share = (many("random_erasing(0.25)", image, 120).any((1, 2, 3))).mean()
    assert 0.1 < share < 0.42


def test_grey_blur_solarize_invert():
    image = noise()
    luma = np.asarray(Image.fromarray(image).convert("L"))
    np.testing.assert_array_equal(run("grayscale", image), np.repeat(luma[..., None], 3, 2))
    np.testing.assert_array_equal(run("invert(1.0)", image), 255 - image)
    np.testing.assert_array_equal(
        run("solarize(99, 1.0)", image), np.where(image < 99, image, 255 - image)
    )
    blurred = many("gaussian_blur(0.5, 2.0, 1.0)", image, 5).astype(float)
    assert len({b.tobytes() for b in blurred}) == 5
    assert (blurred.std((1, 2, 3)) < image.std()).all()
    np.testing.assert_array_equal(run("gaussian_blur(probability=0)", image), image)


def test_colour_jitter_draws_within_its_strengths():
    grey = np.full((4, 4, 3), 100, np.uint8)
    brightness = many("colour_jitter(0.3, 0, 0)", grey, 100)[:, 0, 0, 0]
    assert 69 <= brightness.min() < 78
    assert 122 < brightness.max() <= 130
    np.testing.assert_array_equal(run("colour_jitter(0, 0.5, 0.5, 0.5)", grey), grey)
    image = noise()
    np.testing.assert_array_equal(run("colour_jitter(0, 0, 0)", image), image)
    saturated = run("colour_jitter(0, 0, 0.5)", image).astype(int)
    luma = np.asarray(Image.fromarray(image).convert("L")).astype(int)[..., None]
    inner = (saturated > 0) & (saturated < 255) & (np.abs(image - luma) > 60)
    factors = ((saturated - luma) / (image - luma + (image == luma)))[inner]
    assert np.ptp(factors) < 0.04
    assert 0.45 < factors.mean() < 1.55


def test_jitter_draws_anew_for_every_seed():
    image = RNG.integers(60, 120, (16, 16, 3), dtype=np.uint8)  # far from where values are cut off
    results = many("colour_jitter(0.4, 0.4, 0.0)", image, 40)
    assert len({r.tobytes() for r in results}) == 40
