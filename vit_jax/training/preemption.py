# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""SIGTERM, the notice that this machine is about to be taken away."""

import signal
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils


class Preemption:
    """Knows whether the run should save and stop; a context manager.

    One process: a signal handler sets a flag. Several: JAX has the handler, and all processes agree
    on one step at which to stop, whichever of them got the signal.
    """

    def __init__(self) -> None:
        self._received = False
        self._previous: Any = None
        self._alone = jax.process_count() == 1

    def __enter__(self) -> "Preemption":
        if self._alone:
            self._previous = signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._alone:
            signal.signal(signal.SIGTERM, self._previous)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._received = True

    def requested(self, step: int) -> bool:
        """Whether to stop now. Every process asks at every step, with the same, growing `step`."""
        if self._alone:
            return self._received
        return multihost_utils.reached_preemption_sync_point(step)
