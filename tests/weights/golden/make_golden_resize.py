# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Writes the golden resizes beside this file: run it where torch, timm and scipy are.

python tests/weights/golden/make_golden_resize.py
"""

import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from resize_cases import references  # noqa: E402  (the path comes first)

np.savez_compressed(HERE / "resize.npz", **references(seed=0))
