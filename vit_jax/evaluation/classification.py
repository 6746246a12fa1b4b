# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Loss and accuracy over a split: every example once, on any number of processes and devices."""

import collections
import contextlib
import math
import os
from collections.abc import Callable, Generator
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vit_jax.data.ops import Ops
from vit_jax.data.pipeline import EvalPipeline
from vit_jax.data.prefetch import prefetch
from vit_jax.data.sources import Source, create_source
from vit_jax.errors import UserError
from vit_jax.objectives import create_objective
from vit_jax.parallel import sharding
from vit_jax.parallel.mesh import create_mesh
from vit_jax.training import trained
from vit_jax.training.compilation import compile_together, use_cache
from vit_jax.training.metrics import STEPS_IN_FLIGHT
from vit_jax.training.step import make_eval_step

SPLITS = ("train", "validation", "test")


def eval_pipeline(
    source: Source, ops: Ops, config: ConfigDict, mesh: Mesh, batch_size: int
) -> EvalPipeline:
    """Returns this process's share of the batches of a split."""
    return EvalPipeline(
        source=source,
        ops=ops,
        batch_size=batch_size,
        rows=sharding.local_rows(mesh, batch_size),
        cache=config.data.cache,
        threads=config.data.threads,
        max_bad_fraction=config.data.max_bad_fraction,
    )


class Evaluator:
    """Measures parameters on a split.

    Args:
        model: the module.
        objective: whose evaluation loss and metrics are averaged.
        ops: the preprocessing, of which the device part runs in the compiled step.
        mesh: where batches go.
    """

    def __init__(self, model: nn.Module, objective: Any, ops: Ops, mesh: Mesh):
        self._step = jax.jit(make_eval_step(model, objective, device_ops=ops.device))
        self._mesh = mesh
        self._compiled: dict[int, Any] = {}  # by batch size

    def __call__(
        self,
        params: Any,
        model_state: Any,
        pipeline: EvalPipeline,
        stop: Callable[[], bool] = lambda: False,
    ) -> dict[str, float] | None:
        """Returns the means over all examples, and their number.

        Args:
            params: on the mesh, placed alike in every call.
            model_state: the model's other collections.
            pipeline: of `batch_size` rows over all processes.
            stop: asked after every batch, by every process.

        Returns:
            {"loss", "accuracy", "top5", ..., "examples"}, or None if `stop` said so.
        """
        totals: dict[str, float] = {}
        with contextlib.closing(self._sums(params, model_state, pipeline)) as sums:
            for of_batch in sums:
                for name, value in of_batch.items():
                    totals[name] = totals.get(name, 0.0) + float(value)
                if stop():
                    return None
        examples = round(totals.pop("examples"))
        means = {name: total / examples if examples else math.nan for name, total in totals.items()}
        return {**means, "examples": examples}

    def _sums(
        self, params: Any, model_state: Any, pipeline: EvalPipeline
    ) -> Generator[dict[str, Any], None, None]:
        """Yields the sums of each batch; the device always has further batches to work on."""

        def transfer(batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
            needed = {name: batch[name] for name in ("image", "label", "mask")}
            return sharding.put_batch(needed, self._mesh, pipeline.batch_size)

        in_flight: collections.deque[dict[str, jax.Array]] = collections.deque()
        with contextlib.closing(prefetch(pipeline.batches(), transfer, 2)) as batches:
            for batch in batches:
                step = self._compiled.get(pipeline.batch_size)
                if step is None:
                    step = compile_together(self._step, params, model_state, batch)
                    self._compiled[pipeline.batch_size] = step
                in_flight.append(step(params, model_state, batch))
                if len(in_flight) > STEPS_IN_FLIGHT:
                    yield jax.device_get(in_flight.popleft())
            while in_flight:
                yield jax.device_get(in_flight.popleft())


def evaluate_checkpoint(
    path: str | os.PathLike,
    *,
    split: str = "test",
    source: str | None = None,
    data_dir: str | None = None,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Measures a checkpoint on a split of the data it was trained on, or of other data.

    Args:
        path: a workdir or one step of it; nothing else of the run is needed.
        split: "train", "validation" or "test", as the run's config names them; always seen with the
            preprocessing of evaluation.
        source: other data, with the same classes; by default the run's.
        data_dir: where prepared data sets lie; by default where the run had them.
        batch_size: over all devices; by default the run's, rounded up to the devices there are.

    Returns:
        {"step", "split", "loss", "accuracy", "top5", "examples"}.

    Raises:
        UserError: no usable checkpoint, no such data, other classes.
    """
    use_cache()
    run = trained.load(path)
    config = run.config
    mesh = create_mesh({"data": -1})
    data = open_split(config, split, source, data_dir)
    if data is None:
        raise UserError(f"the run has no {split} split; choose another --split")
    if data.class_names != run.class_names[: len(data.class_names)]:
        raise UserError(
            f"the data has the classes {_some(data.class_names)}, "
            f"the model {_some(run.class_names)}; they must be the same"
        )
    with jax.set_mesh(mesh):
        size = batch_size or evaluation_batch_size(config, mesh)
        pipeline = eval_pipeline(data, run.ops, config, mesh, size)
        objective = create_objective(config, len(run.class_names))
        params, model_state = place((run.params, run.model_state), mesh)
        result = Evaluator(run.model, objective, run.ops, mesh)(params, model_state, pipeline)
    assert result is not None
    return {"step": run.step, "split": split, **result}


def open_split(
    config: ConfigDict, split: str, source: str | None = None, data_dir: str | None = None
) -> Source | None:
    """Returns the source of a split; None if the config has none."""
    part = config.data[f"{split}_split"]
    if not part:
        return None
    folder = data_dir or config.data.data_dir or None
    return create_source(source or config.data.source, part, folder)


def evaluation_batch_size(config: ConfigDict, mesh: Mesh) -> int:
    """Returns the configured evaluation batch size, rounded up to a multiple of the devices."""
    size = config.evaluation.batch_size or config.train.batch_size
    devices = math.prod(mesh.shape[axis] for axis in sharding.BATCH_AXES)
    return -(-size // devices) * devices


def place(tree: Any, mesh: Mesh) -> Any:
    """Returns host arrays, the same on every process, as global arrays on the mesh."""

    def put(array: Any, where: jax.sharding.Sharding) -> jax.Array:
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, where, lambda index: array[index])

    return jax.tree.map(put, tree, sharding.shardings(tree, mesh))


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f", ... ({len(names)})" if len(names) > 5 else "")
