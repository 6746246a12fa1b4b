# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Repeats a block: unrolled or scanned, rematerialised or not, always with the same numbers."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vit_jax.errors import UserError
from vit_jax.parallel.sharding import keep_rows
from vit_jax.registry import near_misses

CYCLE_NAMES = ("even", "odd")

# What the backward pass finds saved; everything else is computed again. "none" saves all it needs.
REMAT_POLICIES: dict[str, Callable[..., Any] | None] = {
    "none": None,
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_saveable,
    "dots_no_batch": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def remat_policy(name: str) -> Callable[..., Any] | None:
    """Returns the policy called `name`, None for "none"; raises UserError with the near misses."""
    if name not in REMAT_POLICIES:
        hint = near_misses(name, REMAT_POLICIES) or f"; known: {', '.join(REMAT_POLICIES)}"
        raise UserError(f"unknown remat policy {name!r}{hint}")
    return REMAT_POLICIES[name]


class Noise(NamedTuple):
    """The randomness of one block; without a key the block is deterministic."""

    key: jax.Array | None = None
    drop_path_rate: float | jax.Array = 0.0

    def split(self, count: int) -> Any:
        """Returns `count` independent keys, or `count` times None."""
        return [None] * count if self.key is None else list(jax.random.split(self.key, count))


class _Body(nn.Module):
    """What a scan over a cycle of two blocks repeats: `even`, then `odd`."""

    cycle: tuple[Callable[..., nn.Module], ...]

    @nn.compact
    def __call__(self, x: jax.Array, noises: list[Noise], call: Callable[..., Any]) -> Any:
        outputs = []
        for make, name, noise in zip(self.cycle, CYCLE_NAMES, noises, strict=True):
            x, output = call(make(name=name), x, noise)
            outputs.append(output)
        return x, outputs


class Stack(nn.Module):
    """Applies `depth` blocks, block i made by `cycle[i % len(cycle)]`.

    A block is called as `block(x, noise, attention_maps)` and returns `(x, weights)`, where weights
    are the attention weights if `attention_maps` and None otherwise. Unrolled, the blocks are
    `block_00`, `block_01`, ...; scanned, they are one subtree `blocks` (`blocks/even`, `blocks/odd`
    for a cycle of two) whose leaves carry a leading layer axis. Both ways give the same numbers,
    dropout included.

    Attributes:
        cycle: one or two makers of blocks, each called with `name`.
        drop_path_rates: one a block, or empty for none.
        scan: compile one body and loop over it.
        remat: a key of REMAT_POLICIES.
    """

    cycle: tuple[Callable[..., nn.Module], ...]
    depth: int
    drop_path_rates: tuple[float, ...] = ()
    scan: bool = False
    remat: str = "none"

    def __post_init__(self) -> None:
        if self.scan and self.depth % len(self.cycle):
            raise UserError(
                f"scan=True needs a depth divisible by {len(self.cycle)}, not {self.depth}; "
                "set scan=False"
            )
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        key: jax.Array | None = None,
        *,
        features: bool = False,
        attention_maps: bool = False,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns the output and, as asked for, `block_00`, `block_00/attention`, ..."""

        def call(block: nn.Module, x: jax.Array, noise: Noise) -> Any:
            x, weights = block(keep_rows(x), noise, attention_maps)
            x = keep_rows(x)
            return x, (x if features else None, weights)

        policy = remat_policy(self.remat)
        if policy is not None:
            call = nn.remat(call, policy=policy, prevent_cse=not self.scan)
        run = self._scanned if self.scan else self._unrolled
        x, outputs = run(x, key, call)
        found: dict[str, Any] = {}
        for i, (output, weights) in enumerate(outputs):
            found |= {f"block_{i:02d}": output, f"block_{i:02d}/attention": weights}
        return x, {name: value for name, value in found.items() if value is not None}

    def _unrolled(self, x: jax.Array, key: jax.Array | None, call: Callable[..., Any]) -> Any:
        keys = [None] * self.depth if key is None else jax.random.split(key, self.depth)
        rates = self.drop_path_rates or (0.0,) * self.depth
        outputs = []
        for i, noise in enumerate(map(Noise, keys, rates)):
            block = self.cycle[i % len(self.cycle)](name=f"block_{i:02d}")
            x, output = call(block, x, noise)
            outputs.append(output)
        return x, outputs

    def _scanned(self, x: jax.Array, key: jax.Array | None, call: Callable[..., Any]) -> Any:
        period = len(self.cycle)
        keys = None if key is None else jax.random.split(key, self.depth)
        rates = jnp.asarray(self.drop_path_rates) if any(self.drop_path_rates) else None

        def body(block: nn.Module, x: jax.Array, noises: list[tuple[Any, Any]]) -> Any:
            steps = [Noise(k, 0.0 if rate is None else rate) for k, rate in noises]
            if period > 1:
                return block(x, steps, call)
            x, output = call(block, x, steps[0])
            return x, [output]

        # Noise i of the cycle belongs to the blocks i, i + period, i + 2 period, ...
        noises = [jax.tree.map(lambda a, i=i: a[i::period], (keys, rates)) for i in range(period)]
        make = self.cycle[0] if period == 1 else lambda name: _Body(self.cycle, name=name)
        scan = nn.scan(
            body,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=self.depth // period,
        )
        x, stacked = scan(make(name="blocks"), x, noises)
        return x, [_layer(stacked[i % period], i // period) for i in range(self.depth)]


def _layer(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)


def stack_layers(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns unrolled parameters in their scanned form, at any nesting.

    `block_00`, `block_01`, ... become `blocks` with a leading layer axis, or `blocks/even` and
    `blocks/odd` inside a `stage_i`. Parameters that are scanned already come back as they are, and
    so does a `stem`, whose blocks differ from each other.
    """
    return _stack_layers(params, period=1)


def _stack_layers(params: Mapping[str, Any], period: int) -> dict[str, Any]:
    blocks = sorted(name for name in params if re.fullmatch(r"block_\d+", name))
    stacked = {}
    for name, value in params.items():
        if isinstance(value, Mapping) and name not in blocks and name != "stem":
            value = _stack_layers(value, 2 if name.startswith("stage_") else 1)
        if name not in blocks:
            stacked[name] = value
    if blocks:
        cycle = [[params[name] for name in blocks[i::period]] for i in range(period)]
        trees = [jax.tree.map(_stack, *group) for group in cycle]
        stacked["blocks"] = trees[0] if period == 1 else dict(zip(CYCLE_NAMES, trees, strict=True))
    return stacked


def _stack(*leaves: Any) -> Any:
    numpy = all(isinstance(leaf, np.ndarray) for leaf in leaves)
    return np.stack(leaves) if numpy else jnp.stack(leaves)


def unstack_layers(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns scanned parameters in their unrolled form; the inverse of `stack_layers`."""
    unstacked: dict[str, Any] = {}
    for name, value in params.items():
        if name == "blocks":
            cycle = [value[n] for n in CYCLE_NAMES] if set(value) == set(CYCLE_NAMES) else [value]
            period, depth = len(cycle), len(cycle) * len(jax.tree.leaves(cycle[0])[0])
            for i in range(depth):
                unstacked[f"block_{i:02d}"] = _layer(cycle[i % period], i // period)
        else:
            unstacked[name] = unstack_layers(value) if isinstance(value, Mapping) else value
    return unstacked
