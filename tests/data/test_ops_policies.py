# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The policies: their tables against published numbers, their choices against what Pillow makes."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from vit_jax.data.ops import parse, tables
from vit_jax.data.ops.policies import TRANSFORMS
from vit_jax.data.tensorflow import import_tensorflow

tf = import_tensorflow()
RNG = np.random.default_rng(0)

# name -> strengths at levels 0, 0.5, 0.9 and 1 with a positive sign, as published.
STANDARD = {
    "rotate": (0, 15, 27, 30),
    "shear_x": (0, 0.15, 0.27, 0.3),
    "translate_x": (0, 0.225, 0.405, 0.45),
    "brightness": (0.1, 1.0, 1.72, 1.9),
    "posterize": (0, 2, 3, 4),
    "solarize": (0, 128, 230, 256),
    "solarize_add": (0, 55, 99, 110),
}
INCREASING = STANDARD | {
    "brightness": (1, 1.45, 1.81, 1.9),
    "posterize": (4, 2, 1, 0),
    "solarize": (256, 128, 26, 0),
}
AUTOAUGMENT = {
    "rotate": (0, 15, 27, 30),
    "shear_y": (0, 0.15, 0.27, 0.3),
    "translate_y": (0, 5 / 32, 9 / 32, 10 / 32),
    "sharpness": (0.1, 1.0, 1.72, 1.9),
    "posterize": (4, 2, 1, 0),
    "solarize": (256, 128, 26, 0),
}
TRIVIAL = {
    "rotate": (0, 67.5, 121.5, 135),
    "shear_x": (0, 0.495, 0.891, 0.99),
    "translate_y_px": (0, 16, 28.8, 32),
    "contrast": (1, 1.495, 1.891, 1.99),
    "posterize": (8, 5, 3, 2),
    "solarize": (255, 127.5, 25.5, 0),
}


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (tables.STANDARD, STANDARD),
        (tables.INCREASING, INCREASING),
        (tables.AUTOAUGMENT, AUTOAUGMENT),
        (tables.TRIVIAL, TRIVIAL),
    ],
)
def test_strengths_are_the_published_ones(table, expected):
    for name, strengths in expected.items():
        for level, strength in zip((0.0, 0.5, 0.9, 1.0), strengths, strict=True):
            assert table[name](level, 1) == pytest.approx(strength, abs=1e-9), (name, level)
            in_graph = table[name](tf.constant(level), tf.constant(1.0))
            assert float(in_graph) == pytest.approx(strength, abs=1e-4), (name, level)


def test_the_sets_of_transforms():
    assert len(tables.STANDARD) == len(tables.INCREASING) == 15
    assert len(tables.TRIVIAL) == 14
    assert set(TRANSFORMS) >= {*tables.STANDARD, *tables.TRIVIAL, *tables.AUTOAUGMENT}
    for name in ("rotate", "shear_x", "shear_y", "translate_x", "translate_y"):
        assert tables.STANDARD[name](0.7, -1) == -tables.STANDARD[name](0.7, 1)
    # Beyond the range (AugReg's magnitude 15): factors grow, solarize acts on nothing.
    assert tables.STANDARD["colour"](1.5, 1) == pytest.approx(2.8)
    assert tables.STANDARD["solarize"](1.5, 1) == 384


@pytest.mark.parametrize("policy", [tables.IMAGENET_POLICY, tables.CIFAR10_POLICY])
def test_policies_are_25_pairs(policy):
    assert len(policy) == 25
    for name, probability, magnitude in (half for pair in policy for half in pair):
        assert name in tables.AUTOAUGMENT
        assert 0 <= probability <= 1
        assert 0 <= magnitude <= 9


def test_policy_totals_are_the_papers():
    """Sums over tables 7 and 9 of the paper, where a slip of one number shows."""
    for policy, probabilities, counts in (
        (tables.CIFAR10_POLICY, 26.5, {"equalize": 9, "autocontrast": 7, "sharpness": 5}),
        (tables.IMAGENET_POLICY, 31.0, {"equalize": 17, "rotate": 6, "posterize": 5}),
    ):
        halves = [half for pair in policy for half in pair]
        assert sum(p for _, p, _ in halves) == pytest.approx(probabilities, abs=1e-6)
        names = [name for name, _, _ in halves]
        assert {name: names.count(name) for name in counts} == counts


def picture(size=16):
    y, x = np.mgrid[:size, :size]
    waves = np.stack([np.sin(x / 5 + c) * np.cos(y / (4 + c)) for c in range(3)], -1)
    return np.uint8(120 + 60 * waves + RNG.integers(0, 20, waves.shape))


def many(text, image, count):
    ops = parse(f"decode|{text}")
    graph = tf.function(lambda seed: ops.host({"image": tf.constant(image)}, seed)["image"])
    offset = int(RNG.integers(1 << 30))
    return np.stack([graph(tf.constant([offset, i])) for i in range(count)])


def pillow_results(fill):
    """Every result one layer of `randaugment(1, 5)` can have on values alone, by Pillow."""
    enhance = {
        "brightness": ImageEnhance.Brightness,
        "colour": ImageEnhance.Color,
        "contrast": ImageEnhance.Contrast,
        "sharpness": ImageEnhance.Sharpness,
    }
    affine = Image.Transform.AFFINE
    moves = {
        "rotate": lambda x, s: x.rotate(15 * s, Image.Resampling.BILINEAR, fillcolor=fill),
        "shear_x": lambda x, s: x.transform(x.size, affine, (1, 0.15 * s, 0, 0, 1, 0), 2, 1, fill),
        "shear_y": lambda x, s: x.transform(x.size, affine, (1, 0, 0, 0.15 * s, 1, 0), 2, 1, fill),
        "translate_x": lambda x, s: x.transform(
            x.size, affine, (1, 0, 0.225 * s * x.width, 0, 1, 0), 2, 1, fill
        ),
        "translate_y": lambda x, s: x.transform(
            x.size, affine, (1, 0, 0, 0, 1, 0.225 * s * x.height), 2, 1, fill
        ),
    }
    yield "autocontrast", lambda x: ImageOps.autocontrast(x)
    yield "equalize", lambda x: ImageOps.equalize(x)
    yield "invert", lambda x: ImageOps.invert(x)
    yield "posterize", lambda x: ImageOps.posterize(x, 2)
    yield "solarize", lambda x: ImageOps.solarize(x, 128)
    yield "solarize_add", lambda x: x.point(lambda v: v + 55 if v < 128 else v)
    for name, enhancer in enhance.items():
        yield name, lambda x, enhancer=enhancer: enhancer(x).enhance(1.0)
    for name, move in moves.items():
        for sign in (-1, 1):
            yield name, lambda x, move=move, sign=sign: move(x, sign)


def test_randaugment_is_one_of_pillows_results_and_every_one_occurs():
    image = picture()
    names, expected = zip(*pillow_results((128,) * 3), strict=True)
    expected = np.stack([np.asarray(f(Image.fromarray(image))) for f in expected]).astype(int)
    results = many("randaugment(1, 5)", image, 300)
    # Interiors, and most pixels: the edge of a moved image blends with the fill here.
    off = (np.abs(results[:, None].astype(int) - expected) > 1).mean((2, 3, 4))
    assert (off.min(1) < 0.2).all()
    seen = {names[i] for i in off.argmin(1)}
    at_level_5_factors_are_one = {"brightness", "colour", "contrast", "sharpness"}
    assert seen >= set(names) - at_level_5_factors_are_one
    assert seen & at_level_5_factors_are_one
    share = (off == 0).any(1) & (results == image).all((1, 2, 3))
    assert 0.13 < share.mean() < 0.42  # four of fifteen


def test_randaugment_layers_act_with_their_probability():
    image = picture()
    assert (many("randaugment(3, 9, probability=0.0)", image, 5) == image).all()
    untouched = (many("randaugment(1, 9, probability=0.3)", image, 200) == image).all((1, 2, 3))
    assert 0.55 < untouched.mean() < 0.9


def test_randaugment_noise_spreads_the_magnitude():
    image = picture()
    plain = many("randaugment(1, 9)", image, 120)
    noisy = many("randaugment(1, 9, magnitude_std=1.0, increasing=True)", image, 120)
    assert len({x.tobytes() for x in plain}) <= 20  # ten, and both signs of five
    assert len({x.tobytes() for x in noisy}) > 50


def test_trivialaugment_has_the_strengths_of_its_space():
    image = picture()
    results = many("trivialaugment", image, 300)
    distinct = {x.tobytes() for x in results}
    assert image.tobytes() in distinct
    assert 100 < len(distinct) < 1 + 3 + 31 * 16 + 31
    equalized = np.asarray(ImageOps.equalize(Image.fromarray(image)))
    assert equalized.tobytes() in distinct


@pytest.mark.parametrize("policy", ["imagenet", "cifar10"])
def test_autoaugment_applies_its_pairs(policy):
    image = picture()
    results = many(f"autoaugment({policy})", image, 150)
    distinct = {x.tobytes() for x in results}
    assert 15 < len(distinct) < 120
    assert np.asarray(ImageOps.equalize(Image.fromarray(image))).tobytes() in distinct
    untouched = (results == image).all((1, 2, 3)).mean()
    assert 0.02 < untouched < 0.45


def test_three_augment_is_grey_solarised_or_blurred():
    image = picture()
    results = many("three_augment(0)", image, 90).astype(int)
    grey = (results == np.asarray(Image.fromarray(image).convert("L"))[..., None]).all((1, 2, 3))
    solarised = (results == np.asarray(ImageOps.solarize(Image.fromarray(image), 128))).all(
        (1, 2, 3)
    )
    blurred = ~grey & ~solarised
    assert min(grey.sum(), solarised.sum(), blurred.sum()) > 12
    detail = np.abs(np.diff(results[blurred], axis=2)).mean((1, 2, 3))
    assert (detail <= np.abs(np.diff(image.astype(int), axis=1)).mean() + 0.01).all()
    jittered = many("three_augment", image, 10)
    assert len({x.tobytes() for x in jittered}) == 10
