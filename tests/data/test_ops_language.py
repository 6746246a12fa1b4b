# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The op language: reading, refusing, canonical text; how seeds reach the ops; the device part."""

import dataclasses
import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from vit_jax.data.ops import OPS, Ops, parse, signature
from vit_jax.data.ops.device import STATISTICS
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.errors import UserError

tf = import_tensorflow()
RNG = np.random.default_rng(0)

unit = st.floats(0.001, 1)
side = st.integers(1, 500)
size = side | st.tuples(side, side)
byte = st.integers(0, 255)
rising = st.tuples(unit, st.floats(1, 9))
method = st.sampled_from(["bilinear", "bicubic", "lanczos3", "area", "nearest"])
mode = st.sampled_from(["constant", "reflect", "edge"])
ARGUMENTS = {
    "inception_crop": {"size": size, "area_min": unit, "ratio": rising, "method": method},
    "resize": {"size": size, "method": method, "antialias": st.booleans()},
    "resize_small": {"size": side, "method": method},
    "central_crop": {"size": size},
    "random_crop": {"size": size, "padding": st.integers(0, 9), "mode": mode, "fill": byte},
    "pad": {"padding": st.integers(0, 9), "mode": mode, "fill": byte},
    "flip": {"probability": unit},
    "vertical_flip": {"probability": unit},
    "random_affine": {"degrees": unit, "scale": rising, "translate": unit, "shear": unit},
    "colour_jitter": {"brightness": unit, "hue": st.floats(0, 0.5)},
    "grayscale": {"probability": unit},
    "gaussian_blur": {"sigma_min": unit, "sigma_max": st.floats(1, 5)},
    "solarize": {"threshold": byte},
    "invert": {},
    "random_erasing": {"mode": st.sampled_from(["constant", "colour", "noise"])},
    "randaugment": {"num_layers": st.integers(1, 4), "magnitude": st.floats(0, 30)},
    "autoaugment": {"policy": st.sampled_from(["imagenet", "cifar10"])},
    "trivialaugment": {"fill": byte},
    "three_augment": {"jitter": unit},
}
LAST = {
    "normalise": {"mean": st.sampled_from(sorted(STATISTICS)) | st.tuples(unit, unit, unit)},
    "value_range": {"low": st.floats(-3, 0), "high": unit},
}


@st.composite
def ops_lists(draw):
    chosen = draw(st.lists(st.sampled_from(sorted(ARGUMENTS)), max_size=5))
    ops = [OPS.get("decode")(recover=draw(st.booleans()))]
    ops += [
        OPS.get(name)(
            **draw(
                st.fixed_dictionaries({}, optional=ARGUMENTS[name]).filter(
                    lambda given, name=name: needs(name) <= set(given)
                )
            )
        )
        for name in chosen
    ]
    last = draw(st.sampled_from([None, *LAST]))
    if last:
        given = draw(st.fixed_dictionaries(LAST[last]))
        if isinstance(given.get("mean"), tuple):
            given["std"] = given["mean"]
        ops.append(OPS.get(last)(**given))
    return Ops(tuple(ops))


def needs(name):
    fields = dataclasses.fields(OPS.get(name))
    return {f.name for f in fields if f.default is dataclasses.MISSING}


def test_every_op_is_covered_here():
    assert {"decode", *ARGUMENTS, *LAST} == set(OPS.names())


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(ops_lists())
def test_canonical_text_reads_back(ops):
    assert parse(ops.spec) == ops
    assert parse(ops.spec).spec == ops.spec
    # Leading parts of the fused list are readable too: what the benchmark times one by one.
    steps = [op.spec for op in ops.host_ops]
    for count in range(1, len(steps) + 1):
        assert parse("|".join(steps[:count])).host_ops == ops.host_ops[:count]


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(st.text(max_size=40) | st.text("decode|flip(),=0 '", max_size=40))
def test_any_text_is_read_or_refused_with_one_line(text):
    try:
        outcome = parse(text).spec
    except UserError as error:
        outcome = str(error)
    assert "\n" not in outcome


def test_spellings_of_the_same_ops():
    expected = parse("decode|inception_crop(224, area_min=0.05)|flip|normalise(imagenet)")
    assert (
        parse(["decode", "inception_crop(224, 0.05)", "flip()", "normalise('imagenet')"])
        == expected
    )
    assert (
        parse(
            "decode |\n random_resized_crop(size=224, area_min=.05)|flip(0.5)"
            "|normalize(mean=imagenet)"
        )
        == expected
    )
    assert parse("decode|resize([8, 9])").spec.endswith(
        "|resize((8, 9), method=bilinear, antialias=True)"
    )


REFUSED = {
    "decode|inceptoin_crop(2)": ["inceptoin_crop", "did you mean 'inception_crop'"],
    "decode|resize(8, methd=area)": ["'methd'", "did you mean 'method'", "resize(size, method=bil"],
    "decode|resize(8, method=bilinaer)": ["'bilinaer'", "did you mean 'bilinear'"],
    "decode|resize": ["'size' is missing", "resize(size"],
    "decode|resize(big)": ["size must be an integer or (an integer, an integer), got 'big'"],
    "decode|resize(2.5)": ["size must be an integer"],
    "decode|resize(True)": ["size must be an integer"],
    "decode|resize((1, 2, 3))": ["size must be"],
    "decode|resize(0)": ["positive"],
    "decode|flip(1, 2)": ["takes at most 1 arguments, got 2"],
    "decode|flip(1, probability=1)": ["given twice"],
    "decode|flip(1.5)": ["probability must be within [0, 1], got 1.5"],
    "decode|flip(1e999)": ["probability must be a number"],
    "decode|flip(__import__('os'))": ["probability must be a number, a word"],
    "decode|flip(**{})": ["unknown argument '**'"],
    "decode|os.system(1)": ["cannot read op"],
    "decode|flip(": ["cannot read ops", "column"],
    "decode & flip": ["cannot read op"],
    "": ["cannot read ops"],
    "flip|decode": ["must start with decode"],
    "decode|decode": ["once"],
    "decode(2)": ["channels must be 1 or 3"],
    "decode|normalise(imagenet)|flip": ["normalise", "move it to the end"],
    "decode|value_range|normalise(half)": ["only one of"],
    "decode|normalise(imagnet)": ["did you mean 'imagenet'"],
    "decode|normalise(imagenet, (1, 1, 1))": ["drop it"],
    "decode|normalise((0.5, 0.5))": ["std is missing"],
    "decode|normalise((0.5, 0.5), (1, 1))": ["1 or 3 numbers"],
    "decode|normalise((0.5,), (0,))": ["positive"],
    "decode(1)|normalise(imagenet)": ["3 channels of statistics for images of 1", "half"],
    "decode|value_range(1, 0)": ["low must be below high"],
    "decode|inception_crop(8, 0.5, 0.2)": ["area_min"],
    "decode|inception_crop(8, ratio=(2, 1))": ["ratio"],
    "decode|random_crop(8, 4, mirror)": ["unknown padding mode"],
    "decode|pad(-1)": ["negative"],
    "decode|pad(1, fill=256)": ["fill must be between 0 and 255"],
    "decode|autoaugment(cifar)": ["did you mean 'cifar10'"],
    "decode|randaugment(0)": ["num_layers"],
    "decode|randaugment(2, -1)": ["magnitude"],
    "decode|colour_jitter(-1)": ["brightness"],
    "decode|colour_jitter(hue=0.6)": ["hue"],
    "decode|gaussian_blur(2, 1)": ["sigma_min"],
    "decode|random_erasing(mode=pixel)": ["unknown mode"],
    "decode|random_erasing(fill=(1, 2, 300))": ["fill must be bytes"],
    "decode|random_affine(scale=(2, 1))": ["scale"],
    "decode|solarize(300)": ["threshold"],
    "decode|three_augment(-1)": ["jitter"],
    "decode|trivialaugment(-1)": ["fill"],
}


@pytest.mark.parametrize("text", REFUSED)
def test_mistakes_are_named(text):
    with pytest.raises(UserError) as error:
        parse(text)
    for part in REFUSED[text]:
        assert part in str(error.value)


def test_image_size_and_channels():
    assert parse("decode|inception_crop((12, 20))|pad(2)").image_size == (16, 24)
    assert parse("decode|resize((30, 40))|resize_small(15)").image_size == (15, 20)
    assert parse("decode(1)|resize_small(9)|central_crop(7)|value_range(-1, 1)").image_size == (
        7,
        7,
    )
    assert parse("decode(1)|resize(9)").channels == 1
    with pytest.raises(UserError, match=r"varying size.*central_crop"):
        _ = parse("decode|resize_small(256)|flip").image_size


def test_parsing_needs_no_tensorflow():
    code = (
        "import sys; from vit_jax.data.ops import parse;"
        "parse('decode|inception_crop(224)|randaugment|random_erasing|normalise(imagenet)').image_size;"
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_signatures_are_readable():
    assert signature(OPS.get("pad")) == "pad(padding, mode=constant, fill=0)"


IMAGE = RNG.integers(0, 256, (16, 16, 3), np.uint8)


def host(text, seed):
    return np.asarray(parse(text).host({"image": tf.constant(IMAGE), "label": 3}, seed)["image"])


def test_the_seed_alone_decides():
    text = "decode|inception_crop(9)|flip|colour_jitter|random_erasing(1.0)"
    first, again, other = host(text, [1, 2]), host(text, [1, 2]), host(text, [1, 3])
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5
    assert first.dtype == np.uint8


def test_other_ops_never_change_what_an_op_draws():
    plain = host("decode|random_crop(5)", [4, 2])
    np.testing.assert_array_equal(host("decode|flip(0)|invert(0)|random_crop(5)", [4, 2]), plain)
    np.testing.assert_array_equal(host("decode|random_crop(5)|invert(1.0)", [4, 2]), 255 - plain)


def test_repeated_ops_draw_apart():
    decisions = set()
    for seed in range(12):
        once, twice = host("decode|flip", [seed, 0]), host("decode|flip|flip", [seed, 0])
        decisions.add(((once != IMAGE).any(), (twice != once).any()))
    assert len(decisions) == 4  # each of the two flips happens without the other


def test_the_rest_of_the_record_passes():
    record = parse("decode|flip").host(
        {"image": tf.constant(IMAGE), "label": 3, "name": "a"}, [1, 2]
    )
    assert record["label"] == 3
    assert record["name"] == "a"


def test_random_ops_need_a_seed():
    with pytest.raises(ValueError, match="seed"):
        parse("decode|flip").host({"image": tf.constant(IMAGE)})
    assert not parse("decode|resize(4)|normalise(half)").random


def test_static_shapes_reach_the_batch():
    ops = parse(
        "decode|inception_crop(12)|randaugment|random_erasing|three_augment|random_crop(10, 1)"
    )
    dataset = tf.data.Dataset.from_tensors(tf.io.encode_jpeg(IMAGE))
    dataset = dataset.map(lambda contents: ops.host({"image": contents}, [1, 2]))
    assert dataset.element_spec["image"] == tf.TensorSpec([10, 10, 3], tf.uint8)
    assert next(iter(dataset))["image"].shape == (10, 10, 3)


@pytest.mark.parametrize("name", STATISTICS)
def test_normalise(name):
    batch = RNG.integers(0, 256, (2, 3, 4, 3), np.uint8)
    mean, std = (np.array(x) for x in STATISTICS[name])
    ours = jax.jit(parse(f"decode|normalise({name})").device)(batch)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, (batch / 255 - mean) / std, atol=2e-6)
    given = parse(f"decode|normalise({tuple(mean.tolist())}, {tuple(std.tolist())})").device(batch)
    np.testing.assert_array_equal(given, parse(f"decode|normalise({name})").device(batch))


def test_value_range_and_the_default():
    batch = RNG.integers(0, 256, (2, 3, 4, 1), np.uint8)
    ours = parse("decode(1)|value_range(-1, 1)").device(batch)
    np.testing.assert_allclose(ours, batch / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(parse("decode(1)").device(batch), batch / 255, atol=1e-7)


def test_only_the_crop_right_behind_decode_is_fused_with_it():
    ops = parse("decode|inception_crop(8)|inception_crop(4)")
    assert [op.name for op in ops.host_ops] == ["decode|inception_crop", "inception_crop"]
