# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a device can do at most: dense matmul FLOP/s and memory, from the makers' data sheets."""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh


@dataclasses.dataclass(frozen=True)
class Peak:
    """Dense peaks (no sparsity) of one JAX device, and its nominal memory.

    Attributes:
        pattern: regular expression for `device.device_kind` in lower case; the first found counts.
        half: FLOP/s with bfloat16 inputs and float32 sums; None if the device has no unit for it.
        single: FLOP/s of what JAX makes of float32 inputs by default: TF32 on NVIDIA's tensor cores
            (plain float32 before Ampere), one bfloat16 pass on a TPU.
        memory_bytes: nominal; somewhat less is free.
    """

    pattern: str
    half: float | None
    single: float
    memory_bytes: int

    def flops(self, dtype: Any) -> float | None:
        """Returns the FLOP/s with matrices of a dtype: bfloat16 (or float16) or float32."""
        dtype = jnp.dtype(dtype)
        if dtype in (jnp.bfloat16, jnp.float16):
            return self.half
        return self.single if dtype == jnp.float32 else None


_T, _GB = 1e12, 2**30

# NVIDIA: the data sheet of each product, "with sparsity" figures halved. GeForce: the architecture
# white papers (GA102, AD102), tensor cores with float32 sums. TPU: cloud.google.com/tpu/docs/v2 ...
# /v6e, peak compute per chip; of a v2 and v3 chip JAX sees two cores, and each has half of it.
PEAKS = (
    Peak(r"b200", 2250 * _T, 1125 * _T, 180 * _GB),
    Peak(r"h200", 989.4 * _T, 494.7 * _T, 141 * _GB),
    Peak(r"h100 pcie", 756 * _T, 378 * _T, 80 * _GB),
    Peak(r"h100 nvl", 835 * _T, 417.5 * _T, 94 * _GB),
    Peak(r"h100", 989.4 * _T, 494.7 * _T, 80 * _GB),
    Peak(r"a100.*80gb", 312 * _T, 156 * _T, 80 * _GB),
    Peak(r"a100", 312 * _T, 156 * _T, 40 * _GB),
    Peak(r"v100.*32gb", None, 15.7 * _T, 32 * _GB),
    Peak(r"v100", None, 15.7 * _T, 16 * _GB),
    Peak(r"a10g", 70 * _T, 35 * _T, 24 * _GB),
    Peak(r"a10\b", 125 * _T, 62.5 * _T, 24 * _GB),
    Peak(r"a40\b", 149.7 * _T, 74.8 * _T, 48 * _GB),
    Peak(r"rtx a6000", 154.8 * _T, 77.4 * _T, 48 * _GB),
    Peak(r"rtx 6000 ada", 364.2 * _T, 182.1 * _T, 48 * _GB),
    Peak(r"l40s", 362 * _T, 183 * _T, 48 * _GB),
    Peak(r"l40\b", 181 * _T, 90.5 * _T, 48 * _GB),
    Peak(r"l4\b", 121 * _T, 60 * _T, 24 * _GB),
    Peak(r"rtx 4090", 165.2 * _T, 82.6 * _T, 24 * _GB),
    Peak(r"rtx 3090 ti", 80 * _T, 40 * _T, 24 * _GB),
    Peak(r"rtx 3090", 71 * _T, 35.6 * _T, 24 * _GB),
    Peak(r"tpu v2", 22.5 * _T, 22.5 * _T, 8 * _GB),
    Peak(r"tpu v3", 61.5 * _T, 61.5 * _T, 16 * _GB),
    Peak(r"tpu v4$", 275 * _T, 275 * _T, 32 * _GB),
    Peak(r"tpu v5 lite|tpu v5e", 197 * _T, 197 * _T, 16 * _GB),
    Peak(r"tpu v5p?$", 459 * _T, 459 * _T, 95 * _GB),
    Peak(r"tpu v6", 918 * _T, 918 * _T, 32 * _GB),
)


def find_peak(device_kind: str) -> Peak | None:
    """Returns the row of `PEAKS` for a kind of device, or None for an unknown one (every CPU)."""
    kind = device_kind.lower()
    return next((peak for peak in PEAKS if re.search(peak.pattern, kind)), None)


def peak_flops(device: jax.Device, dtype: Any) -> float | None:
    """Returns the dense matmul peak of a device in FLOP/s, or None where it is not known.

    Args:
        device: a JAX device, of which `device_kind` counts.
        dtype: of the matrices: bfloat16 (or float16) or float32.
    """
    peak = find_peak(device.device_kind)
    return None if peak is None else peak.flops(dtype)


def mesh_peak_flops(mesh: Mesh | AbstractMesh, dtype: Any) -> float | None:
    """Returns the peak of all devices of a mesh; None where not known, as of an abstract one."""
    if isinstance(mesh, AbstractMesh):
        return None
    peak = peak_flops(mesh.devices.flat[0], dtype)
    return None if peak is None else peak * mesh.size


def memory_bytes(device: jax.Device) -> int | None:
    """Returns what a device lets JAX allocate, else its nominal memory, else None."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    peak = find_peak(device.device_kind)
    return None if peak is None else peak.memory_bytes
