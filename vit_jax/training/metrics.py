# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""What a run says about itself: means over the steps since the last line, and where the time went.

A line of the metrics file is a flat dict: `step`, `split` ("train", "validation" or "test"),
`examples` and `epoch` (the position in the data), the metrics of the step or the evaluation, and
for "train" the measurements named in `MEASUREMENTS`. All other fields are functions of the config
alone: an interrupted and resumed run records the same ones.
"""

import collections
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from etils import epath

from vit_jax.training import goodput
from vit_jax.training import sinks as sinks_lib

# Fields that tell about the machine, not about the model.
MEASUREMENTS = frozenset(
    {
        "compile_seconds",
        "data_wait_percent",
        "flops_per_second",
        "images_per_second",
        "mfu",
        "peak_memory_mib",
        "step_seconds",
        *goodput.FIELDS,
    }
)

# Metrics of which a line gives the last step's value, not the mean over the steps.
LAST = frozenset({"learning_rate", "nonfinite_steps", "nonfinite_streak"})

# Steps handed to the device ahead of the one whose end the host waits for: enough to keep the
# device busy while the host works, few enough that measured times mean something and that few
# batches lie on the device.
STEPS_IN_FLIGHT = 3


class MetricWriter:
    """Writes lines to the sinks of a run, each (step, split) once.

    Args:
        workdir: the folder of the run; `metrics.jsonl` is always written there.
        sinks: further sinks.
        active: whether this process writes; one process of a run does.
        start_step: the step the run goes on from; what was recorded beyond it is dropped.
    """

    def __init__(
        self,
        workdir: str | os.PathLike,
        sinks: Sequence[sinks_lib.Sink] = (),
        active: bool = True,
        start_step: int = 0,
    ):
        self._sinks: list[sinks_lib.Sink] = []
        self._written: set[tuple[int, str]] = set()
        if active:
            epath.Path(workdir).mkdir(parents=True, exist_ok=True)
            jsonl = sinks_lib.JsonLines(workdir)
            self._sinks = [jsonl, *sinks]
            for sink in self._sinks:
                sink.open(start_step)
            lines = sinks_lib.read_lines(jsonl.path)
            self._written = {(line["step"], line["split"]) for line in lines}

    def write(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """Records one line; a (step, split) that the record already holds is left as it is."""
        if (step, split) in self._written:
            return
        self._written.add((step, split))
        for sink in self._sinks:
            sink.write({"step": step, "split": split, **values})

    def flush(self) -> None:
        """Makes what was written survive the end of the process."""
        for sink in self._sinks:
            sink.flush()

    def close(self) -> None:
        """Flushes and closes every sink."""
        for sink in self._sinks:
            sink.close()


@dataclasses.dataclass(frozen=True)
class Work:
    """What one step asks of the machine.

    Attributes:
        images: images a step (the global batch size).
        flops_per_image: FLOPs of forward and backward pass: 3 x the forward pass's matmul FLOPs.
        peak_flops: FLOP/s all devices of the run reach at best together; None if not known.
    """

    images: int
    flops_per_image: float
    peak_flops: float | None

    def formula(self) -> str:
        """Says once how utilisation is computed."""
        if self.peak_flops is None:
            return "FLOP/s = 3 x forward matmul FLOPs x images/s (no MFU: device's peak not known)"
        peak = f"devices x peak = {self.peak_flops / 1e12:,.1f} TFLOP/s"
        return f"MFU = 3 x forward matmul FLOPs x images/s / (devices x peak); {peak}"


@dataclasses.dataclass
class _Step:
    """A step handed to the device, and when it was seen to have finished, if it was."""

    number: int
    metrics: Mapping[str, jax.Array]
    finished: float | None = None


class Meter:
    """Gathers the metrics of steps and the time between lines; never makes the device wait.

    The metrics of a step are left on the device until `STEPS_IN_FLIGHT` younger steps were handed
    to it, so the host waits for a step only while the device has others to do.

    Args:
        work: of a step.
        clock: whose "step" and "data_wait" are the time that steps take.
    """

    def __init__(self, work: Work, clock: goodput.Clock):
        self._work, self._clock = work, clock
        self._in_flight: collections.deque[_Step] = collections.deque()
        self._finished: list[Mapping[str, jax.Array]] = []
        self._sums: dict[str, float] = {}
        self._steps = 0
        self._timed_steps = 0
        self._data_before = clock.seconds("data_wait")
        self._line_time = self._step_time = self._now()

    def push(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Takes the metrics of the step just handed to the device."""
        self._in_flight.append(_Step(step, metrics))
        for pending in self._in_flight:
            if pending.finished is None and _is_ready(pending.metrics):
                pending.finished = self._now()

    def finish(self, left: int = STEPS_IN_FLIGHT) -> int | None:
        """Waits for the oldest step if more than `left` are unfinished; returns its number or None.

        A line for the returned step has to be taken before the next call. Which steps a call
        returns is the same on every process, however fast each is.
        """
        if len(self._in_flight) <= left:
            return None
        oldest = self._in_flight.popleft()
        jax.block_until_ready(oldest.metrics)
        self._step_time = oldest.finished or self._now()
        self._finished.append(oldest.metrics)
        self._timed_steps += 1
        return oldest.number

    def line(self) -> dict[str, float]:
        """Returns the means since the last line and the measurements, and starts anew."""
        self._fold()
        line = {
            name: total if name in LAST else total / self._steps
            for name, total in self._sums.items()
        }
        line |= self._measurements()
        self._sums, self._steps = {}, 0
        self._line_time, self._timed_steps = self._step_time, 0
        self._data_before = self._clock.seconds("data_wait")
        return line

    def partial(self) -> dict[str, Any]:
        """Returns what was summed since the last line, for a checkpoint between two lines."""
        self._fold()
        return {"steps": self._steps, "sums": dict(self._sums)}

    def restore(self, partial: Mapping[str, Any]) -> None:
        """Goes on from what `partial` returned."""
        self._steps, self._sums = int(partial["steps"]), dict(partial["sums"])

    def _fold(self) -> None:
        """Adds the finished steps to the sums in order: the same bits wherever a run was cut."""
        for metrics in jax.device_get(self._finished):
            for name, value in metrics.items():
                before = 0.0 if name in LAST else self._sums.get(name, 0.0)
                self._sums[name] = before + float(value)
            self._steps += 1
        self._finished = []

    def _now(self) -> float:
        """Seconds on a clock that stands still in evaluations and saves."""
        return self._clock.seconds("step", "data_wait")

    def _measurements(self) -> dict[str, float]:
        if not self._timed_steps:
            return {}
        seconds = max(self._step_time - self._line_time, 1e-9)
        waited = self._clock.seconds("data_wait") - self._data_before
        images_per_second = self._timed_steps * self._work.images / seconds
        flops_per_second = images_per_second * self._work.flops_per_image
        line = {
            "step_seconds": seconds / self._timed_steps,
            "images_per_second": images_per_second,
            "data_wait_percent": min(100.0, 100 * waited / seconds),
        }
        if self._work.peak_flops is None:
            line["flops_per_second"] = flops_per_second
        else:
            line["mfu"] = flops_per_second / self._work.peak_flops
        peak_bytes = peak_memory_bytes()
        if peak_bytes is not None:
            line["peak_memory_mib"] = peak_bytes / 2**20
        return line


def _is_ready(metrics: Mapping[str, Any]) -> bool:
    return all(value.is_ready() for value in metrics.values())


def peak_memory_bytes() -> int | None:
    """Returns the most memory used on this process's fullest device; None if it cannot tell."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [s["peak_bytes_in_use"] for s in stats if "peak_bytes_in_use" in s]
    return max(peaks, default=None)
