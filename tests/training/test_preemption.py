# Copyright 2026 The vit_jax authors. Licensed under the Apache License, Version 2.0.
"""SIGTERM in one process; test_distributed has two."""

import os
import signal

from vit_jax.training.preemption import Preemption


def test_sigterm_is_noticed_and_the_old_handler_comes_back():
    before = signal.getsignal(signal.SIGTERM)
    with Preemption() as preemption:
        assert not preemption.requested(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.requested(2)
        assert preemption.requested(3)
    assert signal.getsignal(signal.SIGTERM) == before
