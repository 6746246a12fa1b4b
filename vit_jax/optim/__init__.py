# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""From a config to an optax transformation and a schedule.

The order of the chain is: drop the gradients of what is frozen -> clip the others by their global
norm -> the optimiser's direction with decoupled weight decay -> layer-wise and per-pattern factors
-> the schedule's learning rate and the sign. So the factors scale the decay too, as a learning rate
of one's own would.
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
    config: ConfigDict, schedule: optax.Schedule, params: Any, freeze_steps: int = 0
) -> optax.GradientTransformation:
    """Returns the chain that `config.optimiser` describes.

    What is frozen gets zero updates and does not count in the norm that clips. What never trains
    has no optimiser state; what trains late has one that stays as it is until then, its count of
    steps included (`parameters.phases`). `update` needs the parameters.

    Args:
        config: the whole configuration.
        schedule: step -> learning rate, see `create_schedule`.
        params: the parameters, or ShapeDtypeStructs of them; only names and shapes are read.
        freeze_steps: how many steps `optimiser.freeze` holds; 0: for ever.

    Raises:
        UserError: an unknown optimiser or option, or a pattern that matches no parameter.
    """
    settings = config.optimiser
    OPTIMISERS.get(settings.name).check_options(settings.options)
    _check_patterns(settings, params)
    phases = parameters.phases(params, settings.freeze, late=freeze_steps > 0)
    return optax.chain(
        _clipped_directions(settings, params, phases, freeze_steps),
        _scale(_factors(settings, params)),
        optax.scale_by_learning_rate(schedule),
    )


def _clipped_directions(
    settings: ConfigDict, params: Any, phases: Any, freeze_steps: int
) -> optax.GradientTransformation:
    """Returns what turns gradients into directions, of each parameter in its phase."""
    clip = optax.clip_by_global_norm(settings.clip_norm) if settings.clip_norm else optax.identity()
    found = set(jax.tree.leaves(phases))
    if found == {parameters.TRAINED}:
        return optax.chain(clip, _directions(settings, params))

    def thaws(inner: optax.GradientTransformation) -> optax.GradientTransformation:
        return optax.conditionally_mask(inner, lambda step: step >= freeze_steps)

    def directions(phase: str) -> optax.GradientTransformation:
        masked = optax.MaskedNode()
        own = jax.tree.map(lambda p, leaf: leaf if p == phase else masked, phases, params)
        return _directions(settings, own)

    frozen = {parameters.FROZEN: optax.set_to_zero()}
    gates = {parameters.TRAINED: optax.identity(), parameters.LATE: thaws(optax.identity())}
    moves = {phase: directions(phase) for phase in gates if phase in found}
    if parameters.LATE in moves:
        moves[parameters.LATE] = thaws(moves[parameters.LATE])
    return optax.chain(
        optax.partition(gates | frozen, phases), clip, optax.partition(moves | frozen, phases)
    )


def _directions(settings: ConfigDict, params: Any) -> optax.GradientTransformation:
    """Returns the optimiser itself, for parameters of which only shapes and names are read."""
    optimiser = OPTIMISERS.get(settings.name)
    built = optimiser.build(_weight_decay(settings), **settings.options)
    return built if optimiser.elementwise else layer_by_layer(built, params)


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
