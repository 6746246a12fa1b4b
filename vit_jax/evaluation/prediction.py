# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Predictions of a trained model on images: in memory or in files."""

import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.training import trained
from vit_jax.training.compilation import use_cache

Image = bytes | np.ndarray


class Predictor:
    """A trained model as a function from images to class probabilities, on one device.

    Args:
        path: a workdir or one step of it; nothing else of the run is needed.
        batch_size: images computed at once; fewer are padded, so one program serves all.

    Raises:
        UserError: there is no usable checkpoint.
    """

    def __init__(self, path: str | os.PathLike, batch_size: int = 32):
        use_cache()
        run = trained.load(path)
        self.class_names = run.class_names
        self.batch_size = batch_size
        self._ops = run.ops
        self._sigmoid = run.config.objective.name.startswith("sigmoid")
        self._variables = jax.device_put({"params": run.params, **run.model_state})
        self._model = run.model
        self._logits = jax.jit(self._forward)

    def _forward(self, variables: Any, images: jax.Array) -> jax.Array:
        logits: Any = self._model.apply(variables, self._ops.device(images), train=False)
        return jax.nn.sigmoid(logits) if self._sigmoid else jax.nn.softmax(logits)

    def preprocess(self, image: Image) -> np.ndarray:
        """Returns an image as the model takes it, uint8 `[H, W, C]`.

        Args:
            image: the bytes of an image file, or uint8 `[h, w, 1 or 3]`.

        Raises:
            ValueError: the bytes are no image that can be decoded.
        """
        tf = import_tensorflow()
        try:
            return self._ops.host({"image": tf.constant(image)})["image"].numpy()
        except tf.errors.InvalidArgumentError as error:
            raise ValueError("not an image that can be decoded") from error

    def __call__(self, images: Iterable[Image]) -> np.ndarray:
        """Returns probabilities, float32 `[images, classes]`; see `preprocess` for the images."""
        return self.predict([self.preprocess(image) for image in images])

    def predict(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Returns probabilities, float32 `[images, classes]`, of preprocessed images."""
        parts = [np.zeros((0, len(self.class_names)), np.float32)]
        for start in range(0, len(images), self.batch_size):
            batch = np.stack(images[start : start + self.batch_size])
            missing = self.batch_size - len(batch)
            padded = np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0)))
            parts.append(np.asarray(self._logits(self._variables, padded))[: len(batch)])
        return np.concatenate(parts)


def predict_files(
    predictor: Predictor, paths: Sequence[str | os.PathLike], top: int = 5
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Predicts image files.

    Returns:
        One `{"image", "classes": [{"name", "probability"}, ...]}` for each readable image, the
        likeliest class first, and (path, reason) of those that could not be read.
    """
    predictions: list[dict[str, Any]] = []
    failures: list[tuple[str, str]] = []
    for start in range(0, len(paths), predictor.batch_size):
        images = {}
        for path in paths[start : start + predictor.batch_size]:
            path = os.fspath(path)
            try:
                images[path] = predictor.preprocess(pathlib.Path(path).read_bytes())
            except (OSError, ValueError) as error:
                failures.append((path, getattr(error, "strerror", None) or str(error)))
        probabilities = predictor.predict(list(images.values()))
        predictions += [
            {"image": path, "classes": _top(of_image, predictor.class_names, top)}
            for path, of_image in zip(images, probabilities, strict=True)
        ]
    return predictions, failures


def _top(probabilities: np.ndarray, class_names: Sequence[str], count: int) -> list[dict[str, Any]]:
    best = np.argsort(-probabilities, kind="stable")[:count]
    return [{"name": class_names[i], "probability": float(probabilities[i])} for i in best]
