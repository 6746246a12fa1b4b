# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The mesh: devices arranged along named axes, slices of a pod the outermost."""

import collections
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh

from vit_jax.errors import UserError
from vit_jax.registry import near_misses

AXES = ("data", "fsdp", "sequence", "tensor")  # slowest first: neighbours in `tensor` talk most


def create_mesh(
    shape: Mapping[str, int] | None = None,
    devices: Sequence[jax.Device] | None = None,
    slices: int = 0,
) -> Mesh:
    """Arranges devices along the axes `data`, `fsdp`, `sequence` and `tensor`.

    `data` splits the batch, `fsdp` splits the batch and the large arrays of the state, `sequence`
    splits the tokens of each image, `tensor` splits heads and hidden units. Where devices come in
    slices that a slower network joins, `data` goes over the slices, and `fsdp` if `data` is too
    short: only these two talk over it.

    Args:
        shape: size of each axis, 1 if left out; one may be -1, which takes the devices that remain.
            None is all devices on `data`.
        devices: the devices to use; None is all of them, of every process.
        slices: how many slices there must be; 0 is as many as the devices say, and 1 treats all
            devices as neighbours, whatever they say.

    Raises:
        UserError: for an unknown axis, a size below 1, sizes that do not fill the devices, or
            slices that are not there, differ in size or cannot be spread over.
    """
    devices = jax.devices() if devices is None else list(devices)
    sizes = _fill(dict({"data": -1} if shape is None else shape), len(devices))
    found = _count_slices(devices, slices)
    if found == 1:
        arranged = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    else:
        outer = _over_slices(sizes, found)
        inner = [size // parts for size, parts in zip(sizes, outer, strict=True)]
        arranged = mesh_utils.create_hybrid_device_mesh(
            inner, outer, devices, allow_split_physical_axes=True
        )
    return Mesh(arranged, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def configured_mesh(settings: Mapping[str, Any]) -> Mesh:
    """Returns the mesh of all devices that `config.mesh` asks for."""
    return create_mesh({axis: settings[axis] for axis in AXES}, slices=settings["slices"])


def abstract_mesh(settings: Mapping[str, Any], count: int) -> AbstractMesh:
    """Returns the mesh `config.mesh` asks for of so many devices that are not there."""
    sizes = _fill({axis: settings[axis] for axis in AXES}, count)
    return AbstractMesh(sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES))


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
    asked = _text(sizes)
    if sizes.count(-1) > 1:
        raise UserError(f"{asked}: only one axis can be -1")
    fixed = math.prod(size for size in sizes if size != -1)
    if -1 in sizes and count % fixed == 0:
        return tuple(count // fixed if size == -1 else size for size in sizes)
    if fixed != count:
        fix = "choose divisors" if -1 in sizes else "set one axis to -1 to take what remains"
        raise UserError(f"{asked} does not fill the {count} devices there are; {fix}")
    return tuple(sizes)


def _text(sizes: Sequence[int]) -> str:
    return ", ".join(f"mesh.{axis}={size}" for axis, size in zip(AXES, sizes, strict=True))


def _count_slices(devices: Sequence[jax.Device], wanted: int) -> int:
    """Returns how many slices to tell apart; raises UserError unless they are as `wanted`."""
    if wanted == 1:
        return 1
    devices_of = collections.Counter(getattr(device, "slice_index", 0) for device in devices)
    if wanted not in (0, len(devices_of)):
        raise UserError(
            f"mesh.slices={wanted}, but the {len(devices)} devices say they are in "
            f"{len(devices_of)}; write 0 to take what they say"
        )
    if len(set(devices_of.values())) > 1:
        counts = ", ".join(str(devices_of[index]) for index in sorted(devices_of))
        raise UserError(
            f"the slices have {counts} devices, and a mesh needs equal ones; use fewer of them, or "
            "write mesh.slices=1 to treat all devices as neighbours"
        )
    return len(devices_of)


def _over_slices(sizes: Sequence[int], slices: int) -> tuple[int, ...]:
    """Returns how many parts of each axis lie in slices of their own: data first, then fsdp."""
    data = math.gcd(sizes[0], slices)
    fsdp = math.gcd(sizes[1], slices // data)
    if data * fsdp != slices:
        raise UserError(
            f"{_text(sizes)} cannot be spread over {slices} slices: mesh.data or mesh.fsdp must be "
            f"a multiple of {slices}; or write mesh.slices=1 to let any axis cross them"
        )
    return (data, fsdp, *(1 for _ in AXES[2:]))
