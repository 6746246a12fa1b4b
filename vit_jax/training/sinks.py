# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""Where metrics go: a file of JSON lines, TensorBoard, Weights & Biases.

A sink is told first from which step the run goes on (`open`), then given one line after another. A
line is a flat dict with `step`, `split` and numbers. Lines of later steps than the one a run was
restored to are dropped by `open`, so that an interrupted run leaves the record of an uninterrupted
one.
"""

import contextlib
import json
import math
import os
import platform
import re
import tempfile
import time
from collections.abc import Mapping
from typing import Any, Protocol

from etils import epath

from vit_jax.errors import UserError
from vit_jax.paths import is_remote

Line = Mapping[str, Any]

_SPLIT = re.compile(r'"split": "(\w+)"')


class Sink(Protocol):
    """One place where lines go."""

    def open(self, step: int) -> None:
        """Starts after `step` steps; forgets what was recorded beyond them."""

    def write(self, line: Line) -> None:
        """Records one line."""

    def flush(self) -> None:
        """Makes what was written survive the end of the process."""

    def close(self) -> None:
        """Flushes and releases what is held."""


def read_lines(path: str | os.PathLike, split: str = "") -> list[dict[str, Any]]:
    """Returns the lines of a metrics file; one torn by a killed process (the last) is left out.

    Args:
        path: the file.
        split: of these alone; "": of all.
    """
    lines = []
    for text in epath.Path(path).read_text().splitlines():
        if split and f'"split": "{split}"' not in text:
            continue
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def last_lines(path: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """Returns split -> its last line in a metrics file; long files are not parsed as a whole."""
    found: dict[str, dict[str, Any]] = {}
    for text in reversed(epath.Path(path).read_text().splitlines()):
        split = _SPLIT.search(text)
        if split and split[1] not in found:
            with contextlib.suppress(json.JSONDecodeError):  # torn by a killed process
                found[split[1]] = json.loads(text)
    return found


class JsonLines:
    """One JSON object a line in `workdir/metrics.jsonl`; what is not finite becomes null."""

    def __init__(self, workdir: str | os.PathLike):
        self.path = epath.Path(workdir) / "metrics.jsonl"
        self._file: Any = None

    def open(self, step: int) -> None:
        kept = []
        if self.path.exists():
            kept = [line for line in read_lines(self.path) if line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        if is_remote(self.path):
            self._file = _Rewritten(self.path, text)
            return
        partial = self.path.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(self.path)
        self._file = open(self.path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115

    def write(self, line: Line) -> None:
        self._file.write(json.dumps({key: _finite(value) for key, value in line.items()}) + "\n")

    def flush(self) -> None:
        self._file.flush()
        if not isinstance(self._file, _Rewritten):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class _Rewritten:
    """A growing text file where nothing can be appended: written anew, now and then and at the end.

    Args:
        path: of the file.
        text: what it starts with.
    """

    _SECONDS = 30.0  # between two times: what a kill takes, against the time writing takes

    def __init__(self, path: epath.Path, text: str):
        self._path, self._texts = path, [text]
        self.flush()

    def write(self, text: str) -> None:
        self._texts.append(text)
        if time.monotonic() - self._written > self._SECONDS:
            self.flush()

    def flush(self) -> None:
        self._path.write_text("".join(self._texts))
        self._written = time.monotonic()

    def close(self) -> None:
        self.flush()


class TensorBoard:
    """Scalars `split/name` in event files under `workdir/tensorboard`, written by TensorFlow.

    The records are written as they are (TensorFlow's own writers ask for TensorBoard itself).
    """

    def __init__(self, workdir: str | os.PathLike):
        self._directory = os.path.join(workdir, "tensorboard")

    def open(self, step: int) -> None:
        from vit_jax.data.tensorflow import import_tensorflow

        tf = import_tensorflow()
        self._v1 = tf.compat.v1
        tf.io.gfile.makedirs(self._directory)
        name = f"events.out.tfevents.{int(time.time()):010d}.{platform.node()}.{os.getpid()}"
        self._file = tf.io.TFRecordWriter(os.path.join(self._directory, name))
        self._event(file_version="brain.Event:2")
        # By this record TensorBoard forgets what earlier files say of later steps.
        start = self._v1.SessionLog(status=self._v1.SessionLog.START)
        self._event(step=step + 1, session_log=start)

    def _event(self, **fields: Any) -> None:
        event = self._v1.Event(wall_time=time.time(), **fields)
        self._file.write(event.SerializeToString())

    def write(self, line: Line) -> None:
        summary = self._v1.Summary()
        for name, value in _numbers(line).items():
            summary.value.add(tag=f"{line['split']}/{name}", simple_value=value)
        self._event(step=line["step"], summary=summary)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class WeightsAndBiases:
    """Scalars `split/name` over `step` in one Weights & Biases run, continued on resume."""

    def __init__(self, workdir: str | os.PathLike, config: Mapping[str, Any]):
        try:
            import wandb
        except ImportError as error:
            raise UserError(
                "log.wandb is true but wandb is not installed; run: pip install 'vit-jax[wandb]'"
            ) from error
        self._wandb = wandb
        self._directory = epath.Path(workdir)
        self._config = dict(config)
        self._run: Any = None

    def open(self, step: int) -> None:
        del step  # A repeated step repeats its numbers: over the axis `step` it falls on itself.
        path = self._directory / "wandb_id"
        if not path.exists():
            path.write_text(self._wandb.util.generate_id())
        self._run = self._wandb.init(
            id=path.read_text(),
            resume="allow",
            project="vit_jax",
            name=self._directory.name,
            dir=tempfile.gettempdir() if is_remote(self._directory) else str(self._directory),
            config=self._config,
        )
        self._run.define_metric("*", step_metric="step")

    def write(self, line: Line) -> None:
        named = {f"{line['split']}/{name}": value for name, value in _numbers(line).items()}
        self._run.log({"step": line["step"], **named})

    def flush(self) -> None:
        """Weights & Biases sends by itself."""

    def close(self) -> None:
        self._run.finish()


def _numbers(line: Line) -> dict[str, float]:
    values = {name: value for name, value in line.items() if name != "step"}
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
