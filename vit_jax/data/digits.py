# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The embedded data set: scikit-learn's handwritten digits as a TFDS data set, prepared offline.

1,797 grey pictures of 8 x 8 pixels in ten classes (Alpaydin and Kaynak, "Optical Recognition of
Handwritten Digits", UCI 1998). The 20 % test part is stratified and fixed once and for all; a
validation part of the same size is there for every choice one makes.
"""

import functools
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from vit_jax.data.tensorflow import quiet

logger = logging.getLogger(__name__)

SPLIT_SIZES = {"train": 1077, "validation": 360, "test": 360}
_SPLIT_SEED = 0


@functools.cache
def load() -> tuple[np.ndarray, np.ndarray]:
    """Returns uint8 images `[1797, 8, 8, 1]`, 17 grey levels over 0..255, and int64 labels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    return images, digits.target.astype(np.int64)


@functools.cache
def split_indices() -> dict[str, np.ndarray]:
    """Returns split -> sorted indices into `load()`; stratified, and the same on every machine."""
    from sklearn.model_selection import train_test_split

    _, labels = load()
    rest = np.arange(len(labels))
    parts = {}
    for split in ("test", "validation"):
        rest, part = train_test_split(
            rest, test_size=SPLIT_SIZES[split], stratify=labels[rest], random_state=_SPLIT_SEED
        )
        parts[split] = np.sort(part)
    return {"train": np.sort(rest), **parts}


class Digits(tfds.core.GeneratorBasedBuilder):
    """The digits for TFDS: once this class is imported, `tfds.load("digits")` finds it."""

    name = "digits"
    VERSION = tfds.core.Version("1.0.0")
    # TFDS 4.9.10 finds this by a package (importlib_resources) that it does not ask pip for.
    code_path = epath.Path(__file__)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Scikit-learn's handwritten digits, 8 x 8 pixels, grey.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        return {split: self._generate_examples(split) for split in SPLIT_SIZES}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        images, labels = load()
        for index in split_indices()[split]:
            yield int(index), {"image": images[index], "label": labels[index]}


def prepare(data_dir: str | None = None) -> Digits:
    """Returns the data set, prepared in `data_dir` as ArrayRecord if it is not there yet.

    It is written beside its place and moved there whole, so processes may prepare it at once.

    Args:
        data_dir: None for the default of TFDS.
    """
    with quiet():
        builder = Digits(data_dir=data_dir)
        if builder.is_prepared():
            return builder
    root, final = Path(builder.data_dir_root), Path(builder.data_dir)
    logger.info("preparing the digits in %s", final)
    root.mkdir(parents=True, exist_ok=True)
    scratch = tempfile.mkdtemp(dir=root, prefix=".digits-")
    try:
        with quiet():
            private = Digits(data_dir=scratch, file_format="array_record")
            private.download_and_prepare()
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(private.data_dir, final)
        except OSError:
            if not final.exists():
                raise  # otherwise somebody else was first: theirs is the same
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Digits(data_dir=data_dir)
