# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Loss, accuracy and calibration over a split: every example once, on any processes and devices."""

import collections
import contextlib
import dataclasses
import functools
import math
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vit_jax.data.pipeline import EvalPipeline, HostOps
from vit_jax.data.prefetch import prefetch
from vit_jax.data.sources import Source, create_source
from vit_jax.errors import UserError
from vit_jax.evaluation import ensemble, labels, views
from vit_jax.objectives import create_objective, metrics
from vit_jax.parallel import sharding
from vit_jax.parallel.mesh import create_mesh
from vit_jax.training import trained
from vit_jax.training.compilation import compile_together, use_cache
from vit_jax.training.metrics import STEPS_IN_FLIGHT
from vit_jax.training.step import make_eval_step

SPLITS = ("train", "validation", "test")


def eval_pipeline(
    source: Source, ops: HostOps, config: ConfigDict, mesh: Mesh, batch_size: int
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


class Batches(Protocol):
    """What is measured: an `EvalPipeline`, or several in step."""

    @property
    def batch_size(self) -> int:
        """Returns the number of rows over all processes."""

    def batches(self) -> Iterator[dict[str, Any]]:
        """Yields {"image", "label", "mask"} of this process, equally often on every process."""


def each_batch(
    step: Callable[[dict[str, Any]], Any], pipeline: Batches, mesh: Mesh
) -> Generator[Any, None, None]:
    """Yields `step(batch)` on the host; the device always has further batches to work on.

    Args:
        step: compiled; its results are the same on all processes.
        pipeline: whose "image", "label" and "mask" become global arrays.
        mesh: where these go.
    """

    def transfer(batch: dict[str, Any]) -> dict[str, Any]:
        needed = {name: batch[name] for name in ("image", "label", "mask")}
        return sharding.put_batch(needed, mesh, pipeline.batch_size)

    in_flight: collections.deque[Any] = collections.deque()
    with contextlib.closing(prefetch(pipeline.batches(), transfer, 2)) as batches:
        for batch in batches:
            in_flight.append(step(batch))
            if len(in_flight) > STEPS_IN_FLIGHT:
                yield jax.device_get(in_flight.popleft())
        while in_flight:
            yield jax.device_get(in_flight.popleft())


class Evaluator:
    """Measures parameters on a split.

    Args:
        model: the module.
        objective: whose evaluation loss and metrics are averaged.
        ops: the preprocessing, of which the device part runs in the compiled step.
        mesh: where batches go.
    """

    def __init__(self, model: Any, objective: Any, ops: Any, mesh: Mesh):
        self._step = jax.jit(make_eval_step(model, objective, device_ops=ops.device))
        self._mesh = mesh
        self._compiled: dict[int, Any] = {}  # by batch size

    def __call__(
        self,
        params: Any,
        model_state: Any,
        pipeline: Batches,
        stop: Callable[[], bool] = lambda: False,
    ) -> dict[str, float] | None:
        """Returns the means over all examples, and their number.

        Args:
            params: on the mesh, placed alike in every call.
            model_state: the model's other collections.
            pipeline: of `batch_size` rows over all processes.
            stop: asked after every batch, by every process.

        Returns:
            {"loss", "examples"} and the objective's metrics, of a classification "accuracy",
            "top5", "mean_class_accuracy" and "calibration_error"; or None if `stop` said so.
        """
        totals: dict[str, Any] = {}

        def step(batch: dict[str, Any]) -> dict[str, jax.Array]:
            compiled = self._compiled.get(pipeline.batch_size)
            if compiled is None:
                compiled = compile_together(self._step, params, model_state, batch)
                self._compiled[pipeline.batch_size] = compiled
            return compiled(params, model_state, batch)

        with contextlib.closing(each_batch(step, pipeline, self._mesh)) as sums:
            for of_batch in sums:
                for name, value in of_batch.items():
                    totals[name] = totals.get(name, 0.0) + np.asarray(value, np.float64)
                if stop():
                    return None
        examples = round(float(totals.pop("examples")))
        means = {name: total / (examples or math.nan) for name, total in totals.items()}
        return {**metrics.summarise(means), "examples": examples}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """On what, and how, models are measured.

    Attributes:
        split: "train", "validation" or "test" as the run's config names them, or an expression of
            the source like "train+test"; always seen with the preprocessing of evaluation.
        source: other data; "" for the run's. Its splits are what it calls so itself.
        data_dir: where prepared data sets lie; "" for where the run had them.
        batch_size: over all devices; 0 for the run's, rounded up to the devices there are.
        labels: what the labels mean, see `labels`; "" to match the names of the classes.
        views: test-time augmentation, see `views`.
    """

    split: str = "test"
    source: str = ""
    data_dir: str = ""
    batch_size: int = 0
    labels: str = ""
    views: tuple[str, ...] = ()

    def open(self, config: ConfigDict) -> Source:
        """Returns the data, where nothing is said that of a run; UserError if it has none."""
        data = open_split(config, self.split, self.source, self.data_dir)
        if data is None:
            raise UserError(f"the run has no {self.split} split; choose another --split")
        return data


def evaluate_checkpoint(path: str | os.PathLike, **question: Any) -> dict[str, Any]:
    """Measures a checkpoint on a split of the data it was trained on, or of other data.

    Args:
        path: a workdir or one step of it; nothing else of the run is needed.
        question: fields of `Question`.

    Returns:
        {"step", "split", "loss", "accuracy", "top5", ..., "examples"}, see `evaluate`.

    Raises:
        UserError: no usable checkpoint, no such data, other classes.
    """
    use_cache()
    run = trained.load(path)
    result = evaluate([run], Question(**question))
    return {"step": run.step, "split": question.get("split", "test"), **result}


def evaluate(
    runs: Sequence[trained.Trained], question: Question, weights: Sequence[float] = ()
) -> dict[str, Any]:
    """Measures the average of the probabilities that models give.

    Args:
        runs: one model or several, of one kind of objective.
        question: on what; the first run's data where nothing is said.
        weights: of the models; () for equal ones.

    Returns:
        What `Evaluator` returns, and "standard_error": of the accuracy, from the number of examples
        alone. With `imagenet_real` labels neither a loss nor a mean over classes, which are not
        defined where an example has several.
    """
    measure = measurer(runs, question, weights)
    return measure([(run.params, run.model_state) for run in runs])


def measurer(
    runs: Sequence[trained.Trained], question: Question, weights: Sequence[float] = ()
) -> Callable[[Sequence[tuple[Any, Any]]], dict[str, Any]]:
    """Returns `evaluate` as a function of (params, model_state) for each of the runs' models.

    It compiles once, whatever parameters it is called with.
    """
    config = runs[0].config
    data, mesh = question.open(config), create_mesh({"data": -1})
    classes, outputs = labels.resolve_all(question.labels, data, [run.class_names for run in runs])
    inputs = views.Inputs([views.Views(run.ops, question.views) for run in runs])
    shares = np.asarray(weights if len(weights) else [1.0] * len(runs))
    model = ensemble.Ensemble(
        models=tuple(run.model for run in runs),
        inputs=inputs.of_model,
        outputs=outputs,
        weights=tuple(map(float, shares / shares.sum())),
        average=ensemble.averaging(runs),
    )
    objective = create_objective(_plain(config), classes.num_classes)
    size = question.batch_size or evaluation_batch_size(config, mesh)
    pipelines = [eval_pipeline(data, v, config, mesh, size) for v in inputs.distinct]
    evaluator = Evaluator(model, objective, inputs, mesh)

    def measure(variables: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
        with jax.set_mesh(mesh):
            params, states = place(tuple(zip(*variables, strict=True)), mesh)
            result = evaluator(params, {"states": states}, _InStep(pipelines, classes))
        assert result is not None
        return _honest(result, several=bool(classes.right))

    return measure


def _honest(result: dict[str, Any], several: bool) -> dict[str, Any]:
    """Returns a result with the accuracy's error, and without what several labels leave open."""
    if several:
        result = {k: v for k, v in result.items() if k not in ("loss", "mean_class_accuracy")}
    accuracy, examples = result["accuracy"], result["examples"]
    variance = max(accuracy * (1 - accuracy), 0.0) / max(examples, 1)
    return {**result, "standard_error": math.sqrt(variance)}


class _InStep:
    """Several pipelines over one source as one, whose image is a tuple; with labels mapped."""

    def __init__(self, pipelines: Sequence[EvalPipeline], classes: labels.LabelMap):
        self._pipelines, self._classes = pipelines, classes
        self.batch_size = pipelines[0].batch_size

    def batches(self) -> Iterator[dict[str, Any]]:
        for parts in zip(*(pipeline.batches() for pipeline in self._pipelines), strict=True):
            mask = functools.reduce(np.minimum, [part["mask"] for part in parts])
            images = tuple(part["image"] for part in parts)
            yield {**self._classes({**parts[0], "mask": mask}), "image": images}


def _plain(config: ConfigDict) -> ConfigDict:
    """Returns the config without class weights, which only training has, sized by its classes."""
    config = config.copy_and_resolve_references()
    config.objective.class_weights = ()
    return config


def open_split(
    config: ConfigDict, split: str, source: str = "", data_dir: str = ""
) -> Source | None:
    """Returns the source of a split; None if the config has none.

    Args:
        config: of a run.
        split: one of `SPLITS` as the config names them, or an expression of the source.
        source: other data, whose own splits are meant; "" for the run's.
        data_dir: where prepared data sets lie; "" for where the run had them.
    """
    part = config.data[f"{split}_split"] if split in SPLITS and not source else split
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
