# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a model makes of the examples of a split: the features its head would read."""

import contextlib
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vit_jax.data.sources import Source
from vit_jax.evaluation import classification
from vit_jax.training.trained import Trained

_SCORES = 2**26  # computed at once: 256 MiB


@dataclasses.dataclass(frozen=True)
class Features:
    """Examples as a model sees them.

    Attributes:
        values: float32 `[N, D]`.
        labels: int64 `[N]`, from 0 to `num_classes` - 1.
        num_classes: of the data.
    """

    values: np.ndarray
    labels: np.ndarray
    num_classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Features":
        """Returns some of the examples."""
        return dataclasses.replace(self, values=self.values[rows], labels=self.labels[rows])


class Extractor:
    """A model as a function from a source to features.

    Args:
        run: the model, with or without a head, and its preprocessing.
        mesh: whose devices share each batch.
    """

    def __init__(self, run: Trained, mesh: Mesh):
        self._run, self._mesh = run, mesh
        with jax.set_mesh(mesh):
            self._variables = classification.place({"params": run.params, **run.model_state}, mesh)
        # Every device gets the whole result, so every process can read it.
        self._step = jax.jit(self._forward, out_shardings=NamedSharding(mesh, PartitionSpec()))

    def _forward(self, variables: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        images = self._run.ops.device(batch["image"])
        _, found = self._run.model.apply(variables, images, train=False, features=True)
        values = found["pre_logits"].astype(jnp.float32)
        return {"values": values, "label": batch["label"], "mask": batch["mask"]}

    def __call__(self, source: Source, batch_size: int = 0) -> Features:
        """Returns the features of all examples that can be read, in order, on every process.

        Args:
            source: what is looked at, with the preprocessing of evaluation.
            batch_size: over all devices; 0 for the run's.
        """
        config, mesh = self._run.config, self._mesh
        size = batch_size or classification.evaluation_batch_size(config, mesh)
        parts: list[dict[str, np.ndarray]] = []
        with jax.set_mesh(mesh):
            pipeline = classification.eval_pipeline(source, self._run.ops, config, mesh, size)
            batches = classification.each_batch(
                lambda batch: self._step(self._variables, batch), pipeline, mesh
            )
            with contextlib.closing(batches):
                for batch in batches:
                    kept = (batch["mask"] > 0) & (batch["label"] >= 0)
                    parts.append({name: batch[name][kept] for name in ("values", "label")})
        values, labels = (np.concatenate([p[name] for p in parts]) for name in ("values", "label"))
        return Features(values, labels.astype(np.int64), len(source.class_names))


def statistics(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of each feature, float64 `[D]`; never quite zero."""
    return values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64) + 1e-5


@jax.jit
def _hits(values: jax.Array, labels: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    scores = jnp.matmul(values, kernel, precision=jax.lax.Precision.HIGHEST) + bias
    _, best = jax.lax.top_k(scores, min(5, scores.shape[-1]))
    right = best == labels[:, None]
    return jnp.stack([right[:, 0].sum(), right.sum()])


def linear_accuracy(
    values: np.ndarray, labels: np.ndarray, kernel: np.ndarray, bias: np.ndarray
) -> tuple[float, float]:
    """Returns the top-1 and top-5 accuracy of `values @ kernel + bias`, computed in float32."""
    hits = np.zeros(2)
    rows = max(1, _SCORES // kernel.shape[1])
    for start in range(0, len(labels), rows):
        part = slice(start, start + rows)
        found = _hits(
            jnp.asarray(values[part], jnp.float32),
            jnp.asarray(labels[part]),
            jnp.asarray(kernel, jnp.float32),
            jnp.asarray(bias, jnp.float32),
        )
        hits += np.asarray(found, np.float64)
    top1, top5 = hits / max(len(labels), 1)
    return float(top1), float(top5)
