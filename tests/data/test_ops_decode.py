# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Decoding against Pillow, and the random-resized crop: its distribution and its fusion."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from vit_jax.data.ops import parse
from vit_jax.data.ops.decode import DecodeInceptionCrop, InceptionCrop, shrink
from vit_jax.data.tensorflow import import_tensorflow

tf = import_tensorflow()
RNG = np.random.default_rng(0)


def picture(height=60, width=84):
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 17 + c) * np.cos(y / (13 + c)) for c in range(3)], -1)
    return Image.fromarray(np.uint8(128 + 90 * waves + RNG.integers(-9, 10, waves.shape)))


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decode(contents, text="decode"):
    return np.asarray(parse(text).host({"image": tf.constant(contents)})["image"])


def by_pillow(contents, mode="RGB"):
    return np.asarray(Image.open(io.BytesIO(contents)).convert(mode))


def error(ours, theirs):
    assert ours.shape == theirs.shape
    return np.abs(ours.astype(int) - theirs.astype(int)).max()


ENCODINGS = {
    "jpeg": (lambda p: encode(p, "JPEG", quality=95, subsampling=0), 3),
    "jpeg 4:2:0": (lambda p: encode(p, "JPEG", quality=80), 3),
    "jpeg progressive": (lambda p: encode(p, "JPEG", progressive=True), 3),
    "jpeg grey": (lambda p: encode(p.convert("L"), "JPEG"), 1),
    "png": (lambda p: encode(p, "PNG"), 0),
    "png grey": (lambda p: encode(p.convert("L"), "PNG"), 0),
    "png alpha": (lambda p: encode(with_alpha(p), "PNG"), 0),
    "png grey alpha": (lambda p: encode(with_alpha(p).convert("LA"), "PNG"), 0),
    "png palette": (lambda p: encode(p.quantize(64), "PNG"), 0),
    "png bits": (lambda p: encode(p.convert("1"), "PNG"), 0),
    "gif": (lambda p: encode(p, "GIF", save_all=True, append_images=[p.rotate(90)] * 2), 0),
    "bmp": (lambda p: encode(p, "BMP"), 0),
    "bmp grey": (lambda p: encode(p.convert("L"), "BMP"), 0),
    "webp": (lambda p: encode(p, "WEBP", lossless=True), 0),
}


def with_alpha(image):
    image = image.convert("RGBA")
    image.putalpha(image.convert("L").point(lambda v: 255 - v))
    return image


@pytest.mark.parametrize("kind", ENCODINGS)
def test_decodes_as_pillow(kind):
    write, tolerance = ENCODINGS[kind]
    contents = write(picture())
    assert error(decode(contents), by_pillow(contents)) <= tolerance


@pytest.mark.parametrize("kind", ["jpeg grey", "png", "png grey", "png alpha", "gif", "bmp grey"])
def test_decodes_to_grey_as_pillow(kind):
    write, tolerance = ENCODINGS[kind]
    contents = write(picture())
    ours = decode(contents, "decode(channels=1)")
    assert error(ours[..., 0], by_pillow(contents, "L")) <= tolerance


def test_cmyk_becomes_rgb():
    rgb = picture()
    contents = encode(rgb.convert("CMYK"), "JPEG", quality=98)
    assert error(decode(contents), by_pillow(contents)) <= 3
    assert np.abs(decode(contents).astype(int) - np.asarray(rgb)).mean() < 6


def test_sixteen_bits_keep_the_high_byte():
    values = RNG.integers(0, 65536, (9, 7), np.uint16)
    contents = encode(Image.fromarray(values), "PNG")
    assert error(decode(contents, "decode(1)")[..., 0], np.uint8(values >> 8)) <= 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pixels_pass_through(channels):
    pixels = RNG.integers(0, 256, (5, 6, channels), np.uint8)
    expected = pixels[..., :3] if channels > 1 else np.repeat(pixels, 3, -1)
    assert error(decode(pixels), expected) == 0


def test_undecodable_bytes_raise_when_the_graph_runs():
    jpeg = encode(picture(), "JPEG")
    run = tf.function(lambda contents: parse("decode").host({"image": contents})["image"])
    for contents in (
        b"",
        b"hello",
        jpeg[:40],
        jpeg[: len(jpeg) // 2],
        b"\x89PNG\r\n\x1a\nxx",
        b"BM",
    ):
        with pytest.raises(tf.errors.InvalidArgumentError):
            run(tf.constant(contents))


def test_recover_keeps_the_upper_part_of_a_truncated_jpeg():
    jpeg = encode(picture(64, 64), "JPEG", subsampling=0)
    whole, cut = by_pillow(jpeg), decode(jpeg[: len(jpeg) * 3 // 4], "decode(recover=True)")
    assert error(cut[:32], whole[:32]) <= 3
    crop = parse("decode(recover=True)|inception_crop(8, 0.9)")
    crop.host({"image": tf.constant(jpeg[: len(jpeg) * 3 // 4])}, [1, 2])


def run_crop(ops, contents, seeds):
    run = tf.function(lambda seed: ops.host({"image": tf.constant(contents)}, seed)["image"])
    return np.stack([run(tf.constant([seed, 5])) for seed in range(seeds)])


@pytest.mark.parametrize("kind", ["jpeg", "jpeg grey", "png", "gif"])
def test_fused_crop_is_decode_then_crop(kind):
    contents = ENCODINGS[kind][0](picture(100, 80))
    ops = parse("decode|inception_crop(24, scaled_decode=False)")
    assert isinstance(ops.host_ops[0], DecodeInceptionCrop)
    # Pixels take the path that does not decode, with the same seed.
    assert error(run_crop(ops, contents, 6), run_crop(ops, decode(contents), 6)) == 0


@pytest.mark.parametrize("kind", ["jpeg 4:2:0", "jpeg progressive"])
def test_fused_crop_of_subsampled_colour_differs_in_one_column_only(kind):
    contents = ENCODINGS[kind][0](picture(100, 80))
    (fused,) = parse("decode|inception_crop(24)").host_ops
    part = np.asarray(fused.decode_window(tf.constant(contents), tf.constant([11, 13, 51, 61]), 1))
    whole = decode(contents)[11:62, 13:74]
    assert error(part[:, :-1], whole[:, :-1]) == 0
    assert error(part, whole) < 24  # the decoder lacks the right neighbour of the last colour


@pytest.mark.parametrize(("size", "scale"), [(8, 8), (40, 8), (80, 4), (150, 2), (330, 1)])
def test_scaled_decoding_is_averaging(size, scale):
    contents = encode(picture(400, 380), "JPEG", quality=95, subsampling=0)
    image = Image.open(io.BytesIO(contents))
    text = f"decode|inception_crop({size}, area_min=0.85, ratio=(1.0, 1.0))"
    (fused,) = parse(text).host_ops
    seed = tf.constant([3, 4])
    top, left, height, width = np.asarray(fused.crop.window(tf.constant([400, 380, 3]), seed))
    box = [math.floor(v / scale + 0.5) * scale for v in (left, top, left + width, top + height)]
    shrunk = image.crop(box).reduce(scale)  # exact averages of scale x scale pixels
    window = shrink(tf.constant([top, left, height, width]), scale)
    part = fused.decode_window(tf.constant(contents), window, scale)
    # libjpeg shrinks by dropping frequencies, which is close to averaging.
    assert np.abs(np.asarray(part).astype(int) - np.asarray(shrunk)).mean() < 2.5
    resized = np.asarray(fused.crop.resize(part))
    run = fused({"image": tf.constant(contents)}, seed)["image"]
    assert error(np.asarray(run), resized) == 0


def windows(crop, height, width, count=400):
    draw = tf.function(lambda seed: crop.window(tf.constant([height, width, 3]), seed))
    return np.array([draw(tf.constant([i, 77])) for i in range(count)])


def test_crops_are_torchvisions_distribution():
    top, left, height, width = windows(InceptionCrop(224, 0.08, 0.5), 300, 400).T
    assert ((top >= 0) & (left >= 0) & (top + height <= 300) & (left + width <= 400)).all()
    area, ratio = height * width / 120000, width / height
    assert area.min() > 0.075
    assert area.max() < 0.51
    assert ratio.min() > 0.73
    assert ratio.max() < 1.37
    # Uniform area, log-uniform ratio, uniform place: means and spreads within 5 standard errors.
    for values, low, high in (
        (area, 0.08, 0.5),
        (np.log(ratio), math.log(3 / 4), math.log(4 / 3)),
        (top / (300 - height), 0, 1),
        (left / (400 - width), 0, 1),
    ):
        spread = (high - low) / math.sqrt(12)
        assert abs(values.mean() - (low + high) / 2) < 5 * spread / math.sqrt(len(values)) + 0.005
        assert abs(values.std() / spread - 1) < 0.15


def test_crops_that_cannot_fit_fall_back_to_the_centre():
    crop = InceptionCrop(8, area_min=1.0)
    assert (windows(crop, 20, 1000, 3) == [0, 487, 20, 27]).all()
    assert (windows(crop, 1000, 20, 3) == [487, 0, 27, 20]).all()
    assert (windows(crop, 1, 1, 3) == [0, 0, 1, 1]).all()


def test_a_whole_crop_is_a_plain_resize():
    image = picture(64, 64)
    pixels = tf.constant(np.asarray(image))
    for text in ("method=bicubic", "method=lanczos3", "method=bilinear"):
        crop = parse(f"decode|inception_crop(20, 1.0, ratio=(1.0, 1.0), antialias=True, {text})")
        ours = np.asarray(crop.host({"image": pixels}, [3, 4])["image"])
        method = {"lanczos3": "LANCZOS"}.get(text[7:], text[7:].upper())
        assert error(ours, np.asarray(image.resize((20, 20), Image.Resampling[method]))) <= 1
