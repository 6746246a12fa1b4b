# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""vit_jax's input pipeline, whole or up to one of its ops, timed from rest to rest."""

import time
from types import SimpleNamespace
from typing import Any

import numpy as np

from vit_jax.data import ops as ops_lib
from vit_jax.data.pipeline import TrainPipeline
from vit_jax.data.sources import create_source
from vit_jax.data.tensorflow import import_tensorflow

POLL_SECONDS, QUIET_POLLS = 0.02, 5


class SequentialPipeline(TrainPipeline):
    """The training pipeline with the records in the order in which they are stored."""

    def _index(self, k):
        return k % len(self.source)


class LeadingOps:
    """The ops up to a stage, and one pixel of what they make, so that any sizes batch.

    Attributes:
        stage: ops as text, or "read" for none.
    """

    def __init__(self, stage: str, encoded: bool):
        self._ops = None if stage == "read" else ops_lib.parse(stage)
        self._encoded = encoded

    def host(self, record: dict, seed: Any) -> dict:
        """Returns the record with an image uint8 [1, 1, 1] that depends on the ops' work."""
        tf = import_tensorflow()
        if self._ops is not None:
            pixel = self._ops.host(record, seed)["image"][:1, :1, :1]
        elif self._encoded:
            first_byte = tf.strings.substr(record["image"], 0, 1)
            pixel = tf.reshape(tf.io.decode_raw(first_byte, tf.uint8), [1, 1, -1])[..., :1]
        else:
            pixel = record["image"][:1, :1, :1]
        return {**record, "image": tf.ensure_shape(pixel, [1, 1, 1])}


def wait_for_rest() -> float:
    """Waits until the threads of this process have stopped working: all buffers are full.

    Returns:
        The seconds since they stopped. Rest is several quiet polls in a row, because on a busy
        machine threads that have work may get no core for a while.
    """
    quiet, last_work = 0, time.perf_counter()
    while quiet < QUIET_POLLS:
        used = time.process_time()
        time.sleep(POLL_SECONDS)
        quiet += 1
        if time.process_time() - used > 0.1 * POLL_SECONDS:
            quiet, last_work = 0, time.perf_counter()
    return time.perf_counter() - last_work


class Contender:
    """Batches of the job's source; a run ends when the buffers behind it are full again.

    So a run has exactly the work of its batches in it, though threads read ahead.
    """

    def __init__(self, job: SimpleNamespace):
        source = create_source(job.source, job.split, job.data_dir or None)
        whole = job.stage == "whole"
        ops = ops_lib.parse(job.ops) if whole else LeadingOps(job.stage, source.encoded)
        make = TrainPipeline if job.order == "random" else SequentialPipeline
        rows = np.array_split(np.arange(job.batch_size), job.processes)[job.process]
        pipeline = make(
            source=source, ops=ops, batch_size=job.batch_size, threads=job.threads, rows=rows
        )
        self._batches = pipeline.batches()

    def run(self, steps: int) -> float:
        """Takes `steps` batches and waits for rest; returns the seconds it has been at rest."""
        for _ in range(steps):
            next(self._batches)
        return wait_for_rest()

    def facts(self) -> dict[str, Any]:
        """Returns the version of TensorFlow."""
        return {"framework": f"tensorflow {import_tensorflow().__version__}"}
