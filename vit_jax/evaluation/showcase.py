# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The pictures of a run, each drawn by one process from what lies in its workdir."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from vit_jax import pictures
from vit_jax.data.sources import Source
from vit_jax.evaluation.prediction import Predictor

COUNT = 32  # pictures in a grid


def draw_curves(workdir: str | os.PathLike) -> pathlib.Path:
    """Draws `curves.png` from the metrics so far."""
    folder = pathlib.Path(workdir)
    return pictures.curves(folder / "metrics.jsonl", folder / "curves.png")


def draw_samples(
    workdir: str | os.PathLike, batch: Mapping[str, jax.Array], class_names: Sequence[str]
) -> pathlib.Path:
    """Draws `samples.png`: the first training examples of this process, augmented, not yet mixed.

    Args:
        workdir: of the run; made if missing.
        batch: "image" uint8 `[B, H, W, C]` and "label" int `[B]`, on the mesh.
        class_names: of the labels.
    """
    folder = pathlib.Path(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = (_local_rows(batch[name]) for name in ("image", "label"))
    return pictures.grid(folder / "samples.png", images[:COUNT], labels[:COUNT], class_names)


def _local_rows(array: jax.Array) -> np.ndarray:
    """Returns the rows that this process's devices hold, each once."""
    shards = {shard.index[0].start or 0: shard.data for shard in array.addressable_shards}
    return np.concatenate([np.asarray(shards[start]) for start in sorted(shards)])


def draw_predictions(workdir: str | os.PathLike, source: Source) -> pathlib.Path:
    """Draws `predictions.png`: the trained model's answers on examples from all over a source."""
    folder = pathlib.Path(workdir)
    predictor = Predictor(folder)
    images, labels = [], []
    for index in np.linspace(0, len(source) - 1, min(COUNT, len(source)), dtype=int):
        try:
            record = source[int(index)]
            images.append(predictor.preprocess(record["image"]))
            labels.append(record["label"])
        except (OSError, ValueError):  # evaluation has named it in the log
            continue
    return pictures.grid(
        folder / "predictions.png", images, labels, predictor.class_names, predictor.predict(images)
    )
