# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Peaks by the names that JAX gives to devices."""

import types

import jax
import jax.numpy as jnp
import pytest

from vit_jax.planning import devices


def device(kind, stats=None):
    return types.SimpleNamespace(device_kind=kind, memory_stats=lambda: stats)


# As printed by jax.devices()[0].device_kind; TFLOP/s of the makers' data sheets.
@pytest.mark.parametrize(
    ("kind", "half", "single", "gigabytes"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4, 494.7, 80),
        ("NVIDIA H100 PCIe", 756, 378, 80),
        ("NVIDIA H200", 989.4, 494.7, 141),
        ("NVIDIA A100-SXM4-40GB", 312, 156, 40),
        ("NVIDIA A100-SXM4-80GB", 312, 156, 80),
        ("Tesla V100-SXM2-16GB", None, 15.7, 16),
        ("NVIDIA L4", 121, 60, 24),
        ("NVIDIA L40S", 362, 183, 48),
        ("NVIDIA A10G", 70, 35, 24),
        ("NVIDIA GeForce RTX 4090", 165.2, 82.6, 24),
        ("TPU v2", 22.5, 22.5, 8),
        ("TPU v3", 61.5, 61.5, 16),
        ("TPU v4", 275, 275, 32),
        ("TPU v5 lite", 197, 197, 16),
        ("TPU v5", 459, 459, 95),
        ("TPU v5p", 459, 459, 95),
        ("TPU v6 lite", 918, 918, 32),
    ],
)
def test_known_devices(kind, half, single, gigabytes):
    expected = None if half is None else half * 1e12
    assert devices.peak_flops(device(kind), jnp.bfloat16) == expected
    assert devices.peak_flops(device(kind), "float32") == pytest.approx(single * 1e12)
    assert devices.peak_flops(device(kind), jnp.int8) is None
    assert devices.memory_bytes(device(kind)) == gigabytes * 2**30


def test_unknown_devices_have_no_peak():
    cpu = jax.devices()[0]
    assert devices.peak_flops(cpu, jnp.float32) is None
    assert devices.memory_bytes(cpu) is None
    assert devices.peak_flops(device("TPU v4 lite"), jnp.bfloat16) is None


def test_what_the_device_tells_goes_first():
    assert devices.memory_bytes(device("NVIDIA H200", {"bytes_limit": 123})) == 123
