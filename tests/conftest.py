# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Eight CPU devices, a persistent compilation cache and the same random inputs in every run."""

import importlib.metadata
import os
import pathlib
import zlib

import hypothesis
import numpy as np
import pytest

CACHE = pathlib.Path(__file__).parents[1] / ".cache"

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUM_CPU_DEVICES"] = "8"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE / "xla"))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
# Each of the two halves the time to compile, which is most of the suite's; the programs compute the
# same. An XLA that does not know a flag ends the process, so the second is for the releases tried.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if importlib.metadata.version("jaxlib").startswith("0.10."):
    os.environ["XLA_FLAGS"] = "--xla_cpu_use_fusion_emitters=false"
os.environ["TFDS_DATA_DIR"] = str(CACHE / "tfds")

hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same")


@pytest.fixture(autouse=True)
def same_random_inputs(request, monkeypatch):
    """Every test has random inputs of its own, the same in every run; TEST_SEED=n makes others."""
    seed = zlib.crc32(f"{os.environ.get('TEST_SEED', 0)} {request.node.nodeid}".encode())
    default_rng = np.random.default_rng
    monkeypatch.setattr(
        np.random, "default_rng", lambda own=None: default_rng(seed if own is None else own)
    )
    if hasattr(request.module, "RNG"):
        monkeypatch.setattr(request.module, "RNG", default_rng(seed))
