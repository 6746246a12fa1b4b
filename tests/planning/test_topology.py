# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Names of machines, and what follows from them."""

import importlib.util

import pytest

from vit_jax.errors import UserError
from vit_jax.planning import chips, topology


@pytest.mark.parametrize(
    ("text", "count", "near", "links"),
    [
        ("v5p:2x2x1", 4, 4, 2),
        ("v5p:4x4x4", 64, 64, 6),
        ("v4:2x2x4", 16, 16, 4),
        ("v5e:1x1", 1, 1, 1),
        ("v5e:16x16*2", 512, 256, 4),
        ("v6e:4x8", 32, 32, 4),
        ("h100:1", 1, 1, 1),
        ("h100:8", 8, 8, 1),
        ("h100:128", 128, 8, 1),
        ("b200:16x8", 128, 8, 1),
        ("a100:3x4", 12, 4, 1),
    ],
)
def test_parses_machines(text, count, near, links):
    machine = topology.parse(text)
    assert (machine.count, machine.near, machine.links) == (count, near, links)
    assert topology.parse(str(machine)) == machine


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v5x:4x4", "unknown chip 'v5x'; did you mean"),
        ("v5p", "is not CHIP:SIZES; write one like v5p:4x4x4"),
        ("v5p:4x4", "slices of v5p have 3 dimensions; write v5p:4x4x4"),
        ("v6e:2x2x2", "slices of v6e have 2 dimensions"),
        ("v5p:0x2x2", "every size must be at least 1"),
        ("h100:12", "does not fill nodes of 8; write h100:8, or h100:16x8"),
        ("h100:2x8*2", "GPUs come as nodes x GPUs"),
        ("h100:2x2x2", "GPUs come as nodes x GPUs"),
        ("4x4", "is not CHIP:SIZES"),
    ],
)
def test_refuses_what_is_no_machine(text, message):
    with pytest.raises(UserError) as error:
        topology.parse(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", chips.CHIPS)
def test_every_chip_has_its_peak_and_sane_rates(name):
    chip = chips.find(name)
    assert chip.peak.half > chip.memory_rate > chip.link_rate > chip.network_rate > 1e9
    assert chip.peak.memory_bytes > 10 * 2**30


def test_gpus_are_compiled_for_where_they_are():
    with pytest.raises(UserError, match=r"there are 8 of them, and here are 0; add --analytic"):
        topology.devices(topology.parse("h100:8"))


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="libtpu is here")
def test_says_what_compiling_for_a_tpu_needs():
    with pytest.raises(UserError, match=r"pip install 'vit-jax\[tpu\]'; or add --analytic"):
        topology.devices(topology.parse("v5p:2x2x1"))
