# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A folder as people have them: every file is read, or named, or counted as left out."""

import io
import logging

import bad_pictures
import numpy as np
import pytest
from PIL import Image

from vit_jax.data import ops
from vit_jax.data.pipeline import EvalPipeline, TrainPipeline
from vit_jax.data.sources import create_source
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.errors import UserError

tf = import_tensorflow()
GREY = ("decode(channels=1)|inception_crop(16)", "decode(channels=1)|resize(16)")
TRAIN = ops.parse("decode|inception_crop(16)|flip")
EVAL = ops.parse("decode|resize_small(18)|central_crop(16)")
REASONS = ("jpeg::Uncompress failed", "Unknown image file format", "Input is empty")
SPLIT = "train+validation+test"


def shown(name, pipeline_ops):
    contents = tf.constant(bad_pictures.odd_picture(name))
    return pipeline_ops.host({"image": contents}, tf.constant([1, 2], tf.int64))["image"].numpy()


@pytest.mark.parametrize("name", bad_pictures.ODD)
def test_odd_pictures_are_read(name):
    """By the colours of the whole as Pillow sees them, which a crop of noise shares."""
    theirs = Image.open(io.BytesIO(bad_pictures.odd_picture(name)))
    if theirs.mode.startswith("I"):
        expected = np.full(3, np.asarray(theirs).mean() / 257)
    else:
        expected = np.asarray(theirs.convert("RGB"), np.float64).mean((0, 1))
    for pipeline_ops in (TRAIN, EVAL):
        image = shown(name, pipeline_ops)
        assert image.shape == (16, 16, 3)
        tolerance = 80 if name == "sixteen bits.png" else 12  # the one with a gradient
        np.testing.assert_allclose(image.mean((0, 1)), expected, atol=tolerance)


@pytest.mark.parametrize("name", bad_pictures.ODD)
def test_odd_pictures_become_grey(name):
    """The luma of what the colour decoder makes of them (whose colours are tested above)."""
    colour = shown(name, ops.parse("decode|resize(16)")).astype(float).mean((0, 1))
    expected = colour @ [0.299, 0.587, 0.114]
    for spec in GREY:
        image = shown(name, ops.parse(spec))
        assert image.shape == (16, 16, 1)
        tolerance = 80 if name == "sixteen bits.png" else 12
        assert image.mean() == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("name", bad_pictures.BROKEN)
@pytest.mark.parametrize("pipeline_ops", [TRAIN, EVAL], ids=["train", "eval"])
def test_broken_pictures_are_refused(name, pipeline_ops):
    with pytest.raises(tf.errors.InvalidArgumentError):
        shown(name, pipeline_ops)


def test_sixteen_bits_become_eight():
    contents = bad_pictures.odd_picture("sixteen bits.png")
    ours = ops.parse("decode").host({"image": tf.constant(contents)})["image"].numpy()
    theirs = np.asarray(Image.open(io.BytesIO(contents))).astype(int)
    np.testing.assert_array_equal(ours, np.repeat((theirs >> 8)[..., None], 3, -1))


def test_a_line_of_pixels_takes_no_memory_to_speak_of():
    """256 pixels high it would be 20,000 x 256 x 256 x 3 floats: 15 GiB."""
    image = np.zeros((1, 20_000, 3), np.uint8)
    image[:, 9_998:10_002] = 200
    ours = ops.parse("decode|resize_small(256)|central_crop(224)").host(
        {"image": tf.constant(image)}
    )
    assert ours["image"].numpy().max() == 200


def test_every_file_is_read_or_named_or_counted(tmp_path, caplog):
    names = bad_pictures.ODD + bad_pictures.BROKEN + bad_pictures.NOT_PICTURES
    root = bad_pictures.fill(tmp_path / "my pictures", names)
    source = create_source(f"folder:{root}", SPLIT)
    assert len(source) == 3 * 20 + len(bad_pictures.ODD) + len(bad_pictures.BROKEN)
    assert (
        source.left_out == "1 hidden, 1 of the kind .tif, 1 of the kind .txt, 1 without an ending"
    )
    pipeline = EvalPipeline(source=source, ops=EVAL, batch_size=16, max_bad_fraction=0.1)
    seen = np.concatenate([batch["index"] for batch in pipeline.batches()])
    missing = set(range(len(source))) - set(seen.tolist())
    assert {source.name(i).rpartition("/")[2] for i in missing} == set(bad_pictures.BROKEN)
    assert set(pipeline.bad_records) == missing
    for name, why in zip(bad_pictures.BROKEN, REASONS, strict=True):
        assert f"{name} ({why}" in caplog.text


def test_too_many_broken_ones_are_one_clear_line(tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    root = bad_pictures.fill(tmp_path, bad_pictures.BROKEN)
    source = create_source(f"folder:{root}", SPLIT)
    batches = TrainPipeline(source=source, ops=TRAIN, batch_size=len(source)).batches()
    with pytest.raises(UserError, match=r"2 of 63 images cannot be read.*\.jpg.*mend or") as caught:
        next(batches)
    assert "\n" not in str(caught.value)


def test_an_empty_class_and_a_class_of_one(tmp_path):
    root = bad_pictures.fill(tmp_path)
    (root / "one").mkdir()
    (root / "one" / "only.JPEG").write_bytes(bad_pictures.encode(bad_pictures.picture(1)))
    train = create_source(f"folder:{root}", "train")
    assert train.class_names == ("grün", "one", "red ones", "蓝")
    assert train.class_counts()[1] == 1
    for split in ("validation", "test"):
        assert create_source(f"folder:{root}", split).class_counts()[1] == 0
    (root / "none").mkdir()
    with pytest.raises(UserError, match=r"folder .*none holds no pictures .*: fill or remove it"):
        create_source(f"folder:{root}", "train")
