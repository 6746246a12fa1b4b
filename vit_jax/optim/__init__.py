# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""From a config to an optax transformation and a schedule.

The order of the chain is: clip the gradients by their global norm -> the optimiser's direction with
decoupled weight decay -> layer-wise and per-pattern factors -> the schedule's learning rate and the
sign. So the factors scale the decay too, as a learning rate of one's own would.
"""

from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from vit_jax.optim import parameters
from vit_jax.optim.optimisers import OPTIMISERS, layer_by_layer
from vit_jax.optim.schedules import SCHEDULES, create_schedule

__all__ = ["OPTIMISERS", "SCHEDULES", "create_optimiser", "create_schedule", "parameters"]


def create_optimiser(
    config: ConfigDict, schedule: optax.Schedule, params: Any
) -> optax.GradientTransformation:
    """Returns the chain that `config.optimiser` describes.

    Frozen parameters get zero updates, have no optimiser state and do not count in the norm that
    clips. `update` needs the parameters.

    Args:
        config: the whole configuration.
        schedule: step -> learning rate, see `create_schedule`.
        params: the parameters, or ShapeDtypeStructs of them; only names and shapes are read.

    Raises:
        UserError: an unknown optimiser or option, or a pattern that matches no parameter.
    """
    settings = config.optimiser
    optimiser = OPTIMISERS.get(settings.name)
    optimiser.check_options(settings.options)
    _check_patterns(settings, params)
    frozen = parameters.match(params, settings.freeze)
    trained = jax.tree.map(lambda f, p: optax.MaskedNode() if f else p, frozen, params)

    direction = optimiser.build(_weight_decay(settings), **settings.options)
    if not optimiser.elementwise:
        direction = layer_by_layer(direction, trained)
    if settings.clip_norm:
        direction = optax.chain(optax.clip_by_global_norm(settings.clip_norm), direction)
    if settings.freeze:
        labels = jax.tree.map(lambda f: "frozen" if f else "trained", frozen)
        kinds = {"trained": direction, "frozen": optax.set_to_zero()}
        direction = optax.partition(kinds, labels)
    return optax.chain(
        direction, _scale(_factors(settings, params)), optax.scale_by_learning_rate(schedule)
    )


def _check_patterns(settings: ConfigDict, params: Any) -> None:
    patterns = {
        "decay_patterns": settings.decay_patterns if settings.weight_decay else (),
        "freeze": settings.freeze,
        "multipliers": [pattern for pattern, _ in settings.multipliers],
    }
    for name, values in patterns.items():
        parameters.check_patterns(params, values, field=f"optimiser.{name}")


def _weight_decay(settings: ConfigDict) -> optax.GradientTransformation:
    """Returns what adds weight_decay * weight to the updates of the parameters that decay."""
    if not settings.weight_decay:
        return optax.identity()
    patterns = settings.decay_patterns
    return optax.add_decayed_weights(
        settings.weight_decay, mask=lambda tree: parameters.match(tree, patterns)
    )


def _factors(settings: ConfigDict, params: Any) -> Any:
    """Returns each parameter's factor of the learning rate, or None where all are one."""
    if settings.layer_decay == 1.0 and not settings.multipliers:
        return None
    layers = parameters.layer_factors(params, settings.layer_decay)
    patterns = parameters.pattern_factors(params, settings.multipliers)
    return jax.tree.map(lambda a, b: a * b, layers, patterns)


def _scale(factors: Any) -> optax.GradientTransformation:
    """Returns what multiplies the updates by a tree of factors, keeping their dtype."""
    if factors is None:
        return optax.identity()
    return optax.stateless(
        lambda updates, _: jax.tree.map(lambda u, f: (u * f).astype(u.dtype), updates, factors)
    )
