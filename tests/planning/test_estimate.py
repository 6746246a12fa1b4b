# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Times against closed forms, worked out by hand from the data sheets."""

import pytest

from vit_jax.parallel.collectives import Collective
from vit_jax.planning import estimate, topology
from vit_jax.planning.estimate import Floor, Memory, Work

NO_AXES = {"data": 1, "fsdp": 1, "sequence": 1, "tensor": 1}


def sizes(**axes):
    return NO_AXES | axes


def seconds(machine, axes, *rows):
    work = Work(0.0, 0.0, rows)
    return estimate.floor(work, topology.parse(machine), axes, "bfloat16").interconnect


def test_compute_and_memory():
    work = Work(flops=459e12 * 0.02, bytes=2765e9 * 0.03, collectives=())
    found = estimate.floor(work, topology.parse("v5p:2x2x1"), sizes(fsdp=4), "bfloat16")
    assert found == Floor(pytest.approx(0.02), pytest.approx(0.03), 0)
    assert (found.bound, found.best, found.worst) == (
        "memory",
        pytest.approx(0.03),
        pytest.approx(0.05),
    )
    single = estimate.floor(work, topology.parse("h100:1"), sizes(), "float32")
    assert single.compute == pytest.approx(459e12 * 0.02 / 494.7e12)


def test_a_slice_sends_over_all_its_links():
    gather = Collective("all-gather", ("fsdp",), bytes=6 * 10**9, times=3, shapes=())
    # 4x4x4: six links of 100 GB/s; 2x2x1: two neighbours, a link each.
    assert seconds("v5p:4x4x4", sizes(fsdp=64), gather) == pytest.approx(3 * 6e9 / 600e9)
    assert seconds("v5p:2x2x1", sizes(fsdp=4), gather) == pytest.approx(3 * 6e9 / 200e9)


def test_gpus_of_a_node_use_their_links_and_nodes_share_the_network():
    inside = Collective("all-reduce", ("tensor",), 9 * 10**9, 1, ())
    assert seconds("h100:2x8", sizes(data=2, tensor=8), inside) == pytest.approx(9e9 / 450e9)
    # Each of 16 GPUs sends 15/16 of 16 GB. Of the half that leaves its node, an eighth is its own.
    across = Collective("all-gather", ("fsdp",), 15 * 10**9, 1, ())
    network = 16e9 / 2 / 8 / 50e9
    links = 16e9 * 7 / 8 / 450e9
    assert links > network
    assert seconds("h100:2x8", sizes(fsdp=16), across) == pytest.approx(links)
    # Neighbours in `data` are all in other nodes: nobody shares.
    far = Collective("all-reduce", ("data",), 10**9, 1, ())
    assert seconds("h100:2x8", sizes(data=2, tensor=8), far) == pytest.approx(1e9 / 50e9)


def test_slices_talk_over_the_network():
    # All-reduce of 1 GB over 2 x 256 chips: a chip sends 2 x 511/512 GB, of which half of its
    # 256th goes to the other slice.
    row = Collective("all-reduce", ("data",), round(2e9 * 511 / 512), 1, ())
    network = 2e9 / 2 / 256 / 3.125e9
    links = 2e9 * 255 / 256 / 200e9
    assert seconds("v5e:16x16*2", sizes(data=512), row) == pytest.approx(max(links, network))
    only = Collective("all-reduce", ("data",), 10**9, 1, ())
    found = seconds("v5e:16x16*2", sizes(data=2, fsdp=256), only)
    assert found == pytest.approx(1e9 / 3.125e9)


def test_groups_are_the_devices_along_axes():
    axes = sizes(data=2, fsdp=3, tensor=2)
    assert estimate.group(("tensor",), axes) == [0, 1]
    assert estimate.group(("fsdp",), axes) == [0, 2, 4]
    assert estimate.group(("data", "tensor"), axes) == [0, 1, 6, 7]


def test_what_a_step_says_at_least():
    """Two parameters: 600 gathered bytes and 1200 of gradient a chip, split; 100 whole."""
    parameters = [(600, 1200, True), (50, 100, False)]
    found = estimate.training_collectives(
        parameters, sizes(data=2, fsdp=4, tensor=2), tensor_sums=1000, parts=3
    )
    assert [(row.kind, row.axes, row.bytes, row.times) for row in found] == [
        ("all-gather", ("fsdp",), 600 * 3, 6),
        ("reduce-scatter", ("fsdp",), 1200 * 3, 3),
        ("all-reduce", ("data",), 1200, 3),
        ("all-reduce", ("data", "fsdp"), 2 * 100 * 7 // 8, 3),
        ("all-reduce", ("tensor",), 1000, 1),
    ]
    assert estimate.training_collectives(parameters, NO_AXES) == ()


def test_sums():
    assert Memory(1, 2, 3, 4, 5).total == 15
    rows = (Collective("all-gather", ("fsdp",), 7, 3, ()), Collective("all-reduce", (), 5, 2, ()))
    assert Work(0, 0, rows).sent == 31
