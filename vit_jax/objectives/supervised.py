# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Classification with given labels: softmax or sigmoid cross-entropy."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from vit_jax.errors import UserError
from vit_jax.objectives import metrics as metrics_lib
from vit_jax.objectives.objective import OBJECTIVES, Apply

CrossEntropy = Callable[[jax.Array, jax.Array], jax.Array]
"""(logits [B, C], targets [B, C]) -> [B]."""


@dataclasses.dataclass(frozen=True)
class Classification:
    """The mean over examples of a cross-entropy between logits and labels, in float32.

    In training an example's targets are `(1 - label_smoothing) label + label_smoothing / C`
    (arXiv 1512.00567, section 7), and its loss is multiplied by `sum_c label_c class_weights_c`.
    The sum is divided by the number of examples, not by the sum of their weights: so micro-batches
    average to the large batch. Evaluation has neither smoothing nor weights, so that its loss can
    be compared between recipes.

    Attributes:
        cross_entropy: of each example.
        num_classes: C.
        label_smoothing: share of the target spread over all classes.
        class_weights: one a class; () for none.
        link: from logits to probabilities, [B, C] to [B, C].
    """

    cross_entropy: CrossEntropy
    num_classes: int
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] = ()
    link: Callable[[jax.Array], jax.Array] = jax.nn.softmax

    def __post_init__(self) -> None:
        smoothing, weights = self.label_smoothing, self.class_weights
        if not 0 <= smoothing < 1:
            raise UserError(
                f"objective.label_smoothing: {smoothing} is outside [0, 1); write 0.1 or 0"
            )
        if weights and len(weights) != self.num_classes:
            raise UserError(
                f"objective.class_weights: {len(weights)} weights for {self.num_classes} classes; "
                "give one a class, or () for none"
            )
        if any(not math.isfinite(w) or w < 0 for w in weights) or (weights and not any(weights)):
            raise UserError(
                f"objective.class_weights: {weights} should be finite, not negative, not all zero"
            )

    def loss(
        self,
        apply: Apply,
        params: Any,
        model_state: Any,
        batch: dict[str, jax.Array],
        key: jax.Array | None,
        train: bool,
    ) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
        """See `objective.Objective.loss`.

        Metrics: `accuracy`, the share of examples whose highest logit is at their highest label;
        in evaluation all that `metrics.measure` returns.
        """
        logits, model_state = apply(params, model_state, batch["image"], train, key)
        logits, labels = logits.astype(jnp.float32), self._one_hot(batch["label"])
        mask = batch.get("mask")
        mask = jnp.ones(len(logits)) if mask is None else mask.astype(jnp.float32)

        losses = self._train_losses(logits, labels) if train else self.cross_entropy(logits, labels)
        if train:
            metrics = {"accuracy": metrics_lib.mean(metrics_lib.in_top(logits, labels, 1), mask)}
        else:
            metrics = metrics_lib.measure(logits, self.link(logits), labels, mask)
        return metrics_lib.mean(losses, mask), (metrics, model_state)

    def _one_hot(self, labels: jax.Array) -> jax.Array:
        """[B] or [B, C] to float32 [B, C]."""
        if labels.ndim == 1:
            return jax.nn.one_hot(labels, self.num_classes, dtype=jnp.float32)
        return labels.astype(jnp.float32)

    def _train_losses(self, logits: jax.Array, labels: jax.Array) -> jax.Array:
        targets = optax.smooth_labels(labels, self.label_smoothing)
        losses = self.cross_entropy(logits, targets)
        if not self.class_weights:
            return losses
        return losses * (labels @ jnp.asarray(self.class_weights, jnp.float32))


def softmax_cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """`-sum_c target_c log softmax(logits)_c`, [B, C] twice to [B]."""
    return optax.softmax_cross_entropy(logits, targets)


def sigmoid_cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """One binary cross-entropy a class, summed (not averaged) over classes (arXiv 2006.07159)."""
    return optax.sigmoid_binary_cross_entropy(logits, targets).sum(-1)


def _register(name: str, cross_entropy: CrossEntropy, link: Callable) -> None:
    def create(config: ConfigDict, num_classes: int) -> Classification:
        settings = config.objective
        return Classification(
            cross_entropy,
            num_classes,
            settings.label_smoothing,
            tuple(float(weight) for weight in settings.class_weights),
            link,
        )

    OBJECTIVES.register(name)(create)


_register("softmax_cross_entropy", softmax_cross_entropy, jax.nn.softmax)
_register("sigmoid_cross_entropy", sigmoid_cross_entropy, jax.nn.sigmoid)
