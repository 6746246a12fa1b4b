# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Writes the table of docs/memory.md: memory of a device against fsdp, from compiled programs.

Command: python docs/make_memory_table.py [MODEL ...]
"""

import os
import sys
import time

DEVICES = 8
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"

import jax  # noqa: E402
import pages  # noqa: E402
from tabulate import tabulate  # noqa: E402

from vit_jax.config import default_config  # noqa: E402
from vit_jax.data import ops  # noqa: E402
from vit_jax.models import model_info  # noqa: E402
from vit_jax.parallel import sharding  # noqa: E402
from vit_jax.parallel.mesh import configured_mesh  # noqa: E402
from vit_jax.planning import memory  # noqa: E402
from vit_jax.training import program as program_lib  # noqa: E402
from vit_jax.training.compilation import use_cache  # noqa: E402

MODELS = ("vit_base_patch16_224", "vit_large_patch16_224", "swin_base_patch4_window7_224")
BATCH_SIZE, CLASSES = 64, 1000


def measure(name: str, fsdp: int, remat: str) -> tuple[int, memory.Usage]:
    """Returns bytes of the state and what the whole training step takes, both a device."""
    config = default_config()
    config.model.name, config.model.scan, config.model.remat = name, True, remat
    config.train.batch_size = BATCH_SIZE
    config.mesh.fsdp = fsdp
    mesh = configured_mesh(config.mesh)
    names = tuple(map(str, range(CLASSES)))
    eval_ops = ops.parse(config.data.eval_ops)
    data = program_lib.Facts(names, 10**6, eval_ops)
    with jax.set_mesh(mesh):
        steps = program_lib.resolve_steps(config, data.train_examples)
        program = program_lib.build(config, data, steps, mesh)
        state = sharding.shard_bytes(program.abstract_state)
        return state, memory.usage(program_lib.compile_step(program, mesh))


def main() -> None:
    """Compiles every program and puts the table into the page."""
    use_cache()
    rows = []
    for name in sys.argv[1:] or MODELS:
        for remat in ("none", "full"):
            for fsdp in (1, 2, 4, 8):
                start = time.perf_counter()
                state, usage = measure(name, fsdp, remat)
                row = (model_info(name).aliases[0], remat, fsdp, state, usage.working, usage.total)
                print(*row, f"{time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
                rows.append((*row[:3], *(f"{size / memory.GIB:.2f}" for size in row[3:])))
    heads = ("model", "remat", "fsdp", "state", "during a step", "total (GiB a device)")
    table = tabulate(rows, heads, tablefmt="github", disable_numparse=True, stralign="right")
    pages.put("memory.md", "table", table)
    print(table)


if __name__ == "__main__":
    main()
