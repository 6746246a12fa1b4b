# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a run writes down while it goes on: lines of metrics, and where the time went."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from vit_jax.training import sinks
from vit_jax.training.goodput import Clock, Goodput, describe
from vit_jax.training.metrics import Meter, MetricWriter, Work
from vit_jax.training.progress import Progress


class DivergedError(Exception):
    """Too many steps in a row had no finite gradient."""


@dataclasses.dataclass
class Record:
    """The record of one start of a run.

    Attributes:
        config: of the run.
        folder: its workdir.
        work: of a step.
        train_examples: how many an epoch has.
        total_steps: how many the run has.
        progress: shows the lines to people.
        clock: knows what the loop does.
    """

    config: ConfigDict
    folder: str | os.PathLike
    work: Work
    train_examples: int
    total_steps: int
    progress: Progress
    clock: Clock

    def __post_init__(self) -> None:
        self._goodput: Goodput | None = None
        self._once: dict[str, float] = {}

    def open(self, step: int, partial: Mapping[str, Any], compile_seconds: float) -> None:
        """Goes on after a step; `partial` is what `partial` returned then."""
        log, active = self.config.log, jax.process_index() == 0
        more: list[sinks.Sink] = []
        if active and log.tensorboard:
            more.append(sinks.TensorBoard(self.folder))
        if active and log.wandb:
            more.append(sinks.WeightsAndBiases(self.folder, self.config.to_dict()))
        self._writer = MetricWriter(self.folder, more, active=active, start_step=step)
        self._meter = Meter(self.work, self.clock)
        self._meter.restore(partial)
        self._goodput = Goodput(self.folder, self.clock, step, active)
        self._once = {"compile_seconds": compile_seconds}

    def push(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Takes the metrics of the step just handed to the devices."""
        self._meter.push(step, metrics)

    def write_lines(self, left: int) -> None:
        """Writes the lines that are due, of all steps but the `left` newest.

        Raises:
            DivergedError: `train.max_nonfinite_steps` was reached.
        """
        assert self._goodput is not None
        while (step := self._meter.finish(left)) is not None:
            if step % self.config.log.every_steps and step != self.total_steps:
                continue
            line = {**self._position(step), **self._meter.line(), **self._once}
            self._once = {}
            self._goodput.reached(step)
            line |= self._goodput.fields()
            self._writer.write(step, "train", line)
            self.progress.line(step, "train", line)
            self._check_finite(step, line)

    def _check_finite(self, step: int, line: Mapping[str, float]) -> None:
        limit = self.config.train.max_nonfinite_steps
        if line["nonfinite_streak"] >= limit:
            self.flush(step)
            raise DivergedError(
                f"{line['nonfinite_streak']:.0f} steps in a row up to step {step} had no finite "
                f"gradient (train.max_nonfinite_steps={limit}); lower optimiser.learning_rate, "
                "lengthen schedule.warmup or set optimiser.clip_norm"
            )

    def evaluated(
        self, step: int, split: str, result: Mapping[str, float], best: int | None
    ) -> None:
        """Writes the result of an evaluation; `best` is the step whose parameters these were."""
        line = {name: value for name, value in result.items() if name != "examples"}
        line["evaluated_examples"] = result["examples"]
        if best is not None:
            line["checkpoint_step"] = best
        self._writer.write(step, split, {**self._position(step), **line})
        self.progress.line(step, split, result)

    def _position(self, step: int) -> dict[str, Any]:
        examples = step * self.config.train.batch_size
        return {"examples": examples, "epoch": examples / self.train_examples}

    def partial(self) -> dict[str, Any]:
        """Returns what was summed since the last line, for a checkpoint between two lines."""
        return self._meter.partial()

    def flush(self, step: int) -> None:
        """Makes what is known after a step survive the end of the process."""
        assert self._goodput is not None
        self._writer.flush()
        self._goodput.reached(step, now=True)

    def close(self) -> None:
        """Closes the sinks."""
        self._writer.close()

    def end(self, step: int, done: bool) -> None:
        """Says how much of the time was well spent, once all is closed; `done` if it is over."""
        if self._goodput is not None:
            self._goodput.reached(step, now=True, done=done)
            self.progress.say(describe(self._goodput.starts))
