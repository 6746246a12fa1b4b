# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The embedded data set is scikit-learn's, whole, split fairly and prepared once."""

import io
import os

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from vit_jax.data.sources import create_source
from vit_jax.errors import UserError

SIZES = {"train": 1077, "validation": 360, "test": 360}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


def records(source):
    """Returns [(8x8 array, label)], decoded by pillow."""
    return [
        (np.asarray(Image.open(io.BytesIO(r["image"]))), r["label"])
        for r in (source[i] for i in range(len(source)))
    ]


def test_the_splits_hold_every_digit_of_sklearn_exactly_once(data_dir):
    digits = load_digits()
    expected = sorted(
        (np.round(image * 255 / 16).astype(np.uint8).tobytes(), int(label))
        for image, label in zip(digits.images, digits.target, strict=True)
    )
    found = []
    for split, size in SIZES.items():
        part = records(create_source("digits", split, data_dir))
        assert len(part) == size
        assert all(image.shape == (8, 8) and image.dtype == np.uint8 for image, _ in part)
        found += [(image.tobytes(), label) for image, label in part]
    assert sorted(found) == expected
    # The 17 grey levels of sklearn are still apart, from black to white.
    levels = np.unique(np.frombuffer(b"".join(image for image, _ in found), np.uint8))
    assert len(levels) == 17
    assert levels[0] == 0
    assert levels[-1] == 255


def test_the_splits_are_stratified(data_dir):
    share = np.bincount(load_digits().target) / 1797
    for split, size in SIZES.items():
        source = create_source("digits", split, data_dir)
        assert source.class_names == tuple("0123456789")
        counts = np.bincount([source[i]["label"] for i in range(size)], minlength=10)
        np.testing.assert_allclose(counts, share * size, atol=1)


def test_split_expressions(data_dir):
    both = create_source("digits", "train+validation", data_dir)
    assert len(both) == 1437
    train, validation = (create_source("digits", s, data_dir) for s in ("train", "validation"))
    assert both[5]["image"] == train[5]["image"]
    assert both[1077 + 5]["image"] == validation[5]["image"]
    assert len(create_source("digits", "train[:50%]", data_dir)) in (538, 539)


def test_the_split_never_changes():
    from vit_jax.data.digits import split_indices

    # Written down when the split was made: the published accuracies are of this hold-out.
    assert split_indices()["test"][:12].tolist() == [21, 24, 28, 34, 35, 37, 39, 42, 45, 51, 57, 77]
    assert int(split_indices()["test"].sum()) == 337944


def test_tfds_finds_it_once_imported(data_dir):
    create_source("digits", "test", data_dir)
    assert len(create_source("tfds:digits", "test", data_dir)) == 360


def test_processes_may_prepare_it_at_once(tmp_path, monkeypatch):
    from vit_jax.data import digits

    ours, rename = create_source("digits", "test", str(tmp_path / "alone"))[7]["image"], os.rename
    moves = []

    def rename_after_another_process(source, target):
        if str(target) == str(tmp_path / "shared" / "digits" / "1.0.0"):
            moves.append(source)
            if len(moves) == 1:  # the other one begins after us and is done before us
                digits.prepare(str(tmp_path / "shared"))
        rename(source, target)

    monkeypatch.setattr(digits.os, "rename", rename_after_another_process)
    assert create_source("digits", "test", str(tmp_path / "shared"))[7]["image"] == ours
    assert len(moves) == 2
    assert os.listdir(tmp_path / "shared") == ["digits"]
    assert os.listdir(tmp_path / "shared" / "digits") == ["1.0.0"]


def test_it_goes_where_tfds_data_dir_says(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    create_source("digits", "test")
    assert (tmp_path / "digits" / "1.0.0" / "dataset_info.json").exists()


def test_digits_that_somebody_prepared_as_tfrecord(tmp_path):
    from vit_jax.data.digits import Digits

    Digits(data_dir=tmp_path, file_format="tfrecord").download_and_prepare()
    with pytest.raises(UserError, match=r"prepared as tfrecord.*tfds convert_format"):
        create_source("digits", "train", str(tmp_path))
