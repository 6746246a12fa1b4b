# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Compiling: kept between starts by JAX's persistent cache, and ended on all processes together."""

import os
import pathlib
from typing import Any

import jax

from vit_jax.parallel import distributed


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


def compile_together(jitted: Any, *arguments: Any) -> Any:
    """Compiles a jitted function for its arguments; returns when every process has.

    Every process calls this for the same functions in the same order. One of them may find in the
    cache what takes another a minute, and must not wait for it inside a collective.

    Args:
        jitted: of `jax.jit`.
        *arguments: arrays, or ShapeDtypeStructs with shardings.
    """
    compiled = jitted.lower(*arguments).compile()
    distributed.wait_for_all("compiled")
    return compiled
