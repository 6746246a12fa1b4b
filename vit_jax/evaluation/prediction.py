# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Predictions of a trained model on images: in memory or in files."""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from vit_jax.data.prefetch import prefetch
from vit_jax.data.tensorflow import import_tensorflow
from vit_jax.evaluation.classification import place
from vit_jax.objectives import is_sigmoid
from vit_jax.parallel import sharding
from vit_jax.parallel.mesh import create_mesh
from vit_jax.training import trained
from vit_jax.training.compilation import use_cache

Image = bytes | np.ndarray

BATCHES_AHEAD = 2  # read and on the devices before they are computed; as many wait behind


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a model says about images; rows of images that could not be read are NaN.

    Attributes:
        probabilities: float32 `[N, C]`.
        features: what the head reads, float32 `[N, D]`; `[N, 0]` if not asked for.
        errors: why an image could not be read, "" where it could.
    """

    probabilities: np.ndarray
    features: np.ndarray
    errors: tuple[str, ...]


class Predictor:
    """A trained model as a function from images to class probabilities, on all local devices.

    Args:
        path: a workdir or one step of it; nothing else of the run is needed.
        batch_size: images computed at once, rounded up to a multiple of the devices; fewer are
            padded, so that one program serves all.
        features: also compute what the head reads.

    Raises:
        UserError: there is no usable checkpoint.
    """

    def __init__(self, path: str | os.PathLike, batch_size: int = 32, features: bool = False):
        use_cache()
        run = trained.load(path)
        self._run, self._features = run, features
        self.class_names = run.class_names
        self._mesh = create_mesh({"data": -1}, jax.local_devices())
        self.batch_size = -(-batch_size // self._mesh.size) * self._mesh.size
        self._sigmoid = is_sigmoid(run.config)
        self._variables = place({"params": run.params, **run.model_state}, self._mesh)
        self._step = jax.jit(self._forward)

    def _forward(self, variables: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        model: Any = self._run.model
        images = self._run.ops.device(images)
        features = jax.numpy.zeros((len(images), 0))
        if self._features:
            logits, found = model.apply(variables, images, train=False, features=True)
            features = found["pre_logits"].astype(jax.numpy.float32)
        else:
            logits = model.apply(variables, images, train=False)
        return jax.nn.sigmoid(logits) if self._sigmoid else jax.nn.softmax(logits), features

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all that answers depend on besides the image: parameters, preprocessing."""
        digest = hashlib.sha256(self._run.ops.spec.encode())
        digest.update(repr((self._run.model, self._sigmoid)).encode())
        for name, leaf in sharding.named_leaves((self._run.params, self._run.model_state)):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(leaf).tobytes())
        return digest.hexdigest()

    def preprocess(self, image: Image) -> np.ndarray:
        """Returns an image as the model takes it, uint8 `[H, W, C]`.

        Args:
            image: the bytes of an image file, or uint8 `[h, w, 1 or 3]`.

        Raises:
            ValueError: the bytes are no image that can be decoded.
        """
        tf = import_tensorflow()
        try:
            return self._run.ops.host({"image": tf.constant(image)})["image"].numpy()
        except tf.errors.InvalidArgumentError as error:
            raise ValueError("not an image that can be decoded") from error

    def __call__(self, images: Iterable[Image]) -> np.ndarray:
        """Returns probabilities, float32 `[images, classes]`; see `preprocess` for the images."""
        return self.predict([self.preprocess(image) for image in images])

    def predict(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Returns probabilities, float32 `[images, classes]`, of preprocessed images."""
        starts = range(0, len(images), self.batch_size)
        batches = (np.stack(images[start : start + self.batch_size]) for start in starts)
        parts = [np.zeros((0, len(self.class_names)), np.float32)]
        parts += [probabilities for probabilities, _ in self._each(batches)]
        return np.concatenate(parts)

    def predict_paths(self, paths: Sequence[str | os.PathLike]) -> Answers:
        """Returns what the model says about image files, read and decoded in parallel."""
        rows: list[np.ndarray] = []

        def images() -> Iterator[np.ndarray]:
            for indices, batch in self._read(paths):
                rows.append(indices)
                yield batch

        answers = list(self._each(images()))
        errors = [""] * len(paths)
        for row in np.setdiff1d(np.arange(len(paths)), np.concatenate([*rows, []])):
            image, errors[row] = self._read_again(paths[row])
            if image is not None:
                rows.append(np.array([row]))
                answers += self._each(iter([image[None]]))
        return self._assemble(rows, answers, errors)

    def _read_again(self, path: str | os.PathLike) -> tuple[np.ndarray | None, str]:
        """Returns (the preprocessed image, "") or (None, why it cannot be read)."""
        try:
            return self.preprocess(pathlib.Path(path).read_bytes()), ""
        except (OSError, ValueError) as error:
            return None, getattr(error, "strerror", None) or str(error)

    def _assemble(
        self, rows: list[np.ndarray], answers: list[tuple[np.ndarray, ...]], errors: list[str]
    ) -> Answers:
        """Returns the answers in the order of the images, with gaps where there is none."""
        whole = [np.full((len(errors), width), np.nan, np.float32) for width in self._widths]
        for indices, of_batch in zip(rows, answers, strict=True):
            for column, values in zip(whole, of_batch, strict=True):
                column[indices] = values
        return Answers(whole[0], whole[1], tuple(errors))

    @functools.cached_property
    def _widths(self) -> list[int]:
        """The numbers of probabilities and of features of an image."""
        shape = (self.batch_size, *self._run.ops.image_size, self._run.ops.channels)
        images = jax.ShapeDtypeStruct(shape, np.uint8)
        return [out.shape[1] for out in jax.eval_shape(self._step, self._variables, images)]

    def _read(self, paths: Sequence[str | os.PathLike]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields (indices `[n]`, images `[n, H, W, C]`) of the files that can be decoded."""
        if not paths:
            return
        tf = import_tensorflow()
        names = tf.constant([os.fsencode(path) for path in paths])
        files = tf.data.Dataset.from_tensor_slices((tf.range(len(paths)), names))

        @tf.autograph.experimental.do_not_convert
        def decode(index, name):
            return index, self._decode(name)

        decoded = files.map(decode, num_parallel_calls=tf.data.AUTOTUNE)
        options = tf.data.Options()
        options.threading.max_intra_op_parallelism = 1
        batches = decoded.ignore_errors().batch(self.batch_size).prefetch(1).with_options(options)
        yield from batches.as_numpy_iterator()

    @functools.cached_property
    def _decode(self) -> Any:
        """The host's preprocessing of a file as a graph, traced once."""
        tf = import_tensorflow()

        def decode(path):
            return self._run.ops.host({"image": tf.io.read_file(path)})["image"]

        spec = tf.TensorSpec([], tf.string)
        return tf.function(decode, autograph=False, input_signature=[spec])

    def _each(self, batches: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, ...]]:
        """Yields (probabilities, features) of each batch; the devices always have more to do."""
        where = sharding.batch_sharding(self._mesh)
        in_flight: collections.deque[tuple[int, Any]] = collections.deque()
        transfer = functools.partial(self._to_devices, where)
        with contextlib.closing(prefetch(batches, transfer, BATCHES_AHEAD)) as ready:
            for count, images in ready:
                with jax.set_mesh(self._mesh):
                    in_flight.append((count, self._step(self._variables, images)))
                if len(in_flight) > BATCHES_AHEAD:
                    yield _to_host(*in_flight.popleft())
            while in_flight:
                yield _to_host(*in_flight.popleft())

    def _to_devices(self, where: NamedSharding, images: np.ndarray) -> tuple[int, jax.Array]:
        missing = self.batch_size - len(images)
        padded = np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0)))
        return len(images), jax.device_put(padded, where)


def _to_host(count: int, answers: Any) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(part)[:count] for part in answers)


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
    answers = predictor.predict_paths(paths)
    for path, row, error in zip(paths, answers.probabilities, answers.errors, strict=True):
        if error:
            failures.append((os.fspath(path), error))
        else:
            classes = [
                {"name": predictor.class_names[i], "probability": float(row[i])}
                for i in likeliest(row, top)
            ]
            predictions.append({"image": os.fspath(path), "classes": classes})
    return predictions, failures


def likeliest(probabilities: np.ndarray, count: int) -> np.ndarray:
    """Returns the indices of the largest of `[..., C]`, largest first; of equals, the first."""
    return np.argsort(-probabilities, axis=-1, kind="stable")[..., :count]
