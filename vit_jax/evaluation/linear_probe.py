# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A linear probe: multinomial logistic regression on features, its regularisation swept.

The problem is convex, so L-BFGS finds the one solution of each strength and no learning rate,
schedule or seed is part of the measure (the protocol of CLIP, arXiv 2103.00020, appendix A.3). All
strengths are fitted side by side.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vit_jax.evaluation.features import Features, linear_accuracy, statistics

L2 = tuple(10.0**power for power in range(-6, 2))
MAX_STEPS = 1000
TOLERANCE = 1e-4  # of the gradient's norm

_LOGITS = 2**25  # computed at once: 128 MiB

Params = dict[str, jax.Array]


def evaluate(
    train: Features, validation: Features, test: Features, strengths: Sequence[float] = L2
) -> dict[str, Any]:
    """Returns {"l2", "accuracy", "top5", "validation_accuracy"} of the strength that is best.

    Best is the highest accuracy on `validation`, and the stronger regularisation where two are
    alike. Features are standardised by the training examples.
    """
    kernels, biases = fit(train, strengths)

    def accuracy(index: int, data: Features) -> tuple[float, float]:
        return linear_accuracy(data.values, data.labels, kernels[index], biases[index])

    on_validation = [accuracy(index, validation)[0] for index in range(len(strengths))]
    best = max(range(len(strengths)), key=lambda i: (on_validation[i], strengths[i]))
    top1, top5 = accuracy(best, test)
    return {
        "l2": strengths[best],
        "accuracy": top1,
        "top5": top5,
        "validation_accuracy": on_validation[best],
    }


def fit(train: Features, strengths: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Minimises, for each strength, the mean cross-entropy plus l2 / 2 times the squared kernel.

    Returns:
        Kernels `[strengths, D, C]` and biases `[strengths, C]` for features that are not
        standardised; what is regularised is the kernel for those that are.
    """
    mean, std = statistics(train.values)
    z = ((train.values - mean) / std).astype(np.float32)
    rows = int(np.clip(_LOGITS // (train.num_classes * len(strengths)), 1, len(z)))
    padding = -len(z) % rows
    weights = np.pad(np.full(len(z), 1 / len(z), np.float32), (0, padding))
    padded = (np.pad(z, ((0, padding), (0, 0))), np.pad(train.labels, (0, padding)), weights)
    chunks = tuple(jnp.asarray(x.reshape(-1, rows, *x.shape[1:])) for x in padded)
    found = _fit_all(chunks, jnp.asarray(strengths, jnp.float32), train.num_classes)
    kernels = np.asarray(found["kernel"], np.float64) / std[:, None]
    return kernels, np.asarray(found["bias"], np.float64) - np.einsum("d,ldc->lc", mean, kernels)


@functools.partial(jax.jit, static_argnums=2)
def _fit_all(chunks: tuple[jax.Array, ...], strengths: jax.Array, num_classes: int) -> Params:
    features = chunks[0].shape[-1]
    start = {"kernel": jnp.zeros((features, num_classes)), "bias": jnp.zeros(num_classes)}
    return jax.vmap(lambda l2: _minimise(functools.partial(_loss, chunks, l2), start))(strengths)


def _loss(chunks: tuple[jax.Array, ...], l2: jax.Array, params: Params) -> jax.Array:
    """Returns the regularised mean, a chunk of examples after the other, so that all fit."""

    @jax.checkpoint
    def add(total: jax.Array, chunk: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        z, labels, weights = chunk
        logits = jnp.matmul(z, params["kernel"], precision=jax.lax.Precision.HIGHEST)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits + params["bias"], labels)
        return total + losses @ weights, None

    total, _ = jax.lax.scan(add, jnp.float32(0), chunks)
    return total + l2 / 2 * (params["kernel"] ** 2).sum()


def _minimise(loss: Any, start: Params) -> Params:
    """Returns where L-BFGS ends: at a small gradient, or after `MAX_STEPS`."""
    optimiser = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)

    def step(carry: tuple[Params, Any]) -> tuple[Params, Any]:
        params, state = carry
        value, grad = value_and_grad(params, state=state)
        updates, state = optimiser.update(
            grad, state, params, value=value, grad=grad, value_fn=loss
        )
        return optax.apply_updates(params, updates), state

    def unfinished(carry: tuple[Params, Any]) -> jax.Array:
        _, state = carry
        steps = optax.tree.get(state, "count")
        slope = optax.tree.norm(optax.tree.get(state, "grad"))
        return (steps == 0) | ((steps < MAX_STEPS) & (slope > TOLERANCE))

    params, _ = jax.lax.while_loop(unfinished, step, (start, optimiser.init(start)))
    return params
