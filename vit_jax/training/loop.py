# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""The training program: from a configuration to a trained model, in the order of events.

Whatever stops a run, the same call goes on from its last checkpoint and leaves the same parameters
and the same record as if nothing had happened.
"""

import concurrent.futures
import contextlib
import dataclasses
import os
import time
from collections.abc import Generator
from typing import Any

import jax
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vit_jax import config as config_lib
from vit_jax import paths
from vit_jax.data.prefetch import prefetch
from vit_jax.parallel import distributed, peers, sharding
from vit_jax.parallel.mesh import configured_mesh
from vit_jax.planning.memory import Usage
from vit_jax.training import fitting, report, trained, workdir
from vit_jax.training import program as program_lib
from vit_jax.training.checkpoint import FOLDER, Checkpointer
from vit_jax.training.compilation import use_cache
from vit_jax.training.drawing import Drawing
from vit_jax.training.goodput import Clock
from vit_jax.training.metrics import STEPS_IN_FLIGHT
from vit_jax.training.preemption import Preemption
from vit_jax.training.profiling import Profiler
from vit_jax.training.progress import Progress
from vit_jax.training.record import DivergedError as DivergedError
from vit_jax.training.record import Record
from vit_jax.training.watchdog import Watchdog


class PreemptedError(Exception):
    """The run was asked to stop (SIGTERM), has saved, and can go on."""


def train(
    config: ConfigDict,
    folder: str | os.PathLike,
    *,
    recipe: ConfigDict | None = None,
    profile: tuple[int, int] | None = None,
) -> dict[str, dict[str, float]]:
    """Trains a model, or goes on training the one in the folder.

    Args:
        config: validated.
        folder: the workdir: configuration, metrics, checkpoints and pictures; shared by all
            processes.
        recipe: what `config` was before the command line changed it; the difference is printed.
        profile: (first, end) of the steps to trace.

    Returns:
        "validation" and "test" -> metrics of the splits there are: after the last step, or after
        the best where the run keeps the best checkpoint.

    Raises:
        UserError: the configuration does not fit the data, the devices or the run in the folder.
        PreemptedError: stopped and saved.
        DivergedError: `train.max_nonfinite_steps` was reached.
    """
    clock = Clock()
    process = distributed.initialise()
    use_cache()
    progress = Progress(active=process.index == 0)
    progress.say(str(process))
    fitter = fitting.Fitter(config, folder, progress.say)
    config = fitter.recall()
    _announce(config, folder, recipe, progress)
    with Preemption() as preemption:
        while True:
            try:
                around = Around(progress, preemption, clock)
                data, results = _train(config, folder, profile, around)
                break
            except fitting.TooLargeError as error:
                too_large = error.with_traceback(None)  # which would keep the state alive
            config = fitter.mend(config, too_large)
    if process.index == 0:
        _draw_and_tell(config, folder, data, progress)
    return results


@dataclasses.dataclass(frozen=True)
class Around:
    """What accompanies a run: who speaks for it, who may stop it, and whose time it takes."""

    progress: Progress
    preemption: Preemption
    clock: Clock


def _train(
    config: ConfigDict,
    folder: str | os.PathLike,
    profile: tuple[int, int] | None,
    around: Around,
) -> tuple[program_lib.Data, dict[str, dict[str, float]]]:
    """Runs to the end; returns the data and the last results. Raises TooLargeError."""
    mesh = configured_mesh(config.mesh)
    with jax.set_mesh(mesh):
        data = program_lib.open_data(config, mesh)
        steps = program_lib.resolve_steps(config, data.train_examples)
        program = program_lib.build(config, data, steps, mesh)
        around.progress.say(program_lib.summary(config, data, steps, program))
        if jax.process_index() == 0:
            sources = {"train": data.train.source}
            sources |= {name: pipeline.source for name, pipeline in data.evaluated.items()}
            around.progress.say(report.data(sources))
        distributed.wait_for_all("data open")  # reading it may take one much longer
        run = _Run(config, folder, mesh, data, steps, program, around)
        with fitting.advice(lambda: run.memory), run:
            run.start(profile)
            run.to_the_end()
            return data, run.finish()


def _announce(config: ConfigDict, folder: Any, recipe: Any, progress: Progress) -> None:
    """Prints and keeps the configuration, and how it differs from the recipe and the last start."""
    workdir.check(folder, config)
    progress.say(config_lib.to_text(config))
    for title, differences in (
        ("changed from the recipe:", config_lib.diff(recipe, config) if recipe else []),
        ("changed since this run's last start:", workdir.changes(folder, config)),
    ):
        if differences:
            progress.say(f"{title}\n{workdir.show_changes(differences)}")
    if jax.process_index() == 0:
        paths.make_folder(folder, "--workdir")
        config_lib.save(config, epath.Path(folder) / workdir.CONFIG)


@dataclasses.dataclass
class _Run:
    """One start of a run: what is open while steps are taken. A context manager.

    Attributes:
        state: of the training, on the mesh.
        step: how many steps were taken.
        best: the step whose parameters `state` has after the last one, if it is another.
        results: the last evaluation of each split.
        memory: what a step takes on each device, once it is compiled.
    """

    config: ConfigDict
    folder: str | os.PathLike
    mesh: Mesh
    data: program_lib.Data
    steps: program_lib.Steps
    program: program_lib.Program
    around: Around
    state: Any = None
    step: int = 0
    best: int | None = None
    results: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    memory: Usage | None = None

    def __post_init__(self) -> None:
        self.progress, self.clock = self.around.progress, self.around.clock
        self.preemption = self.around.preemption
        self.metadata = trained.describe(self.config, self.data.class_names, self.data.eval_ops)
        self.drawing = Drawing(self.config, self.folder, self.progress)
        seconds, process = self.config.train.watchdog_seconds, jax.process_index()
        self.watchdog = Watchdog(seconds, self.folder, process)
        self.record = Record(
            self.config,
            self.folder,
            self.program.work,
            self.data.train_examples,
            self.steps.total,
            self.progress,
            self.clock,
        )
        self._polls = 0
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "_Run":
        keep = self.config.checkpoint
        self._open.enter_context(self.watchdog)
        self.checkpointer = self._open.enter_context(
            Checkpointer(
                os.path.join(self.folder, FOLDER),
                keep_last=keep.keep_last,
                keep_best=keep.keep_best,
                best_metric=keep.best_metric,
                best_mode=keep.best_mode,
                keep_at=self.steps.keep_at,
            )
        )
        self._open.callback(self.progress.close)
        return self

    def __exit__(self, _: Any, error: BaseException | None, trace: Any) -> None:
        peers.leave_if_lost(error)  # whatever is open would wait for them
        with self.clock.during("checkpoint"):  # the last save
            self._open.close()
        self.record.end(self.step, done=error is None)

    # the order of events ------------------------------------------------------------------------

    def start(self, profile: tuple[int, int] | None) -> None:
        """Restores or creates the state; meanwhile the step compiles and the data gets going."""
        started = time.perf_counter()
        limit = fitting.device_limit(self.config, self.mesh)
        fitting.check_state(self.program, limit)
        with concurrent.futures.ThreadPoolExecutor(1, "compile") as thread:
            compiled = thread.submit(
                fitting.compile_step, self.config, self.program, self.data, self.mesh, limit
            )
            owed, partial = self._restore_or_create()
            self.watchdog.beat("restoring")
            if limit is not None:
                with self.clock.during("compile"):
                    compiled.result()  # what does not fit is refused before the data flows
            self.batches = self._open.enter_context(contextlib.closing(self._batches()))
            self.first_batch = next(self.batches) if self.step < self.steps.total else None
            if self.step == 0 and self.first_batch is not None:
                self.drawing.samples(self.first_batch, self.data)
            with self.clock.during("compile"):
                self.train_step, self.memory = compiled.result()
        self.progress.say(fitting.describe(self.memory, limit))
        compile_seconds = time.perf_counter() - started
        self.profiler = Profiler(self.folder, profile, self.step + 1, self.steps.total)
        self._open.callback(self.profiler.close)
        self.record.open(self.step, partial, compile_seconds)
        self._open.callback(self.record.close)
        self.watchdog.beat("compiling")
        self.progress.start(self.step, self.steps.total)
        if owed:
            self.evaluate("validation")

    def to_the_end(self) -> None:
        """Takes the steps that are left."""
        with self.clock.during("step"):
            while self.step < self.steps.total:
                self.take_step()
                self.checkpointer.check()
                if self._due(self.steps.evaluate_every):
                    self.evaluate("validation")
                if self._due(self.steps.checkpoint_every) or self.step in self.steps.keep_at:
                    self.save()
                if self._asked_to_stop():
                    self._save_and_stop()

    def finish(self) -> dict[str, dict[str, float]]:
        """Evaluates what the run is worth on the test split, once; returns the last results."""
        with self.clock.during("evaluation"):
            self._go_back_to_the_best()
            self.evaluate("test")
            params, rest = self._evaluated()
            self.drawing.answers(self.program, params, rest, self.data, self.mesh)
        return self.results

    # events -------------------------------------------------------------------------------------

    def take_step(self) -> None:
        """Hands one step to the devices; writes lines of earlier ones that have finished."""
        with self.clock.during("data_wait"):
            batch = next(self.batches) if self.first_batch is None else self.first_batch
        self.first_batch = None
        self.profiler.before(self.step + 1)
        self.state, metrics = self.train_step(self.state, batch)
        self.step += 1
        if self.profiler.after(self.step, metrics):
            self.progress.say(f"trace in {self.profiler.folder}")
        self.record.push(self.step, metrics)
        self.record.write_lines(STEPS_IN_FLIGHT)
        self.progress.advance()

    def evaluate(self, split: str) -> None:
        """Measures the parameters on a split, if the run has it, and records the result."""
        if split not in self.data.evaluated:
            return
        self.record.write_lines(0)
        with self.clock.during("evaluation"):
            params, rest = self._evaluated()
            pipeline = self.data.evaluated[split]
            result = self.program.evaluator(params, rest, pipeline, self._asked_to_stop)
        if result is None:
            self._save_and_stop(owed=split == "validation")
            return
        self.results[split] = result
        self.record.evaluated(self.step, split, result, self.best)

    def save(self, owed: bool = False) -> None:
        """Starts saving; `owed` says that this step's evaluation was cut short."""
        self.record.write_lines(0)
        self.record.flush(self.step)
        fresh = self._due(self.steps.evaluate_every) and not owed
        metadata = {**self.metadata, "evaluation_owed": owed, "interval": self.record.partial()}
        with self.clock.during("checkpoint"):
            self.checkpointer.save(
                self.state, metadata, self.results.get("validation") if fresh else None
            )
        self.watchdog.beat("a checkpoint")

    # parts --------------------------------------------------------------------------------------

    def _restore_or_create(self) -> tuple[bool, dict[str, Any]]:
        """Sets `state` and `step`; returns whether an evaluation is owed, and the partial sums."""
        restored = self.checkpointer.restore(self.program.abstract_state)
        if restored is None:
            self.state, report = program_lib.create_state(self.config, self.program, self.mesh)
            if report is not None:
                self.progress.say(f"from {self.config.model.init_from}: {report}")
            return False, {"steps": 0, "sums": {}}
        self.state, record = restored
        self.step = record["step"]
        if record["metrics"]:
            self.results["validation"] = record["metrics"]
        self.progress.say(f"goes on after step {self.step} of {self.steps.total}")
        # The end of this run may be a step that was on the way of the one that saved it.
        not_yet_evaluated = self.step == self.steps.total and not record["metrics"]
        return record["evaluation_owed"] or not_yet_evaluated, record["interval"]

    def _batches(self) -> Generator[dict[str, jax.Array], None, None]:
        size = self.config.train.batch_size

        def transfer(batch: dict[str, Any]) -> dict[str, jax.Array]:
            needed = {name: batch[name] for name in ("image", "label")}
            return sharding.put_batch(needed, self.mesh, size)

        batches = self.data.train.batches(start_example=self.step * size)
        return prefetch(batches, transfer, self.config.data.prefetch_batches)

    def _go_back_to_the_best(self) -> None:
        """Takes the best checkpoint for the last, as whoever uses the run will."""
        best = self.checkpointer.best() if self.config.checkpoint.keep_best else None
        if best is None or best == self.step:
            return
        self.state = None  # there may not be room for two
        restored = self.checkpointer.restore(self.program.abstract_state, step=best)
        assert restored is not None
        self.state, record = restored
        self.best = best
        self.results["validation"] = record["metrics"]
        metric = self.config.checkpoint.best_metric
        value = record["metrics"][metric]
        self.progress.say(f"the best {metric} was {value:.4g} after step {best}: this is kept")

    def _evaluated(self) -> tuple[Any, Any]:
        return self.state.evaluated(self.config.evaluation.use_ema)

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.steps.total

    def _asked_to_stop(self) -> bool:
        """Every process asks equally often, so the number of the question can be agreed on."""
        self._polls += 1
        self.watchdog.beat(f"step {self.step}")
        return self.preemption.requested(self._polls)

    def _save_and_stop(self, owed: bool = False) -> None:
        self.save(owed)
        with self.clock.during("checkpoint"):
            self.checkpointer.wait()
        raise PreemptedError(f"stopped and saved after step {self.step} of {self.steps.total}")


def _draw_and_tell(
    config: ConfigDict, folder: Any, data: program_lib.Data, progress: Progress
) -> None:
    """Draws the course of a finished run, names what was not read and the commands that use it."""
    Drawing(config, folder, progress).course()
    if text := report.unreadable({"train": data.train, **data.evaluated}):
        progress.say(text)
    progress.say(report.commands(folder, data.evaluated))
