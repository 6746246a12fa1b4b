# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Writes the table of docs/sharding.md: what eight devices say to each other in a step.

Command: python docs/make_sharding_table.py
"""

import os
import sys
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUM_CPU_DEVICES"] = "8"

import jax
import pages
from tabulate import tabulate

from vit_jax.config import default_config
from vit_jax.data import ops
from vit_jax.parallel import collectives, sharding
from vit_jax.parallel.mesh import configured_mesh
from vit_jax.planning import memory
from vit_jax.training import program as program_lib

MODEL = "vit_base_patch16_224"
BATCH_SIZE, CLASSES = 256, 1000
LAYOUTS: tuple[dict[str, Any], ...] = (
    {"data": 8},
    {"data": 8, "spread_optimiser": True},
    {"fsdp": 8},
    {"data": 2, "fsdp": 4},
    {"data": 4, "tensor": 2},
    {"data": 2, "sequence": 4},
)
LEAST_MIB = 1.0  # of a row; sums of norms and biases come to less


def measure(layout: dict[str, Any]) -> tuple[str, list[collectives.Collective], float, float]:
    """Returns the layout's text, its collectives, GiB of the state and of the rest, a device."""
    config = default_config()
    config.model.update({"name": MODEL, "scan": True, "remat": "full"})
    config.train.batch_size = BATCH_SIZE
    config.mesh.update(layout)
    mesh = configured_mesh(config.mesh)
    data = program_lib.Facts(
        tuple(map(str, range(CLASSES))), 10**6, ops.parse(config.data.eval_ops)
    )
    with jax.set_mesh(mesh):
        steps = program_lib.resolve_steps(config, data.train_examples)
        program = program_lib.build(config, data, steps, mesh)
        compiled: Any = program_lib.compile_step(program, mesh)
    state = sharding.shard_bytes(program.abstract_state)
    text = ", ".join(k if v is True else f"{k}={v}" for k, v in layout.items())
    said = collectives.read(compiled.as_text(), mesh)
    return text, said, state / memory.GIB, memory.usage(compiled).working / memory.GIB


def main() -> None:
    """Compiles every layout and puts the table into the page."""
    rows = []
    for layout in LAYOUTS:
        text, said, state, working = measure(layout)
        print(text, collectives.table(said), sep="\n", file=sys.stderr, flush=True)
        first = [text, f"{state:.2f}", f"{working:.2f}"]
        for kind, axes, times, mib in collectives.sums(said):
            if mib >= LEAST_MIB:
                rows.append((*first, kind, axes, times, f"{mib:,.0f}"))
                first = [""] * 3
    heads = ("mesh", "state", "step (GiB)", "collective", "along", "times", "MiB sent")
    table = tabulate(rows, heads, tablefmt="github", disable_numparse=True)
    pages.put("sharding.md", "table", table)
    print(table)


if __name__ == "__main__":
    main()
