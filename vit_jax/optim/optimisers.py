# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The optimisers that a config can name, each a chain of optax transformations.

A function here turns gradients into directions: its first argument is the decoupled weight decay,
which it places where its paper has it; its keyword arguments are what `optimiser.options` may set.
The learning rate comes later and multiplies both: a step takes away
lr * (direction + decay * weight).
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from vit_jax.errors import UserError
from vit_jax.optim import parameters
from vit_jax.registry import Registry, near_misses

Transformation: TypeAlias = optax.GradientTransformation


@dataclasses.dataclass(frozen=True)
class Optimiser:
    """How an optimiser is built.

    Attributes:
        build: (decay, **options) -> transformation.
        elementwise: whether each number's update depends on that number's history alone. Where it
            depends on the whole tensor, scanned parameters are treated layer by layer.
    """

    build: Callable[..., Transformation]
    elementwise: bool = True

    def options(self) -> dict[str, Any]:
        """Returns the default of every option."""
        signature = inspect.signature(self.build).parameters.values()
        return {p.name: p.default for p in signature if p.kind is p.KEYWORD_ONLY}

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raises UserError for an unknown option, a wrong type or an impossible value."""
        known = self.options()
        for name, value in options.items():
            field = f"optimiser.options.{name}"
            if name not in known:
                hint = near_misses(name, known) or f"; known: {', '.join(known)}"
                raise UserError(f"unknown option {field!r}{hint}")
            _check_value(field, name, value, known[name])


OPTIMISERS: Registry[Optimiser] = Registry("optimiser")

_DTYPES = ("float32", "bfloat16")
_RATES = ("b1", "b2", "beta", "momentum", "decay_rate", "b2_cap")


def _check_value(field: str, name: str, value: Any, default: Any) -> None:
    """Raises UserError for a value that the option called `name` cannot take."""
    kinds = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(value, kinds) or isinstance(value, bool) is not isinstance(default, bool):
        wanted = type(default).__name__
        raise UserError(f"{field}: {value!r} is not of type {wanted}; write one like {default!r}")
    if name == "mu_dtype" and value not in _DTYPES:
        raise UserError(f"{field}: {value!r} is not one of {', '.join(_DTYPES)}")
    if name in _RATES and not 0 <= value < 1:
        raise UserError(f"{field}: {value!r} is outside [0, 1); write one like {default!r}")
    if isinstance(default, int | float) and value < 0:
        raise UserError(f"{field}: {value!r} is negative; write one like {default!r}")


def adamw(
    decay: Transformation,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    mu_dtype: str = "float32",
    nesterov: bool = False,
) -> Transformation:
    """Adam with decoupled weight decay (arXiv 1412.6980, 1711.05101)."""
    return optax.chain(
        optax.scale_by_adam(b1, b2, eps, mu_dtype=mu_dtype, nesterov=nesterov), decay
    )


def sgd(
    decay: Transformation,
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
    mu_dtype: str = "float32",
) -> Transformation:
    """Gradient descent with momentum, `m <- momentum m + g`; momentum 0 keeps no state."""
    trace = optax.trace(momentum, nesterov, accumulator_dtype=jnp.dtype(mu_dtype))
    return optax.chain(trace if momentum else optax.identity(), decay)


def adafactor(
    decay: Transformation,
    *,
    decay_rate: float = 0.8,
    b2_cap: float = 0.999,
    momentum: float = 0.9,
    mu_dtype: str = "bfloat16",
    eps: float = 1e-30,
    min_dim_size_to_factor: int = 32,
    clipping_threshold: float = 0.0,
) -> Transformation:
    """Adafactor as changed for ViT: capped second-moment decay, first moment in half precision,
    no relative step sizes (arXiv 2106.04560, section 3.4; arXiv 1804.04235).

    The second moment decays by min(b2_cap, 1 - t^-decay_rate) at step t = 1, 2, ...;
    `clipping_threshold` bounds the root mean square of a tensor's update, 0 leaves it.
    """

    def b2(step: jax.Array, rate: float) -> jax.Array:
        return jnp.minimum(b2_cap, 1.0 - (step + 1.0) ** -rate)

    clip = optax.clip_by_block_rms(clipping_threshold) if clipping_threshold else optax.identity()
    ema = optax.ema(momentum, debias=False, accumulator_dtype=jnp.dtype(mu_dtype))
    return optax.chain(
        optax.scale_by_factored_rms(
            decay_rate=decay_rate,
            min_dim_size_to_factor=min_dim_size_to_factor,
            epsilon=eps,
            decay_rate_fn=b2,
        ),
        clip,
        ema if momentum else optax.identity(),
        decay,
    )


def lamb(
    decay: Transformation,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    mu_dtype: str = "float32",
) -> Transformation:
    """Adam whose update, decay included, gets each tensor's own norm (arXiv 1904.00962)."""
    adam = optax.scale_by_adam(b1, b2, eps, mu_dtype=mu_dtype)
    return optax.chain(adam, decay, optax.scale_by_trust_ratio())


def lion(
    decay: Transformation, *, b1: float = 0.9, b2: float = 0.99, mu_dtype: str = "float32"
) -> Transformation:
    """The sign of an interpolated momentum (arXiv 2302.06675)."""
    return optax.chain(optax.scale_by_lion(b1, b2, mu_dtype=jnp.dtype(mu_dtype)), decay)


def muon(
    decay: Transformation,
    *,
    beta: float = 0.95,
    ns_steps: int = 5,
    nesterov: bool = True,
    consistent_rms: float = 0.2,
    b1: float = 0.9,
    b2: float = 0.95,
    eps: float = 1e-8,
    mu_dtype: str = "float32",
) -> Transformation:
    """Orthogonalised momentum for the matrices of the blocks and of Swin's merging, Adam
    (b1, b2) for all else.

    Which is a matrix, and of what shape, is `matrix_axes`. Updates have root mean square
    `consistent_rms`, so that AdamW's learning rate and decay carry over (arXiv 2502.16982, eq. 4);
    0 scales them by sqrt(max(1, outputs / inputs)) instead (Jordan et al. 2024).
    """
    directions = optax.contrib.muon(
        learning_rate=1.0,
        ns_steps=ns_steps,
        beta=beta,
        eps=eps,
        mu_dtype=mu_dtype,
        nesterov=nesterov,
        adam_b1=b1,
        adam_b2=b2,
        muon_weight_dimension_numbers=matrix_axes,
        consistent_rms=consistent_rms or None,
    )
    return optax.chain(directions, optax.scale(-1.0), decay)


_MATRIX_AXES = {
    ("qkv", 4): ((0,), (2, 3)),
    ("kv", 4): ((0,), (2, 3)),
    ("q", 3): ((0,), (1, 2)),
    ("out", 3): ((0, 1), (2,)),
}
"""(module, rank of its kernel) -> (input axes, output axes); an axis in neither counts matrices."""


def matrix_axes(params: Any) -> Any:
    """Returns a tree of MuonDimensionNumbers for the inner matrices, None for all else.

    Query, key and value are a matrix `[D, H K]` each, the output projection is one `[H K, D]`.
    The parameters are those of one layer: without a scan's leading axis.
    """

    def axes(path: str, leaf: Any) -> optax.contrib.MuonDimensionNumbers | None:
        *modules, name = path.split("/")
        inside = any(module.startswith("block") or module == "merge" for module in modules)
        if name != "kernel" or not inside:
            return None
        rank = len(leaf.shape)
        found = ((0,), (1,)) if rank == 2 else _MATRIX_AXES.get((modules[-1], rank))
        return optax.contrib.MuonDimensionNumbers(*found) if found else None

    return jax.tree.map(axes, parameters.paths(params), params)


OPTIMISERS.register("adamw")(Optimiser(adamw))
OPTIMISERS.register("sgd")(Optimiser(sgd))
OPTIMISERS.register("lion")(Optimiser(lion))
OPTIMISERS.register("adafactor")(Optimiser(adafactor, elementwise=False))
OPTIMISERS.register("lamb")(Optimiser(lamb, elementwise=False))
OPTIMISERS.register("muon")(Optimiser(muon, elementwise=False))


def layer_by_layer(inner: Transformation, params: Any) -> Transformation:
    """Returns `inner` mapped over the leading axis of scanned parameters, each layer on its own.

    So a scanned model takes the steps of its unrolled twin, also where `inner` looks at whole
    tensors. `params` tells what is scanned.
    """
    groups = set(jax.tree.leaves(parameters.scanned_groups(params)))
    if not any(groups):
        return inner
    mapped = optax.GradientTransformation(
        jax.vmap(inner.init), functools.partial(_vmapped_update, inner.update)
    )
    transformations = {group: mapped if group else inner for group in groups}
    return optax.partition(transformations, parameters.scanned_groups)


def _vmapped_update(update: Callable[..., Any], updates: Any, state: Any, params: Any) -> Any:
    return jax.vmap(update)(updates, state, params)
