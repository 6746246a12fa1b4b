# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Meshes fill the devices or say why not; only data and fsdp reach from slice to slice."""

import dataclasses
import math

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vit_jax.config import default_config
from vit_jax.errors import UserError
from vit_jax.parallel.mesh import AXES, configured_mesh, create_mesh

SIZES = st.sampled_from([-1, 1, 2, 3, 4, 8])


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(AXES, SIZES)))
def test_meshes_fill_the_devices_or_say_why(shape):
    sizes = [shape.get(axis, 1) for axis in AXES]
    fixed = math.prod(size for size in sizes if size != -1)
    unknown = sizes.count(-1)
    possible = fixed == 8 if unknown == 0 else unknown == 1 and 8 % fixed == 0
    if not possible:
        with pytest.raises(UserError, match=r"mesh\.data="):
            create_mesh(shape)
        return
    mesh = create_mesh(shape)
    assert mesh.axis_names == AXES == ("data", "fsdp", "sequence", "tensor")
    assert sorted(device.id for device in mesh.devices.flat) == list(range(8))
    for axis, size in shape.items():
        assert mesh.shape[axis] == (8 // fixed if size == -1 else size)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"dtaa": 8}, "unknown mesh axis 'dtaa'; did you mean 'data'"),
        ({"data": 0}, "mesh.data=0 must be at least 1"),
        ({"data": -1, "fsdp": -1}, "only one axis can be -1"),
        ({"fsdp": 4}, "does not fill the 8 devices"),
        ({"data": -1, "sequence": 3}, "mesh.sequence=3.* does not fill the 8 devices"),
    ],
)
def test_impossible_meshes_are_refused(shape, message):
    with pytest.raises(UserError, match=message):
        create_mesh(shape)


def test_without_a_shape_all_devices_share_the_batch():
    assert dict(create_mesh().shape) == {"data": 8, "fsdp": 1, "sequence": 1, "tensor": 1}


def test_a_config_names_a_mesh():
    config = default_config()
    config.mesh.update({"fsdp": 2, "sequence": 4})
    mesh = configured_mesh(config.mesh)
    assert dict(mesh.shape) == {"data": 1, "fsdp": 2, "sequence": 4, "tensor": 1}
    config.mesh.slices = 2
    with pytest.raises(UserError, match=r"mesh\.slices=2, but the 8 devices say they are in 1"):
        configured_mesh(config.mesh)


@dataclasses.dataclass(frozen=True)
class StandIn:
    """What a mesh asks of a device of a pod with several slices."""

    id: int
    slice_index: int
    process_index: int = 0
    device_kind: str = "stand-in"
    platform: str = "cpu"
    client: object = None


def pod(*slices: int) -> list[jax.Device]:
    """Slices of so many devices, in an order that has nothing to do with them."""
    devices = [StandIn(-1, index) for index, size in enumerate(slices) for _ in range(size)]
    shuffled = np.random.default_rng(3).permutation(len(devices))
    return [dataclasses.replace(devices[i], id=n) for n, i in enumerate(shuffled)]


def slices_met(mesh: jax.sharding.Mesh, axis: str) -> int:
    """Returns how many slices one meets, at most, when walking along one axis."""
    index = np.vectorize(lambda device: device.slice_index)(mesh.devices)
    lines = np.moveaxis(index, mesh.axis_names.index(axis), -1).reshape(-1, mesh.shape[axis])
    return max(len(set(line.tolist())) for line in lines)


@pytest.mark.parametrize(
    ("shape", "slices", "crossing"),
    [
        ({"data": -1}, (4, 4), {"data": 2}),
        ({"data": -1, "fsdp": 4}, (4, 4), {"data": 2}),
        ({"data": -1, "fsdp": 2, "tensor": 2}, (8, 8, 8, 8), {"data": 4}),
        ({"data": 2, "fsdp": -1, "sequence": 2}, (8, 8, 8, 8), {"data": 2, "fsdp": 2}),
        ({"data": 1, "fsdp": -1}, (4, 4, 4), {"fsdp": 3}),
        ({"data": 3, "fsdp": 4, "tensor": 2}, (12, 12), {"fsdp": 2}),
    ],
)
def test_only_data_then_fsdp_cross_slices(shape, slices, crossing):
    devices = pod(*slices)
    mesh = create_mesh(shape, devices)
    assert sorted(device.id for device in mesh.devices.flat) == list(range(sum(slices)))
    assert {axis: slices_met(mesh, axis) for axis in AXES} == dict.fromkeys(AXES, 1) | crossing
    assert create_mesh(shape, devices, slices=len(slices)) == mesh


def test_one_slice_means_neighbours():
    mesh = create_mesh({"tensor": 8}, pod(4, 4), slices=1)
    assert mesh.shape["tensor"] == 8


@pytest.mark.parametrize(
    ("shape", "slices", "wanted", "message"),
    [
        ({"tensor": 8}, (4, 4), 0, r"mesh.tensor=8 cannot be spread over 2 slices: mesh.data or"),
        ({"data": 2, "tensor": -1}, (4, 4, 4, 4), 0, r"over 4 slices.* a multiple of 4"),
        ({"data": -1}, (4, 4), 4, r"mesh.slices=4, but the 8 devices say they are in 2"),
        ({"data": -1}, (4, 2), 0, r"the slices have 4, 2 devices.* or write mesh.slices=1"),
    ],
)
def test_impossible_slices_are_refused(shape, slices, wanted, message):
    with pytest.raises(UserError, match=message):
        create_mesh(shape, pod(*slices), wanted)
