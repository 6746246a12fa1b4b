# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Leaving the house: a checkpoint as a file that other programs run.

A format is a module with `check(request)`, which refuses what it cannot do, and
`write(program, request, path)`; `reader` runs the result again, in a process of its own.
"""

import importlib
from typing import Any

from vit_jax.registry import Registry

FORMATS: Registry[str] = Registry("export format")
for _name in ("stablehlo", "savedmodel", "safetensors", "onnx"):
    FORMATS.register(_name)(f"vit_jax.export.{_name}")


def format_module(name: str) -> Any:
    """Returns the module of a format; UserError with the near misses for an unknown one."""
    return importlib.import_module(FORMATS.get(name))
