# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a model says of each example of a split, and where it is wrong."""

import contextlib
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vit_jax.data.ops import Ops
from vit_jax.data.pipeline import EvalPipeline
from vit_jax.evaluation.classification import each_batch
from vit_jax.training.step import make_apply


@dataclasses.dataclass(frozen=True)
class Answers:
    """One row a readable example, in the order of the split.

    Attributes:
        index: of the example in its source, int `[n]`.
        label: the true class, int `[n]`.
        guess: the likeliest class, int `[n]`.
        confidence: the probability of the guess, float `[n]`.
        loss: minus the logarithm of the true class's probability, float `[n]`.
    """

    index: np.ndarray
    label: np.ndarray
    guess: np.ndarray
    confidence: np.ndarray
    loss: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, which: Any) -> "Answers":
        """Returns those that `which` selects."""
        return Answers(*(getattr(self, field.name)[which] for field in dataclasses.fields(self)))

    @property
    def accuracy(self) -> float:
        """The share of right guesses."""
        return float((self.label == self.guess).mean()) if len(self) else float("nan")

    def mistakes(self) -> "Answers":
        """Returns the wrong ones, the highest loss first."""
        wrong = self.rows(self.label != self.guess)
        return wrong.rows(np.argsort(-wrong.loss, kind="stable"))

    def confusion(self, num_classes: int) -> np.ndarray:
        """Returns how often class i was taken for class j, int `[classes, classes]`."""
        counts = np.zeros((num_classes, num_classes), np.int64)
        np.add.at(counts, (self.label, self.guess), 1)
        return counts

    def confused_pairs(self) -> list[tuple[int, int, int]]:
        """Returns (label, guess, how often) of the mistakes, the most frequent first."""
        wrong = self.rows(self.label != self.guess)
        pairs = np.stack([wrong.label, wrong.guess], axis=1)
        found, counts = np.unique(pairs, axis=0, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return [(int(found[i, 0]), int(found[i, 1]), int(counts[i])) for i in order]


def collect(
    model: nn.Module,
    params: Any,
    model_state: Any,
    pipeline: EvalPipeline,
    ops: Ops,
    mesh: Mesh,
    *,
    sigmoid: bool = False,
) -> Answers:
    """Returns a model's answers on a split, the same on every process.

    Args:
        model: the module.
        params: on the mesh.
        model_state: the model's other collections.
        pipeline: this process's rows of the split.
        ops: the preprocessing, of which the device part is left to do.
        mesh: where batches go.
        sigmoid: whether each class has a probability of its own; they do not add up to one.
    """
    apply = make_apply(model)
    log_probabilities = jax.nn.log_sigmoid if sigmoid else jax.nn.log_softmax

    def answer(params: Any, model_state: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        logits, _ = apply(params, model_state, ops.device(batch["image"]), False)
        logs, label = log_probabilities(logits.astype(jnp.float32)), batch["label"]
        return {
            "label": label,
            "guess": logs.argmax(-1),
            "confidence": jnp.exp(logs.max(-1)),
            "loss": -jnp.take_along_axis(logs, label[:, None], axis=-1)[:, 0],
            "mask": batch["mask"],
        }

    whole = NamedSharding(mesh, PartitionSpec())
    step = jax.jit(answer, out_shardings=whole)
    with contextlib.closing(
        each_batch(lambda batch: step(params, model_state, batch), pipeline, mesh)
    ) as batches:
        parts = list(batches)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    present = columns.pop("mask") > 0
    return Answers(index=np.arange(len(present)), **columns).rows(present)
