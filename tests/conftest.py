# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Eight CPU devices, a persistent compilation cache and no network, for every test."""

import os
import pathlib

CACHE = pathlib.Path(__file__).parents[1] / ".cache"

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE / "xla"))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
# Halves the time to compile, which is most of the suite's; the programs compute the same.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ["TFDS_DATA_DIR"] = str(CACHE / "tfds")
