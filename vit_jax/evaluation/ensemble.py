# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Several models, and several views of each image, as one model that averages probabilities."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from vit_jax.errors import UserError
from vit_jax.objectives import is_sigmoid
from vit_jax.training.trained import Trained


def average_softmax(logits: jax.Array, log_weights: jax.Array) -> jax.Array:
    """Returns `log sum_k w_k softmax(logits_k)`: its softmax is the average of probabilities.

    Args:
        logits: `[K, B, C]`, float32.
        log_weights: `[K]`, of weights that add up to one.
    """
    return _log_mean(jax.nn.log_softmax(logits), log_weights)


def average_sigmoid(logits: jax.Array, log_weights: jax.Array) -> jax.Array:
    """Returns the logits whose sigmoid is the average of probabilities; as `average_softmax`."""
    chances = _log_mean(jax.nn.log_sigmoid(logits), log_weights)
    return chances - _log_mean(jax.nn.log_sigmoid(-logits), log_weights)


def _log_mean(logs: jax.Array, log_weights: jax.Array) -> jax.Array:
    return jax.nn.logsumexp(logs + log_weights[:, None, None], axis=0)


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """A model made of models; it is applied as a Linen module is.

    Its variables are {"params": one tree a member, "states": their other collections}, and its
    images one array `[B, views, H, W, C]` for each distinct preprocessing.

    Attributes:
        models: the members.
        inputs: which of the images each is fed with.
        outputs: which of the outputs of each are compared, and in what order; None for all.
        weights: of the members, adding up to one.
        average: `average_softmax` or `average_sigmoid`.
    """

    models: tuple[nn.Module, ...]
    inputs: tuple[int, ...]
    outputs: tuple[np.ndarray | None, ...]
    weights: tuple[float, ...]
    average: Callable[[jax.Array, jax.Array], jax.Array]

    def apply(self, variables: Any, images: Sequence[jax.Array], train: bool, rngs: Any) -> Any:
        """Returns logits `[B, C]` of the average; of one model and one view, that model's own."""
        if train or rngs is not None:
            raise ValueError("an ensemble is for evaluation")
        logits: list[jax.Array] = []
        log_weights: list[float] = []
        for member, weight in enumerate(self.weights):
            views = self._logits(member, variables, images[self.inputs[member]])
            logits += views
            log_weights += [math.log(weight / len(views)) if weight else -math.inf] * len(views)
        if len(logits) == 1:
            return logits[0]
        return self.average(jnp.stack(logits), jnp.array(log_weights))

    def _logits(self, member: int, variables: Any, images: jax.Array) -> list[jax.Array]:
        """Returns a member's logits `[B, C]` of each view of `images [B, views, H, W, C]`."""
        batch, views = images.shape[:2]
        values = {"params": variables["params"][member], **variables["states"][member]}
        flat = images.reshape(batch * views, *images.shape[2:])
        logits: Any = self.models[member].apply(values, flat, train=False)
        logits = logits.astype(jnp.float32).reshape(batch, views, -1)
        chosen = self.outputs[member]
        logits = logits if chosen is None else logits[..., chosen]
        return [logits[:, view] for view in range(views)]


def averaging(runs: Sequence[Trained]) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Returns how the outputs of runs are averaged; UserError if they do not mean the same."""
    sigmoid = [is_sigmoid(run.config) for run in runs]
    if len(set(sigmoid)) > 1:
        raise UserError(
            "some of the checkpoints have softmax and some sigmoid probabilities, whose average "
            "means nothing; evaluate each kind by itself"
        )
    return average_sigmoid if sigmoid[0] else average_softmax
