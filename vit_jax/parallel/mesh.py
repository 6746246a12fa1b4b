# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The mesh: devices arranged along named axes."""

import math
from collections.abc import Mapping, Sequence

import jax
from jax.sharding import AxisType, Mesh

from vit_jax.errors import UserError
from vit_jax.registry import near_misses

AXES = ("data", "fsdp", "tensor")  # slowest first: neighbours in `tensor` talk the most


def create_mesh(
    shape: Mapping[str, int] | None = None, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """Arranges devices along the axes `data`, `fsdp` and `tensor`.

    `data` splits the batch, `fsdp` splits the batch and the large arrays of the state, `tensor`
    splits heads and hidden units.

    Args:
        shape: size of each axis, 1 if left out; one may be -1, which takes the devices that remain.
            None is all devices on `data`.
        devices: the devices to use; None is all of them, of every process.

    Raises:
        UserError: for an unknown axis, a size below 1, or sizes that do not fill the devices.
    """
    devices = jax.devices() if devices is None else list(devices)
    sizes = _fill(dict({"data": -1} if shape is None else shape), len(devices))
    kinds = (AxisType.Auto,) * len(AXES)
    return jax.make_mesh(sizes, AXES, axis_types=kinds, devices=devices)


def _fill(shape: dict[str, int], count: int) -> tuple[int, ...]:
    """Returns the sizes of `AXES` with -1 resolved; their product is `count`."""
    for axis, size in shape.items():
        if axis not in AXES:
            raise UserError(
                f"unknown mesh axis {axis!r}{near_misses(axis, AXES) or f'; known: {AXES}'}"
            )
        if size < 1 and size != -1:
            raise UserError(f"mesh.{axis}={size} must be at least 1, or -1 for what remains")
    sizes = [shape.get(axis, 1) for axis in AXES]
    asked = ", ".join(f"mesh.{axis}={size}" for axis, size in zip(AXES, sizes, strict=True))
    if sizes.count(-1) > 1:
        raise UserError(f"{asked}: only one axis can be -1")
    fixed = math.prod(size for size in sizes if size != -1)
    if -1 in sizes and count % fixed == 0:
        return tuple(count // fixed if size == -1 else size for size in sizes)
    if fixed != count:
        fix = "choose divisors" if -1 in sizes else "set one axis to -1 to take what remains"
        raise UserError(f"{asked} does not fill the {count} devices there are; {fix}")
    return tuple(sizes)
