# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Ops: what happens to one example between its record and the model.

`parse` reads the op language; importing this package files every op.
"""

from vit_jax.data.ops import colour, decode, device, geometry, policies
from vit_jax.data.ops.evaluation import evaluation_ops
from vit_jax.data.ops.language import Ops, parse
from vit_jax.data.ops.op import OPS, Op, register, signature

__all__ = ["OPS", "Op", "Ops", "evaluation_ops", "parse", "register", "signature"]
__all__ += ["colour", "decode", "device", "geometry", "policies"]
