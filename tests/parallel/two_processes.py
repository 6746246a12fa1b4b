# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What test_distributed runs in each of two processes: join, train, save, restore, be preempted."""

import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "training"))

import jax
import numpy as np
import optax
import small_run

from vit_jax.parallel import distributed
from vit_jax.parallel.mesh import create_mesh
from vit_jax.parallel.sharding import local_rows, put_batch
from vit_jax.training.checkpoint import Checkpointer
from vit_jax.training.preemption import Preemption
from vit_jax.training.state import abstract_state, create_state
from vit_jax.training.step import jit_train_step, make_train_step


def main(workdir):
    process = distributed.initialise()
    print(process)
    mesh = create_mesh({"data": 2, "fsdp": 2})
    rows = local_rows(mesh, 8)
    print("rows", rows.tolist())
    batch = put_batch({"x": np.arange(8.0, dtype=np.float32)[rows]}, mesh, 8)
    print("sum", float(jax.jit(lambda b: b["x"].sum())(batch)))

    model, optimiser = small_run.Patches(), optax.sgd(0.1, momentum=0.9)
    shape = small_run.IMAGE_SHAPE
    state = create_state(model, optimiser, shape, seed=0, mesh=mesh)
    step = make_train_step(
        model,
        small_run.OBJECTIVE,
        optimiser,
        schedule=optax.constant_schedule(0.1),
        device_ops=small_run.normalise,
        num_classes=small_run.CLASSES,
    )
    step = jit_train_step(step, state)
    whole = small_run.make_batch(0, size=8)
    batch = put_batch({name: value[rows] for name, value in whole.items()}, mesh, 8)
    with jax.set_mesh(mesh), Checkpointer(workdir) as checkpointer:
        for _ in range(3):
            state, metrics = step(state, batch)
        print("loss", float(metrics["loss"]))
        assert checkpointer.save(state, {"by": "two"}, {"accuracy": 0.5})
        assert not checkpointer.save(state, {"by": "two"})
        restored, _ = checkpointer.restore(abstract_state(model, optimiser, shape, mesh=mesh))
        print("restored step", int(restored.step))
        for new, old in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
            for a, b in zip(new.addressable_shards, old.addressable_shards, strict=True):
                assert np.array_equal(a.data, b.data)
        stop_together(process.index)


def stop_together(index):
    """A signal to process 1 at step 3: all stop at the same step."""
    with Preemption() as preemption:
        for step in range(1, 3000):
            time.sleep(0.01)
            if preemption.requested(step):
                print("stopped at", step)
                return
            if step == 3 and index == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            jax.experimental.multihost_utils.sync_global_devices(f"step {step}")


if __name__ == "__main__":
    main(sys.argv[1])
