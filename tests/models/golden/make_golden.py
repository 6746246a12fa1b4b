# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Writes the golden vectors of CASES beside this file: run it where torch and timm are.

python tests/models/golden/make_golden.py
"""

import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from timm_cases import CASES, reference  # noqa: E402  (the path comes first)

for seed, (name, case) in enumerate(CASES.items()):
    arrays = {
        key: value.astype(np.float16) if key.startswith("param/") else value
        for key, value in reference(case, seed).items()
    }
    np.savez_compressed(HERE / f"{name}.npz", **arrays)
    print(name, {k: v.shape for k, v in arrays.items() if "/" not in k})
