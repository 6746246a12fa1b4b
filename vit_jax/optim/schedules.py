# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Learning rates as closed forms of the step: warm-up, decay, cool-down.

With peak learning rate `r`, warm-up `w`, cool-down `c` and `n` steps in all, the rate at step `t`:

    r t / w                                                 for t < w
    r f(t)                                                  for w <= t < n - c
    r (f(n-c) + (e - f(n-c)) (t - n + c) / c)               for n - c <= t <= n

where `f` falls from 1 at `t = w` as the schedule's name says, as if there were no cool-down, and
`e = min(end_fraction, f(n-c))`: a cool-down never rises.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from vit_jax.errors import UserError
from vit_jax.registry import Registry

Decay = Callable[[jax.Array, int, ConfigDict], jax.Array]
"""(steps since the warm-up, steps from there to the end, the section `schedule`) -> factor."""

SCHEDULES: Registry[Decay] = Registry("schedule")


@SCHEDULES.register("constant")
def constant(step: jax.Array, total_steps: int, settings: ConfigDict) -> jax.Array:
    """Stays at 1."""
    del total_steps, settings
    return jnp.ones_like(step, jnp.float32)


@SCHEDULES.register("linear")
def linear(step: jax.Array, total_steps: int, settings: ConfigDict) -> jax.Array:
    """Falls in a straight line to `end_fraction`."""
    return 1.0 + (settings.end_fraction - 1.0) * step / total_steps


@SCHEDULES.register("cosine")
def cosine(step: jax.Array, total_steps: int, settings: ConfigDict) -> jax.Array:
    """Falls along half a cosine to `end_fraction` (arXiv 1608.03983, one cycle)."""
    falling = 0.5 * (1.0 + jnp.cos(jnp.pi * step / total_steps))
    return settings.end_fraction + (1.0 - settings.end_fraction) * falling


@SCHEDULES.register("rsqrt")
def rsqrt(step: jax.Array, total_steps: int, settings: ConfigDict) -> jax.Array:
    """Falls as 1 / sqrt(1 + t / timescale), whatever the length of the run (arXiv 2106.04560)."""
    del total_steps
    return jax.lax.rsqrt(1.0 + step / settings.timescale_steps)


UNENDING = ("constant", "rsqrt")
"""Schedules that do not reach `end_fraction` but by a cool-down."""


def create_schedule(
    config: ConfigDict, total_steps: int, warmup_steps: int, cooldown_steps: int
) -> optax.Schedule:
    """Returns the function from a step (an int or an integer array) to its float32 learning rate.

    The peak is `config.optimiser.learning_rate`, the shape is `config.schedule`. From the last step
    on the rate stays what it is there.

    Raises:
        UserError: an unknown schedule, or a warm-up and cool-down longer than the run.
    """
    check_steps(total_steps, warmup_steps, cooldown_steps)
    decay = SCHEDULES.get(config.schedule.name)
    peak, settings = config.optimiser.learning_rate, config.schedule.copy_and_resolve_references()
    length = max(total_steps - warmup_steps, 1)

    def schedule(step: jax.Array) -> jax.Array:
        step = jnp.minimum(jnp.asarray(step), total_steps)
        late = total_steps - cooldown_steps
        since_warmup = jnp.clip(step, warmup_steps, late) - warmup_steps
        factor = decay(since_warmup.astype(jnp.float32), length, settings)
        cooled = jnp.maximum(step - late, 0) / max(cooldown_steps, 1)
        factor = factor + (jnp.minimum(settings.end_fraction, factor) - factor) * cooled
        rising = jnp.minimum(step / max(warmup_steps, 1), 1.0) if warmup_steps else 1.0
        return jnp.asarray(peak * factor * rising, jnp.float32)

    return schedule


def check_steps(total_steps: int, warmup_steps: int, cooldown_steps: int) -> None:
    """Raises UserError if warm-up and cool-down do not fit into the run."""
    if warmup_steps + cooldown_steps > total_steps:
        raise UserError(
            f"schedule.warmup and schedule.cooldown: {warmup_steps} + {cooldown_steps} steps are "
            f"more than the {total_steps} steps of train.duration; shorten them"
        )
