# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Presets of the compiler's flags by kind of device; nothing is set unless one is asked for.

The compiler's defaults hide communication behind computation already; a preset goes further. What
it is worth depends on model and mesh: compare images/s with and without. Flags are read when JAX
starts, and XLA and libtpu end the process at one they do not know: a kind gets only flags that its
compiler has. This module imports no JAX.
"""

import dataclasses
import os
import re
from collections.abc import Mapping, MutableMapping

from vit_jax.errors import UserError
from vit_jax.registry import near_misses

NONE = "none"


@dataclasses.dataclass(frozen=True)
class Preset:
    """What to set for one kind of device.

    Attributes:
        device: regular expression for JAX's `device_kind`, in lower case.
        flags: variable that holds flags -> flag -> value.
        variables: other environment variables.
    """

    device: str
    flags: Mapping[str, Mapping[str, str]]
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)


# Gathers of the next layer's weights and reductions of gradients run beside the matrix products.
_TPU = {
    "xla_enable_async_all_gather": "true",
    "xla_tpu_enable_async_collective_fusion": "true",
    "xla_tpu_enable_async_collective_fusion_fuse_all_gather": "true",
    "xla_tpu_enable_async_collective_fusion_multiple_steps": "true",
    "xla_tpu_overlap_compute_collective_tc": "true",
    "xla_tpu_enable_data_parallel_all_reduce_opt": "true",
    "xla_tpu_data_parallel_opt_different_sized_ops": "true",
}
# The same where layers are a loop (`model.scan`); all but a tenth of the memory is JAX's.
_GPU = {
    "xla_gpu_enable_pipelined_all_gather": "true",
    "xla_gpu_enable_pipelined_reduce_scatter": "true",
    "xla_gpu_enable_pipelined_all_reduce": "true",
    "xla_gpu_enable_while_loop_double_buffering": "true",
}


def _tpu(device: str, **more: str) -> Preset:
    return Preset(device, {"LIBTPU_INIT_ARGS": {**_TPU, **more}})


def _gpu(device: str) -> Preset:
    return Preset(device, {"XLA_FLAGS": _GPU}, {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.9"})


PRESETS: Mapping[str, Preset] = {
    "v4": _tpu(r"tpu v4$"),
    "v5e": _tpu(r"tpu v5 lite|tpu v5e"),
    "v5p": _tpu(r"tpu v5p?$"),
    "v6e": _tpu(r"tpu v6", xla_tpu_scoped_vmem_limit_kib="98304"),  # of 128 MiB of fast memory
    "a100": _gpu(r"a100"),
    "h100": _gpu(r"h100"),
    "h200": _gpu(r"h200"),
    "b200": _gpu(r"b200"),
}


def variables(kind: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment variables of a preset, whole; what the user has set stays and wins.

    Args:
        kind: of `PRESETS`, or "none".
        environ: the variables there are.

    Raises:
        UserError: an unknown kind, with near misses.
    """
    if kind == NONE:
        return {}
    preset = _find(kind)
    found = {name: value for name, value in preset.variables.items() if name not in environ}
    for variable, flags in preset.flags.items():
        own = environ.get(variable, "")
        named = set(re.findall(r"--(\w+)", own))
        added = [f"--{flag}={value}" for flag, value in flags.items() if flag not in named]
        found[variable] = " ".join([*own.split(), *added])
    return found


def apply(kind: str, environ: MutableMapping[str, str] = os.environ) -> None:
    """Sets the variables of a preset; before JAX starts, or they are not read.

    Raises:
        UserError: an unknown kind.
    """
    environ.update(variables(kind, environ))


def check(kind: str, device_kind: str) -> None:
    """Refuses a preset made for other devices than JAX found.

    Raises:
        UserError: names both.
    """
    if kind != NONE and not re.search(_find(kind).device, device_kind.lower()):
        fits = [name for name, p in PRESETS.items() if re.search(p.device, device_kind.lower())]
        raise UserError(
            f"--xla-preset={kind} is not for {device_kind!r}; "
            f"use {' or '.join(fits) or 'none, its only choice'}"
        )


def _find(kind: str) -> Preset:
    if kind not in PRESETS:
        known = (NONE, *PRESETS)
        hint = near_misses(kind, known) or f"; known: {', '.join(known)}"
        raise UserError(f"--xla-preset={kind}: unknown{hint}")
    return PRESETS[kind]
