# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Writes the golden vectors of models in another size beside this file: needs torch and timm.

python tests/weights/golden/make_golden_transfer.py
"""

import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from transfer_cases import CASES, reference  # noqa: E402  (the path comes first)

for seed, (name, case) in enumerate(CASES.items()):
    np.savez_compressed(HERE / f"transfer_{name}.npz", **reference(case, seed))
