# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""A trace of some steps, for TensorBoard's profiler, XProf or Perfetto."""

import os
from typing import Any

import jax
from etils import epath

from vit_jax.errors import UserError


class Profiler:
    """Traces the steps from `start` up to, not including, `stop`.

    Args:
        workdir: the trace goes to `workdir/profile`.
        steps: (start, stop), or None for no trace.
        first_step: the first step of this run.
        total_steps: the last one.

    Raises:
        UserError: the run does not have these steps.
    """

    def __init__(
        self,
        workdir: str | os.PathLike,
        steps: tuple[int, int] | None,
        first_step: int,
        total_steps: int,
    ):
        self.folder = epath.Path(workdir) / "profile"
        self._start, self._stop = steps or (0, 0)
        self._running = False
        if steps and not first_step <= self._start < self._stop <= total_steps + 1:
            raise UserError(
                f"--profile={self._start}:{self._stop}: this run has the steps {first_step} to "
                f"{total_steps}; choose START and STOP among them"
            )

    def before(self, step: int) -> None:
        """Starts the trace if `step` is the first to be traced."""
        if step == self._start:
            jax.profiler.start_trace(str(self.folder))
            self._running = True

    def after(self, step: int, outputs: Any) -> bool:
        """Ends the trace once `step`, the last of it, has its outputs; returns whether it did."""
        if not self._running or step + 1 != self._stop:
            return False
        jax.block_until_ready(outputs)
        self.close()
        return True

    def close(self) -> None:
        """Ends a trace that is running."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
