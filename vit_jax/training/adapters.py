# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Low-rank adapters (LoRA, arXiv 2106.09685): a transform of the parameters, whatever the model.

A kernel W that the patterns name is used as W + scale A B, with A and B of a small rank; A starts
random and B at zero, so that training starts from the model as it is. The trained parameters are
those of the model and beside them, in a subtree of its own, `adapters/PATH/{a,b}` for the kernel
`PATH`. The model's own never change but for its head, and what never changes has no gradient, so
that the backward pass does not compute one, and no optimiser state.

A kernel is seen as matrices from its inputs to its outputs, one a layer of scanned blocks and one
each for query, key and value: rank r is the rank of each.
"""

import dataclasses
import math
import re
import string
import zlib
from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from vit_jax.errors import UserError
from vit_jax.optim import parameters
from vit_jax.registry import near_misses

Params = Mapping[str, Any]

# The module and the rank of its kernel -> which axes are outputs and which count matrices; without
# an entry the last axis is the output. A scanned kernel has one more axis ahead.
_AXES = {
    ("qkv", 4): ((2, 3), (1,)),  # [D, 3, H, K]
    ("kv", 4): ((2, 3), (1,)),
    ("q", 3): ((1, 2), ()),  # [D, H, K]
    ("out", 3): ((2,), ()),  # [H, K, D]
}


@dataclasses.dataclass(frozen=True)
class Product:
    """How a kernel is made of A and B: `einsum(subscripts, a, b)`.

    Attributes:
        subscripts: of the three, "LDSr,LSrHK->LDSHK" for a scanned `qkv/kernel`.
        a_shape: of A, inputs times rank.
        b_shape: of B, rank times outputs.
        inputs: the number of inputs of each matrix.
    """

    subscripts: str
    a_shape: tuple[int, ...]
    b_shape: tuple[int, ...]
    inputs: int


def product(path: str, shape: tuple[int, ...], rank: int) -> Product:
    """Returns how the kernel at a path is made.

    Raises:
        UserError: the rank is no less than that of the kernel itself.
    """
    scanned = int("blocks" in path.split("/"))
    axes = range(len(shape))
    own = len(shape) - scanned
    outputs, stacked = _AXES.get((path.split("/")[-2], own), ((own - 1,), ()))
    matrices = {*range(scanned), *(i + scanned for i in stacked)}
    outputs = tuple(i + scanned for i in outputs)
    inputs = [i for i in axes if i not in matrices and i not in outputs]
    largest = min(math.prod(shape[i] for i in side) for side in (inputs, outputs))
    if rank >= largest:
        raise UserError(
            f"adapters.rank={rank} is not below {largest}, the rank of {path} "
            f"{list(shape)}; write a smaller one, like {max(largest // 4, 1)}"
        )
    letters = dict(zip(axes, string.ascii_uppercase, strict=False)) | {-1: "r"}
    sizes = dict(enumerate(shape)) | {-1: rank}
    a = [i for i in axes if i not in outputs] + [-1]
    b = [*sorted(matrices), -1, *outputs]
    a_text, b_text, text = ("".join(letters[i] for i in side) for side in (a, b, axes))
    return Product(
        subscripts=f"{a_text},{b_text}->{text}",
        a_shape=tuple(sizes[i] for i in a),
        b_shape=tuple(sizes[i] for i in b),
        inputs=math.prod(shape[i] for i in inputs),
    )


def create(
    params: Params, key: jax.Array, *, rank: int, patterns: tuple[str, ...]
) -> dict[str, Any]:
    """Returns the subtree of adapters of the kernels that the patterns name.

    A is normal with variance 1 / inputs, drawn from the key and the kernel's path; B is zero.

    Raises:
        UserError: a pattern that no kernel outside the head matches, or too high a rank.
    """
    found = {}
    for path, kernel in _kernels(params, patterns).items():
        how = product(path, kernel.shape, rank)
        own = jax.random.fold_in(key, zlib.crc32(path.encode()))
        a = jax.random.normal(own, how.a_shape, jnp.float32) / math.sqrt(how.inputs)
        found[f"{path}/a"] = a.astype(kernel.dtype)
        found[f"{path}/b"] = jnp.zeros(how.b_shape, kernel.dtype)
    return unflatten_dict(found, sep="/")


def _kernels(params: Params, patterns: tuple[str, ...]) -> dict[str, Any]:
    """Returns path -> kernel of what the patterns name."""
    flat = flatten_dict(params, sep="/")
    known = [p for p in flat if p.endswith("/kernel") and not parameters.is_head(p)]
    chosen: set[str] = set()
    for pattern in patterns:
        hits = [path for path in known if re.fullmatch(pattern, path)]
        if not hits:
            hint = near_misses(pattern.replace(".*", ""), known) or f"; one is {known[-1]!r}"
            raise UserError(f"adapters.patterns: {pattern!r} matches no kernel's whole path{hint}")
        chosen.update(hits)
    return {path: flat[path] for path in known if path in chosen}


def split(params: Params) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the model's own parameters, and what is beside them: the adapters or nothing."""
    beside = {name: tree for name, tree in params.items() if name == parameters.ADAPTERS}
    return {name: tree for name, tree in params.items() if name not in beside}, beside


def merge(params: Params, scale: float) -> dict[str, Any]:
    """Returns the model's own parameters with W + scale A B for each adapted kernel.

    The sum is made in float32 and kept in the kernel's type. Parameters without adapters come back
    as they are; numpy arrays give numpy arrays.
    """
    base, beside = split(params)
    if not beside:
        return base
    flat = flatten_dict(base, sep="/")
    parts = flatten_dict(beside[parameters.ADAPTERS], sep="/")
    for path in {name.rpartition("/")[0] for name in parts}:
        flat[path] = _merged(path, flat[path], parts[f"{path}/a"], parts[f"{path}/b"], scale)
    return unflatten_dict(flat, sep="/")


def _merged(path: str, kernel: Any, a: Any, b: Any, scale: float) -> Any:
    subscripts = product(path, kernel.shape, a.shape[-1]).subscripts
    if all(isinstance(array, np.ndarray) for array in (kernel, a, b)):
        delta = np.einsum(subscripts, a.astype(np.float32), b.astype(np.float32))
    else:
        delta = jnp.einsum(
            subscripts, a.astype(jnp.float32), b.astype(jnp.float32), precision="highest"
        )
    return (kernel.astype(np.float32) + scale * delta).astype(kernel.dtype)


@dataclasses.dataclass(frozen=True)
class Transformed:
    """A model as training sees it: with adapters, and without gradients of what never trains.

    Attributes:
        model: the module.
        rank, scale, patterns: of the adapters; rank 0 for none.
        freeze: patterns of the parameters that never train.
    """

    model: nn.Module
    rank: int
    scale: float
    patterns: tuple[str, ...]
    freeze: tuple[str, ...]

    def init(self, key: jax.Array, *args: Any, **options: Any) -> dict[str, Any]:
        """Returns the variables of the model, its adapters among the parameters."""
        variables = dict(self.model.init(key, *args, **options))
        if self.rank:
            own = jax.random.fold_in(key, zlib.crc32(parameters.ADAPTERS.encode()))
            adapters = create(variables["params"], own, rank=self.rank, patterns=self.patterns)
            variables["params"] = {**variables["params"], parameters.ADAPTERS: adapters}
        return variables

    def apply(self, variables: Mapping[str, Any], *args: Any, **options: Any) -> Any:
        """Applies the model with its adapters merged."""
        params = variables["params"]
        phases = parameters.phases(params, self.freeze)
        params = jax.tree.map(
            lambda phase, p: jax.lax.stop_gradient(p) if phase == parameters.FROZEN else p,
            phases,
            params,
        )
        merged = {**variables, "params": merge(params, self.scale)}
        return self.model.apply(merged, *args, **options)


def transform(model: nn.Module, config: ConfigDict) -> nn.Module:
    """Returns the model as `config.adapters` and `config.optimiser.freeze` have it trained."""
    freeze = () if config.optimiser.freeze_for else tuple(config.optimiser.freeze)
    if not config.adapters.rank and not freeze:
        return model
    return cast(nn.Module, Transformed(model, **config.adapters.to_dict(), freeze=freeze))


def plain(model: nn.Module) -> nn.Module:
    """Returns the model inside what `transform` returned."""
    return model.model if isinstance(model, Transformed) else model
