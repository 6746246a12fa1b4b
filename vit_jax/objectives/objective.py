# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What an objective is, and the names of all there are."""

from collections.abc import Callable
from typing import Any, Protocol

import jax
from ml_collections import ConfigDict

from vit_jax.registry import Registry

Apply = Callable[..., tuple[Any, Any]]
"""`apply(params, model_state, images, train, key=None) -> (outputs, model_state)`."""


class Objective(Protocol):
    """What the training and the evaluation step need of an objective."""

    def loss(
        self,
        apply: Apply,
        params: Any,
        model_state: Any,
        batch: dict[str, jax.Array],
        key: jax.Array | None,
        train: bool,
    ) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
        """Computes the loss of one batch.

        It must be a mean over the examples of a quantity that depends on one example each, so that
        the average over equal micro-batches is the loss of the large batch. The same goes for the
        metrics: evaluation multiplies them by the number of examples and adds them up.

        Args:
            apply: the model.
            params: differentiated by the training step.
            model_state: the model's other collections, {} for most.
            batch: "image" float [B, H, W, C], normalised; "label" int [B] or soft [B, C]; "mask"
                [B], 0 for padding, may be absent. Means are over examples whose mask is 1.
            key: for dropout and all other randomness; None outside training.
            train: whether dropout is on; off, the loss is the one to report.

        Returns:
            A float32 scalar, and the pair of metrics (name -> float32 scalar; outside training also
            vectors that `metrics.summarise` makes scalars of) and new model state.
        """


OBJECTIVES: Registry[Callable[[ConfigDict, int], Objective]] = Registry("objective")
