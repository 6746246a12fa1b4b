# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a step asks of one chip, read from its traced program (jaxpr): nothing is compiled.

The trace knows no fusion and no schedule. It takes from every compiler that elementwise operations
cost nothing beside the products that they are fused into, and that a view takes no memory.
"""

import dataclasses
import math
from collections.abc import Collection
from typing import Any

import numpy as np
from jax.extend import core

from vit_jax.planning import flops


@dataclasses.dataclass(frozen=True)
class Traced:
    """What one chip does in a step on the rows it has.

    Attributes:
        flops: of matrix products and convolutions, recomputed ones included.
        product_bytes: what these read and write, every operand and result once.
        live_bytes: the most that is kept at a time of what the program computes.
        tensor_sums: bytes of the results that are sums over what a `tensor` axis splits.
        activations: of `live_bytes`, what grows with the rows; 0 until `at` tells.
    """

    flops: float
    product_bytes: float
    live_bytes: float
    tensor_sums: float
    activations: float = 0.0

    def at(self, double: "Traced", times: float) -> "Traced":
        """Returns the same step on so many times the rows, given it on twice the rows."""

        def line(name: str) -> float:
            one, two = getattr(self, name), getattr(double, name)
            return one + (times - 1) * (two - one)

        return Traced(
            flops=line("flops"),
            product_bytes=line("product_bytes"),
            live_bytes=line("live_bytes"),
            tensor_sums=line("tensor_sums"),
            activations=times * (double.live_bytes - self.live_bytes),
        )

    def times(self, parts: int) -> "Traced":
        """Returns so many of these steps, one after the other: only their memory is shared."""
        return dataclasses.replace(
            self,
            flops=parts * self.flops,
            product_bytes=parts * self.product_bytes,
            tensor_sums=parts * self.tensor_sums,
        )


def read(jaxpr: core.Jaxpr, split: Collection[tuple[tuple[int, ...], int]] = ()) -> Traced:
    """Reads a traced program.

    Args:
        jaxpr: of `jax.make_jaxpr`.
        split: the shapes of the kernels that a tensor axis splits, and at which dimension.
    """
    found = list(flops.products(jaxpr))
    return Traced(
        flops=sum(times * flops.product_flops(eqn) for eqn, times in found),
        product_bytes=sum(times * _touched(eqn) for eqn, times in found),
        live_bytes=_peak(jaxpr),
        tensor_sums=sum(times * _summed(eqn, split) for eqn, times in found),
    )


def _bytes(variable: Any) -> int:
    aval = variable.aval
    if not hasattr(aval, "shape"):
        return 0
    return math.prod(aval.shape) * getattr(aval.dtype, "itemsize", np.dtype(np.uint32).itemsize)


def _touched(eqn: core.JaxprEqn) -> int:
    return sum(map(_bytes, (*eqn.invars, *eqn.outvars)))


def _summed(eqn: core.JaxprEqn, split: Collection[tuple[tuple[int, ...], int]]) -> int:
    """Returns the bytes of a product's result if it sums over a split dimension of a kernel."""
    if eqn.primitive.name != "dot_general":
        return 0
    contracted, _ = eqn.params["dimension_numbers"]
    for operand, axes in zip(eqn.invars, contracted, strict=True):
        shape = flops.shape(operand)
        if any(shape == kernel and dimension in axes for kernel, dimension in split):
            return sum(map(_bytes, eqn.outvars))
    return 0


# Their result is a view of their first operand, or computed again wherever it is used.
_VIEWS = frozenset(
    {
        "broadcast_in_dim",
        "convert_element_type",
        "copy",
        "expand_dims",
        "reshape",
        "sharding_constraint",
        "squeeze",
        "transpose",
    }
)


def _peak(jaxpr: core.Jaxpr) -> int:
    """Returns the most bytes alive at a time, in the program's own order, without its inputs."""
    roots: dict[Any, Any] = {}

    def root(variable: Any) -> Any:
        return roots.get(variable, variable)

    for eqn in jaxpr.eqns:
        if eqn.primitive.name in _VIEWS and not isinstance(eqn.invars[0], core.Literal):
            roots[eqn.outvars[0]] = root(eqn.invars[0])
    last = {}
    for i, eqn in enumerate(jaxpr.eqns):
        last.update({root(v): i for v in eqn.invars if not isinstance(v, core.Literal)})
    last.update(
        {root(v): len(jaxpr.eqns) for v in jaxpr.outvars if not isinstance(v, core.Literal)}
    )

    alive: dict[Any, int] = {}
    most = now = 0
    ending: dict[int, list[Any]] = {}
    for i, eqn in enumerate(jaxpr.eqns):
        made = {v: _bytes(v) for v in eqn.outvars if v not in roots and v in last}
        size = sum(made.values())
        inside = max((_peak(inner) for inner in flops.inner_jaxprs(eqn)), default=0)
        # A loop keeps its results beside what one run of its body needs; else these are the same.
        most = max(
            most, now + (size + inside if eqn.primitive.name == "scan" else max(size, inside))
        )
        alive |= made
        now += size
        for v in made:
            ending.setdefault(last[v], []).append(v)
        for v in ending.pop(i, ()):
            now -= alive.pop(v)
    return max(most, now)
