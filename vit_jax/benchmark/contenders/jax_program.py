# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What the JAX contenders share: a compiled step, run back to back, and asked for its memory."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np


def use_cache(directory: str | None) -> None:
    """Sends compiled programs to `directory`, or switches the persistent cache off (None)."""
    if directory is None:
        jax.config.update("jax_enable_compilation_cache", False)
        return
    jax.config.update("jax_compilation_cache_dir", directory)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def synthetic_batch(job: SimpleNamespace) -> dict[str, jax.Array]:
    """Returns {"image": uint8 [B, H, W, 3], "label": int32 [B]} of noise, on the device."""
    random = np.random.default_rng(0)
    shape = (job.batch_size, job.image_size, job.image_size, 3)
    return {
        "image": jax.device_put(random.integers(0, 256, shape, np.uint8)),
        "label": jax.device_put(random.integers(0, job.num_classes, job.batch_size, np.int32)),
    }


class Program:
    """`step(state, batch) -> (state, output)`, compiled; the state is donated and carried along."""

    def __init__(self, step: Callable[[Any, Any], tuple[Any, Any]], state: Any, batch: Any):
        start = time.perf_counter()
        self._compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
        self.compile_seconds = time.perf_counter() - start
        self._state, self._batch = state, batch

    @property
    def state(self) -> Any:
        """What the next step starts from."""
        return self._state

    def run(self, steps: int) -> None:
        """Runs `steps` steps back to back and waits for the last."""
        for _ in range(steps):
            self._state, output = self._compiled(self._state, self._batch)
        jax.block_until_ready((self._state, output))

    def facts(self) -> dict[str, Any]:
        """Returns versions, device, compile seconds and peak memory."""
        device = jax.devices()[0]
        return {
            "framework": f"jax {jax.__version__}",
            "device": device.device_kind,
            "platform": device.platform,
            "compile_seconds": self.compile_seconds,
            "peak_bytes": self._peak_bytes(device),
        }

    def _peak_bytes(self, device: jax.Device) -> int:
        stats = device.memory_stats()
        if stats and "peak_bytes_in_use" in stats:
            return stats["peak_bytes_in_use"]
        plan: Any = self._compiled.memory_analysis()
        return (
            plan.argument_size_in_bytes
            + plan.output_size_in_bytes
            - plan.alias_size_in_bytes
            + plan.temp_size_in_bytes
        )
