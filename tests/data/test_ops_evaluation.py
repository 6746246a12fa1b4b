# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The usual preprocessing of evaluation is timm's."""

import pytest

from vit_jax.data.ops import evaluation_ops
from vit_jax.models import list_models, model_info

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    # As timm.data.create_transform(crop_pct=...) resizes: int(math.floor(size / crop_pct)).
    ("size", "crop_fraction", "shorter_side"),
    [(224, 0.875, 256), (224, 0.9, 248), (384, 0.9, 426), (384, 1.0, 384), (240, 0.95, 252)],
)
def test_the_shorter_side_is_timms(size, crop_fraction, shorter_side):
    ops = evaluation_ops((size, size), *IMAGENET, crop_fraction=crop_fraction)
    resize, crop = ops.spec.split("|")[1:3]
    assert resize.startswith(f"resize_small({shorter_side}, method=bicubic")
    assert crop == f"central_crop({size})"
    assert ops.image_size == (size, size)


def test_a_size_that_is_not_square_is_resized_to():
    ops = evaluation_ops((32, 48), *IMAGENET, interpolation="bilinear")
    assert ops.image_size == (32, 48)
    assert "resize((32, 48), method=bilinear" in ops.spec


def test_statistics_have_their_names_where_they_have_one():
    assert evaluation_ops((8, 8), *IMAGENET).device_op.mean == "imagenet"
    assert evaluation_ops((8, 8), (0.5,) * 3, (0.5,) * 3).device_op.mean == "half"
    unnamed = evaluation_ops((8, 8), (0.1, 0.2, 0.3), (0.5,) * 3).device_op
    assert unnamed.statistics == ((0.1, 0.2, 0.3), (0.5,) * 3)


@pytest.mark.parametrize("name", list_models())
def test_every_model_has_one(name):
    info = model_info(name)
    ops = evaluation_ops(
        info.image_size,
        info.mean,
        info.std,
        crop_fraction=info.crop_fraction,
        interpolation=info.interpolation,
    )
    assert ops.image_size == info.image_size
