# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""JAX's persistent compilation cache, on by default: a second start does not compile again."""

import os
import pathlib

import jax


def use_cache() -> None:
    """Keeps compiled programs in the user's cache folder, unless JAX was told where."""
    if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(pathlib.Path(home) / "vit_jax" / "xla"))
    # By default JAX keeps only what took over a second; the many small programs add up.
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    if "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES" not in os.environ:
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
